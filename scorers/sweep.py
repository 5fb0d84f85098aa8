"""How far every cell of a sweep moves a trial's answer, and the maps that all trials make."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.sweep import EXCESS, SweepTrial, broken_from, group_trials, held_out, map_cells, map_names
from introbench.provider.outputs import arm_records, read_arms
from introbench.records.factors import TrialFactors
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import interval_values, scored_trials


@metric(scores="unreduced")
def best_cell_held_out() -> Metric:
    """The best cell, chosen on half of the concepts and questions, read on the others; where controls break."""

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for document, trials in by_document(scores).items():
            plan = plan_of(scores)
            concepts = plan["concepts"]
            held = held_out(document, trials, concepts, seed=plan["seed"])
            if held is None:
                continue
            named = {EXCESS: held.excess, **held.families}
            for name, interval in named.items():
                key = f"held out: {name} | {document}"
                values |= {key: interval.estimate, f"{key} | low": interval.low, f"{key} | high": interval.high}
            values[f"whole map: largest excess | {document}"] = held.at_best
            first = [value for value in broken_from(trials, range(len(concepts))) if value is not None]
            values[f"ranges where controls break | {document}"] = len(first)
        return values

    return compute


@metric(scores="unreduced")
def cells() -> Metric:
    """Mean over concepts of every family's shift and of the excess, in every cell, with a 95% interval."""

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for document, trials in by_document(scores).items():
            plan = plan_of(scores)
            layers, strengths = plan["axes"]["layers"], plan["axes"]["strength"]
            for name in map_names(trials):
                cells = map_cells(name, trials, range(len(plan["concepts"])), plan["seed"])
                for (row, column), cell in cells.items():
                    values |= interval_values(
                        f"{name} | {layers[row]} x{strengths[column]} | {document}", cell.interval
                    )
        return values

    return compute


@scorer(metrics=[best_cell_held_out(), cells()])
def swept() -> Scorer:
    """Score a question by its shift in log-odds in every cell.

    The value holds rounded numbers for the viewer; the score's metadata hold the exact ones: `axes` (names and what
    stands along each), `baseline` [layers] and `shift` [layers, strength, vector], both toward yes, in nats, `dose` of
    the same shape in nats; null where a number is not finite.
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


def plan_of(scores: Sequence[SampleScore]) -> Mapping[str, Any]:
    """What the run set out to do: `axes`, `concepts`, `seed`."""
    return TrialFactors.from_json(scores[0].sample_metadata or {}).plan.more


def by_document(scores: Sequence[SampleScore]) -> dict[str, list[SweepTrial]]:
    """The trials of each document."""
    return group_trials(scored_trials(scores))


def _plain(values: Any) -> Any:
    """Nested lists, with None where a number is not finite: JSON has no NaN."""
    if values.ndim:
        return [_plain(value) for value in values]
    return float(values) if math.isfinite(values) else None


def _table(axes: Mapping[str, Sequence[str]], means: np.ndarray[Any, Any]) -> str:
    headers = ["layers", *(f"x{strength}" for strength in axes["strength"])]
    rows = [[layers, *(f"{value:+.3f}" for value in means[row])] for row, layers in enumerate(axes["layers"])]
    return "Mean shift toward yes over concepts, in nats\n\n" + markdown([headers, ["---"] * len(headers), *rows])
