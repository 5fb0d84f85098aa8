"""Figures of the calibration task: dose and response by strength."""

from collections.abc import Mapping, Sequence

import numpy as np

from introbench.analysis.calibrate import responses
from introbench.analysis.noticed import ScoredTrial
from introbench.page.charts import BLUE, GREEN, ORANGE, lines
from introbench.page.figure import Figure, Panel


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    by_strength = responses([exact for _, exact in trials])
    if not by_strength:
        return []
    norms = [float(np.mean(response.norms)) for response in by_strength]
    doses = [
        {
            "x": norm,
            "y": float(np.mean(r.doses)),
            "low": float(np.min(r.doses)),
            "high": float(np.max(r.doses)),
            "group": "dose",
            "strength": r.strength,
        }
        for norm, r in zip(norms, by_strength, strict=True)
    ]
    shares = [
        {"x": norm, "y": count / len(r.doses), "group": name, "strength": r.strength}
        for norm, r in zip(norms, by_strength, strict=True)
        for name, count in (("live", r.live), ("coherent", r.coherent))
    ]
    return [
        Figure(
            "dose-response",
            "Dose and response by strength",
            "Strength as the norm of what is added at each layer, mean over vectors. Dose: divergence on neutral "
            "questions in nats, mean over vectors, and the range of these. live, coherent: share of the vectors when "
            "the model is steered while it writes.",
            [
                Panel("dose", lines(doses, "norm", "dose (nats)", {"dose": BLUE}), doses),
                Panel(
                    "response",
                    lines(shares, "norm", "share of the vectors", {"live": ORANGE, "coherent": GREEN}),
                    shares,
                ),
            ],
        )
    ]
