"""How far an injection moves a trial's answer toward yes, and what all trials say together."""

import math
from collections.abc import Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.evidence import Evidence
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import exact_numbers, shifts_of_arms
from introbench.analysis.verdict import RULES
from introbench.provider.outputs import arm_records, read_output
from introbench.records.arm import steerings_of
from introbench.records.arm_record import ArmRecord
from introbench.records.factors import QuestionFactors, TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.metric_values import scored_trials


@metric(scores="unreduced")
def headline(rules: int = RULES) -> Metric:
    """The verdict, and the numbers to look at first, under the document info (under the first one, if info is not run).

    The verdict that holds is the name of the first metric, and its value is 1. `noticed` is the excess of introspection
    over what control questions do, averaged over kinds of answers, with its interval (`low`, `high`); see
    `introbench.stats.control_curve`. All other numbers follow from the records: see `introbench table LOG --full` and
    `introbench.analysis.named_values`.

    Args:
        rules: Version of the verdict's rules, which the log keeps. Only those of this release can be applied.

    Raises:
        ValueError: It is another version.
    """
    if rules != RULES:
        raise ValueError(f"rules={rules}: expected {RULES}, the version of this release")

    def compute(scores: list[SampleScore]) -> Value:
        run = IntrospectionRun(scored_trials(scores))
        evidence = run.evidence or Evidence()
        name = run.verdict.name if run.verdict else "inconclusive"
        return {
            **({f"verdict: {name}": 1.0} if scores else {}),
            "noticed": evidence.excess.estimate,
            "low": evidence.excess.low,
            "high": evidence.excess.high,
        }

    return compute


@scorer(metrics=[headline(RULES)], name=recorded_name("yes_shift"))
def yes_shift() -> Scorer:
    """Score a trial by its shift in log-odds against the sham.

    The value holds the trial's `document` and `family`, by which the viewer sorts, and rounded numbers: `shift` (under
    the concept's vector), `random` (mean over the random vectors of equal dose), both signed so that "noticed" is
    positive on introspection questions, "stands out" on salience questions; `p_yes` and `p_yes_sham`; `mass`
    (probability of all yes and no forms under the concept); `active` (shift under the concept's vector when it is on in
    the answer, too), if that was run beside it. Exact numbers are in the score's metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        question, arms = factors.question, factors.arms
        records = arm_records(state.output)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        if "sham" not in readings or "concept" not in readings:
            return _not_finite(question, [record for record in records if not record.finite])
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
                **question.groups,
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


def _not_finite(question: QuestionFactors, lost: Sequence[ArmRecord]) -> Score:
    """A trial that cannot be scored: kept in every count, with NaN as its value."""
    what = ", ".join(f"{record.arm} ({record.vector}, {record.strength_text})" for record in lost)
    return Score(
        value={**question.groups, **dict.fromkeys(("shift", "random", "p_yes", "p_yes_sham", "mass"), math.nan)},
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
