"""How far an injection moves a trial's answer toward yes, and what all trials say together."""

import math
from collections.abc import Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.contrasts import active_contrasts, contrasts, control_contrasts, mean_shifts
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import exact_numbers, shifts_of_arms
from introbench.analysis.verdict import RULES, VERDICTS
from introbench.provider.outputs import arm_records, read_output
from introbench.records.arm import steerings_of
from introbench.records.arm_record import ArmRecord
from introbench.records.factors import TrialFactors
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.metric_values import interval_values, result_values, scored_trials
from introbench.stats.intervals import NOT_MEASURED


@metric(scores="unreduced")
def shift_by_document_and_family(seed: int = 0) -> Metric:
    """Mean shift in log-odds for every document and question family, with a 95% interval.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        return result_values(mean_shifts(run.shifts, run.plan, seed=seed))

    return compute


@metric(scores="unreduced")
def introspection_contrasts(seed: int = 0) -> Metric:
    """Introspection against control questions, documents, random vectors and salience, with 95% intervals.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        return result_values(contrasts(run.shifts, run.plan, seed=seed))

    return compute


@metric(scores="unreduced")
def headline() -> Metric:
    """The numbers to look at first: `noticed` with its interval, what it rests on, and the verdict.

    `noticed` is the excess of introspection over what control questions do, under the document info (under the first
    one, if info is not run), averaged over kinds of answers; `spread` is how far these lie apart. See
    `introbench.stats.control_curve`. `beyond salience` is how much more that is than the excess of questions on what
    stands out in the text, in the answer formats of both. Of the verdicts, the one that holds is 1; `rules` is the
    version of the rules that it was drawn by.
    """

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        headline = run.headline.fit if run.headline else None
        excess = headline.excess if headline else NOT_MEASURED
        by_kind = [interval.estimate for interval in headline.by_kind.values()] if headline else []
        name = run.verdict.name if run.verdict else "inconclusive"
        return {
            "noticed": excess.estimate,
            "low": excess.low,
            "high": excess.high,
            **interval_values("beyond salience", run.evidence.beyond_salience if run.evidence else NOT_MEASURED),
            "spread": max(by_kind) - min(by_kind) if by_kind else math.nan,
            "concepts": excess.units,
            "not finite": run.not_finite,
            "rules": RULES,
            **{f"verdict: {verdict}": float(verdict == name) for verdict in VERDICTS},
        }

    return compute


@metric(scores="unreduced")
def excess_over_controls() -> Metric:
    """Introspection in excess of what control questions with its baseline do, by document and by kind of vector."""

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for excess in IntrospectionRun(scored_trials(scores)).excesses:
            intervals = {
                "excess": excess.fit.excess,
                "bias": excess.fit.bias,
                "flattening": excess.fit.flattening,
                **({"behind concepts": excess.beside_concepts.difference} if excess.beside_concepts else {}),
                **{f"excess in {kind}": interval for kind, interval in excess.fit.by_kind.items()},
            }
            for name, interval in intervals.items():
                values |= interval_values(f"{name} | {excess.vectors} | {excess.document}", interval)
        return values

    return compute


@metric(scores="unreduced")
def control_vectors(seed: int = 0) -> Metric:
    """What control vectors do (-T controls=...), norm- and impact-matched, on every family; nothing without them.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        return result_values(control_contrasts(run.shifts, run.plan, seed=seed))

    return compute


@metric(scores="unreduced")
def active_steering(seed: int = 0) -> Metric:
    """The same trials steered while the model answers, too (-T steering=both); nothing without them.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        if not run.active_shifts:
            return {}
        return result_values(active_contrasts(run.shifts, run.active_shifts, run.plan, seed=seed))

    return compute


@scorer(
    metrics=[
        headline(),
        excess_over_controls(),
        introspection_contrasts(),
        shift_by_document_and_family(),
        control_vectors(),
        active_steering(),
    ]
)
def yes_shift() -> Scorer:
    """Score a trial by its shift in log-odds against the sham.

    The value holds rounded numbers for the viewer: `shift` (under the concept's vector), `random` (mean over the
    random vectors of equal dose), both signed so that "noticed" is positive on introspection questions, "stands out" on
    salience questions; `p_yes` and `p_yes_sham`; `mass` (probability of all yes and no forms under the concept);
    `active` (shift under the concept's vector when it is on in the answer, too), if that was run beside it. Exact
    numbers are in the score's metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        question, arms = factors.question, factors.arms
        records = arm_records(state.output)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return _not_finite([record for record in records if not record.finite])
        sham, concept = readings["sham"], readings["concept"]
        log_odds = {arm: reading.log_odds for arm, reading in readings.items()}
        odds_or_nan = {arm: log_odds.get(arm, math.nan) for arm in arms}
        vectors = {record.arm: record.vector for record in records}
        by_steering = [
            shifts_of_arms(question, factors.concept, arms, odds_or_nan, vectors, steering)
            for steering in steerings_of(arms.values())
        ]
        shifts, active = by_steering[0], by_steering[1] if len(by_steering) > 1 else None
        exact = exact_numbers(shifts, active)
        random = list(exact["random"].values())
        return Score(
            value={
                "shift": round(exact["shift"], 3),
                "random": round(sum(random) / len(random) if random else math.nan, 3),
                "p_yes": round(concept.p_yes, 4),
                "p_yes_sham": round(sham.p_yes, 4),
                "mass": round(concept.mass, 3),
                **({"active": round(exact["active"]["shift"], 3)} if active else {}),
            },
            answer="yes" if concept.log_odds > 0 else "no",
            explanation=_explanation(list(readings.values()), exact["shift"], question.reversed),
            metadata={
                **exact,
                "live": next(record.live for record in records if record.arm == "concept"),
                "dose": {record.arm: record.dose for record in records},
                "log_odds": log_odds,
                "p_yes": {reading.arm: reading.p_yes for reading in readings.values()},
                "p_no": {reading.arm: reading.p_no for reading in readings.values()},
            },
        )

    return score


def _not_finite(lost: Sequence[ArmRecord]) -> Score:
    """A trial that cannot be scored: kept in every count, with NaN as its value."""
    what = ", ".join(f"{record.arm} ({record.vector}, {record.strength_text})" for record in lost)
    return Score(
        value=dict.fromkeys(("shift", "random", "p_yes", "p_yes_sham", "mass"), math.nan),
        reason="not_finite",
        explanation=f"The model's numbers are not finite under: {what or 'no arm was read'}. "
        "Lower the strength, or load the model with -M dtype=float32.",
    )


def _explanation(readings: list[ArmReading], shift: float, is_reversed: bool) -> str:
    sham, concept = readings[0], readings[1]
    toward = "no, which here says that something was noticed or stands out" if is_reversed else "yes"
    lines = [
        f"yes {published_form(sham.p_yes, concept.p_yes)}, no {published_form(sham.p_no, concept.p_no)}",
        "",
        arm_table(readings),
        "",
        f"Shift toward {toward}: {shift:+.3f} nats.",
    ]
    return "\n".join(lines)
