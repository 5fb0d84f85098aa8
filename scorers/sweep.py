"""How far every cell of a sweep moves a trial's answer, and the maps that all trials make."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.named_values import interval_values
from introbench.analysis.sweep import broken_from, group_trials, held_out, map_cells, map_names
from introbench.provider.outputs import arm_records, read_arms
from introbench.records.factors import TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import scored_trials
from introbench.stats.intervals import NOT_MEASURED

METRICS = (
    *("held out", "held out | low", "held out | high"),
    *("introspection", "introspection | low", "introspection | high"),
    *("largest excess", "marked cells", "cells", "broken ranges", "concepts"),
)
"""Names of the metrics, which are NaN before there are trials."""


@metric(scores="unreduced")
def best_cell_held_out() -> Metric:
    """The excess of the best cell, chosen on half of the concepts and questions and read on the others.

    It is that of the reference document, with its interval. `introspection` is the shift of introspection questions
    there; `largest excess` that of the whole map, which flatters, since it was picked; `marked cells` how many of the
    `cells` differ from 0 with all of them taken together; `broken ranges` in how many ranges of layers control
    questions break.
    """

    def compute(scores: list[SampleScore]) -> Value:
        values = dict.fromkeys(METRICS, math.nan)
        grouped = group_trials(scored_trials(scores))
        if not grouped:
            return values
        plan = TrialFactors.from_json(scores[0].sample_metadata or {}).plan
        concepts, seed = plan.more["concepts"], plan.more["seed"]
        document = next(document for document in plan.ordered_documents if document in grouped)
        trials, of_concepts = grouped[document], range(len(concepts))
        held = held_out(document, trials, concepts, seed=seed)
        if held is not None:
            introspection = held.families.get("introspection", NOT_MEASURED)
            values |= interval_values("held out", held.excess) | interval_values("introspection", introspection)
            values["largest excess"] = held.at_best
        cells = map_cells(map_names(trials)[0], trials, of_concepts, seed)
        return values | {
            "marked cells": sum(cell.is_marked for cell in cells.values()),
            "cells": len(cells),
            "broken ranges": sum(first is not None for first in broken_from(trials, of_concepts)),
            "concepts": len(concepts),
        }

    return compute


@scorer(metrics=[best_cell_held_out()], name=recorded_name("swept"))
def swept() -> Scorer:
    """Score a question by its shift in log-odds in every cell.

    The value holds the trial's `document` and `family`, and rounded numbers for the viewer; the score's metadata hold
    the exact ones: `axes` (names and what stands along each), `baseline` [layers] and `shift` [layers, strength,
    vector], both toward yes, in nats, `dose` of the same shape in nats; null where a number is not finite.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        axes = factors.plan.more["axes"]
        readings = {reading.arm: reading for reading in read_arms(state.output)}
        doses_of_arms = {record.arm: record.dose for record in arm_records(state.output)}
        shape = [len(axes[name]) for name in ("layers", "strength", "vector")]
        odds = np.array([readings[arm].log_odds if arm in readings else math.nan for arm in factors.arms])
        doses = np.array([doses_of_arms.get(arm) for arm in factors.arms], dtype=float)
        by_range, doses = odds.reshape(shape[0], -1), doses.reshape(shape[0], -1)
        baseline, shift = by_range[:, 0], (by_range[:, 1:] - by_range[:, :1]).reshape(shape)
        concepts = len(factors.plan.more["concepts"])
        means = shift[:, :, :concepts].mean(axis=2)
        finite = means[np.isfinite(means)]
        side = factors.question.side
        usual = axes["strength"][min(1, shape[1] - 1)]
        at_usual = means[:, axes["strength"].index(usual)]
        return Score(
            value={
                **factors.question.groups,
                "most": round(float((side * finite).max()), 3) if finite.size else math.nan,
                "least": round(float((side * finite).min()), 3) if finite.size else math.nan,
                "usual": round(float(side * at_usual.mean()), 3),
                "baseline": round(float(baseline.mean()), 3),
            },
            answer="yes" if baseline.mean() > 0 else "no",
            explanation=_table(axes, means),
            metadata={
                "axes": axes,
                "baseline": _plain(baseline),
                "shift": _plain(shift),
                "dose": _plain(doses[:, 1:].reshape(shape)),
            },
        )

    return score


def _plain(values: Any) -> Any:
    """Nested lists, with None where a number is not finite: JSON has no NaN."""
    if values.ndim:
        return [_plain(value) for value in values]
    return float(values) if math.isfinite(values) else None


def _table(axes: Mapping[str, Sequence[str]], means: np.ndarray[Any, Any]) -> str:
    headers = ["layers", *(f"x{strength}" for strength in axes["strength"])]
    rows = [[layers, *(f"{value:+.3f}" for value in means[row])] for row, layers in enumerate(axes["layers"])]
    return "Mean shift toward yes over concepts, in nats\n\n" + markdown([headers, ["---"] * len(headers), *rows])
