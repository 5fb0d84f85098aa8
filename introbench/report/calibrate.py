"""The table of the calibration task: doses and responses by strength, and the proposal."""

from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.calibrate import MOST_INCOHERENT, proposed, responses
from introbench.analysis.noticed import ScoredTrial


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
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
    headers = ["strength", "norm", "dose (nats)", "of the vectors", "live", "coherent", "gain of the word (nats)", ""]
    return [
        f"Proposed: -T strength={best.strength}"
        if best
        else "No strength is proposed: none leaves texts coherent and brings a concept to mind; try others.",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "Dose: divergence on neutral questions, with the injection in the cache alone. live, coherent: vectors, when\n"
        f"the model is steered while it writes. Proposed: the strongest before texts fall apart under more than\n"
        f"{MOST_INCOHERENT:.0%} of the vectors. To compare models, give the same dose to each: -T strength=kl:NATS.",
    ]
