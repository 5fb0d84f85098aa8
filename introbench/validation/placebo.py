"""A placebo on real trials: control questions of a real run in introspection's place, where there is nothing to find.

A real model's answers disturb themselves as they do, and not as a simulation imagines. Each draw takes control
questions for introspection questions and leaves the others as control questions. Half of those that are taken have a
baseline below even odds and are taken for plain questions, half above it and are taken for reversed ones, as
introspection questions are: so what a curve leaves of flattening counts as noticing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from inspect_ai import eval
from inspect_ai.log import read_eval_log
from tabulate import tabulate

from introbench.analysis.excess import distinct_answers
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import SIDED, TrialShift
from introbench.models.smollm2 import NAME
from introbench.records.scores import scored_trials
from introbench.stats.control_curve import fit_control_curve
from introbench.validation.error_rates import rate

DRAWS = 300
"""Draws under each document."""

TAKEN = 12
"""Control questions that are taken for introspection questions."""


@dataclass(frozen=True)
class PlaceboRate:
    """The draws under one document.

    Attributes:
        document: The document.
        draws: How many draws.
        above: In how many of them the excess is above 0.
        below: In how many it is below 0.
    """

    document: str
    draws: int
    above: int
    below: int


def real_trials(logs: Path) -> list[TrialShift]:
    """The trials of a run of the embedded model with every wording under every document, answered in words.

    Args:
        logs: Folder of the run's log; the run is made if there is none.

    Raises:
        RuntimeError: The run did not succeed.
    """
    if not logs.is_dir() or not any(logs.glob("*.eval")):
        (made,) = eval(
            "introbench/introspection",
            model=f"inject/{NAME}",
            task_args={"formats": "yes-no", "random_vectors": 0},
            log_dir=str(logs),
            log_realtime=False,
            score_display=False,
            display="none",
        )
        if made.status != "success":
            raise RuntimeError(f"{logs}: {made.status}; {made.error.message if made.error else 'no error'}")
    log = read_eval_log(max(logs.glob("*.eval")))
    return IntrospectionRun(scored_trials(log.samples or [], "yes_shift")).shifts


def placebo_rates(trials: Sequence[TrialShift], draws: int = DRAWS, seed: int = 0) -> list[PlaceboRate]:
    """How often an excess is found where there is none, under each document of a real run.

    Args:
        trials: The run's trials.
        draws: How often control questions are drawn under each document.
        seed: Seed of the draws.
    """
    return [
        _under(document, [t for t in trials if t.document == document and t.family not in SIDED], draws, seed)
        for document in dict.fromkeys(trial.document for trial in trials)
    ]


def _under(document: str, trials: Sequence[TrialShift], draws: int, seed: int) -> PlaceboRate:
    answers = distinct_answers(trials)
    baselines = {answer.item: answer.baseline for answer in answers}
    below, above = (sorted(i for i, b in baselines.items() if (b > 0) == positive) for positive in (False, True))
    draw = np.random.default_rng(seed)
    found = np.zeros(2, dtype=int)
    for number in range(draws):
        sides = dict.fromkeys(draw.choice(below, min(TAKEN // 2, len(below) // 2), replace=False), 1.0)
        sides |= dict.fromkeys(draw.choice(above, min(TAKEN // 2, len(above) // 2), replace=False), -1.0)
        drawn = [replace(answer, side=sides.get(answer.item, 0.0)) for answer in answers]
        excess = fit_control_curve(drawn, rng=np.random.default_rng([seed, number])).excess
        found += [excess.low > 0, excess.high < 0]
    return PlaceboRate(document, draws, int(found[0]), int(found[1]))


def placebo_table(rates: Sequence[PlaceboRate]) -> str:
    """The rates as a Markdown table."""
    total = PlaceboRate("all", *(sum(getattr(r, name) for r in rates) for name in ("draws", "above", "below")))
    rows = [[r.document, rate(r.above, r.draws), rate(r.below, r.draws)] for r in (*rates, total)]
    return tabulate(rows, ["document", "excess above 0", "below 0"], tablefmt="github", disable_numparse=True)
