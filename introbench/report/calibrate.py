"""The table of the calibration task: doses and responses by strength, and the proposal."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.calibrate import MOST_INCOHERENT, Response, proposed, responses
from introbench.analysis.noticed import ScoredTrial
from introbench.report.report import Report, counted, listed

LEGEND = (
    "Dose: divergence on neutral questions, with the injection in the cache alone. live, coherent: vectors, when\n"
    "the model is steered while it writes. gain: how much likelier the concept's word becomes. Proposed: the\n"
    f"strongest before texts fall apart under more than {MOST_INCOHERENT:.0%} of the vectors."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    by_strength = responses([exact for _, exact in trials])
    best = proposed(by_strength)
    rows = [
        [
            response.strength,
            f"{np.mean(response.norms):.3g}",
            f"{np.mean(response.doses):.3g}",
            f"{np.min(response.doses):.3g} to {np.max(response.doses):.3g}",
            f"{response.live} of {len(response.doses)}",
            f"{response.coherent} of {len(response.doses)}",
            f"{response.gain:+.2f}",
            "<- proposed" if response is best else "",
        ]
        for response in by_strength
    ]
    headers = ["strength", "norm", "dose (nats)", "of the vectors", "live", "coherent", "gain (nats)", ""]
    return Report(
        conclusion=_conclusion(by_strength, best),
        tables=[tabulate(rows, headers, tablefmt="simple", disable_numparse=True)],
        further=[
            LEGEND,
        ],
    )


def _conclusion(by_strength: Sequence[Response], best: Response | None) -> list[str]:
    """The proposed strength, what it does, what the proposal rests on, and what would change it."""
    if not by_strength:
        return ["No strength is proposed: the model wrote nothing."]
    vectors = len(by_strength[0].doses)
    tried = f"It rests on {counted(vectors, 'concept')} at {listed([each.strength for each in by_strength])}."
    if best is None:
        return [
            "No strength is proposed: none leaves texts coherent and brings a concept to mind.",
            tried,
            "What would change it: other strengths between those that do too little and too much, or other layers.",
        ]
    return [
        f"Proposed: -T strength={best.strength}, a mean norm of {np.mean(best.norms):.3g} at each layer and a "
        f"mean dose of {np.mean(best.doses):.3g} nats.",
        f"There {best.live} of {vectors} vectors are live, and texts stay coherent under {best.coherent} of "
        f"{vectors}; it is the strongest before they fall apart under more than {MOST_INCOHERENT:.0%} of the vectors.",
        tried,
        "It holds for these layers. To compare models, give the same dose to each: -T strength=kl:NATS.",
    ]
