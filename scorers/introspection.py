"""How far an injection moves a trial's answer toward yes, and what all trials say together."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.contrasts import active_contrasts, contrasts, control_contrasts, mean_shifts
from introbench.analysis.excess import CONCEPTS, evidence, excesses
from introbench.analysis.shifts import Plan, TrialShift, live_concepts, plan_of, shift_of_trial
from introbench.analysis.verdict import NOT_MEASURED, VERDICTS, verdict
from introbench.provider.outputs import read_output
from introbench.report.markdown import arm_table, published_form
from introbench.scorers.metric_values import result_values
from introbench.steering.arms import CONTROL_VECTORS, IMPACT

RANDOM_ARM = re.compile(r"random \d+")

ACTIVE_RANDOM_ARM = re.compile(r"random \d+ active")

CONTROL_ARMS = frozenset(name + suffix for name in CONTROL_VECTORS for suffix in ("", IMPACT))


@metric(scores="unreduced")
def shift_by_document_and_family(seed: int = 0) -> Metric:
    """Mean shift in log-odds for every document and question family, with a 95% interval.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return result_values(mean_shifts(trial_shifts(scores), planned(scores), seed=seed))

    return compute


@metric(scores="unreduced")
def introspection_contrasts(seed: int = 0) -> Metric:
    """Introspection against control questions, documents, random vectors and salience, with 95% intervals.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return result_values(contrasts(trial_shifts(scores), planned(scores), seed=seed))

    return compute


@metric(scores="unreduced")
def headline() -> Metric:
    """The numbers to look at first: `noticed` with its interval, what it rests on, and the verdict.

    `noticed` is the excess of introspection over what control questions do, under the document info (under the first
    one, if info is not run), averaged over kinds of answers; `spread` is how far these lie apart. See
    `introbench.stats.control_line`. `beyond salience` is how much more that is than the excess of questions on what stands out
    in the text, in the answer formats of both. Of the verdicts, the one that holds is 1.
    """

    def compute(scores: list[SampleScore]) -> Value:
        shifts, plan = trial_shifts(scores), planned(scores)
        found = excesses(shifts, replace(plan, documents=plan.ordered_documents[:1]))
        rests_on = evidence(found, shifts, plan, live_concepts(scores))
        own = [each.confusion for each in found if each.vectors == CONCEPTS]
        interval = own[0].excess if own else NOT_MEASURED
        kinds = [each.estimate for each in own[0].by_kind.values()] if own else []
        name = verdict(rests_on, plan.margin).name if rests_on else "inconclusive"
        more = rests_on.beyond_salience if rests_on else NOT_MEASURED
        return {
            "noticed": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "beyond salience": more.estimate,
            "beyond salience | low": more.low,
            "beyond salience | high": more.high,
            "spread": max(kinds) - min(kinds) if kinds else math.nan,
            "concepts": interval.units,
            "not finite": sum(math.isnan(trial.shift) for trial in shifts),
            **{f"verdict: {each}": float(each == name) for each in VERDICTS},
        }

    return compute


@metric(scores="unreduced")
def excess_over_controls() -> Metric:
    """Introspection in excess of what control questions with its baseline do, by document and by kind of vector."""

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for each in excesses(trial_shifts(scores), planned(scores)):
            named = {
                "excess": each.confusion.excess,
                "bias": each.confusion.bias,
                "flattening": each.confusion.flattening,
                **({"behind concepts": each.behind_concepts} if each.behind_concepts else {}),
                **{f"excess in {kind}": interval for kind, interval in each.confusion.by_kind.items()},
            }
            for name, interval in named.items():
                key = f"{name} | {each.vectors} | {each.document}"
                values |= {key: interval.estimate, f"{key} | low": interval.low, f"{key} | high": interval.high}
        return values

    return compute


@metric(scores="unreduced")
def control_vectors(seed: int = 0) -> Metric:
    """What control vectors do (-T controls=...), norm- and impact-matched, on every family; nothing without them.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return result_values(control_contrasts(trial_shifts(scores), planned(scores), seed=seed))

    return compute


@metric(scores="unreduced")
def active_steering(seed: int = 0) -> Metric:
    """The same trials steered while the model answers, too (-T steering=both); nothing without them.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        active = trial_shifts(scores, "active")
        return (
            result_values(active_contrasts(trial_shifts(scores), active, planned(scores), seed=seed)) if active else {}
        )

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
    random vectors), both signed so that "noticed" is positive on introspection questions, "stands out" on salience
    questions; `p_yes` and `p_yes_sham`; `mass` (probability of all yes and no forms under the concept); `active` (shift
    under the concept's vector when it is on in the answer, too), if that was run beside it. Exact numbers are in the
    score's metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        sign = -1.0 if state.metadata["reversed"] else 1.0
        recorded = (state.output.metadata or {}).get("arms", [])
        readings = {reading.arm: reading for reading in read_output(state.output)} if recorded else {}
        if "sham" not in readings or "concept" not in readings:
            return _not_finite([record for record in recorded if not record["finite"]])
        sham, concept = readings["sham"], readings["concept"]
        shifts = {
            record["arm"]: sign * (readings[record["arm"]].log_odds - sham.log_odds) if record["finite"] else math.nan
            for record in recorded
            if record["arm"] != "sham"
        }
        random = {record["vector"]: shifts[record["arm"]] for record in recorded if RANDOM_ARM.fullmatch(record["arm"])}
        active = {
            record["vector"].removesuffix(" (active)"): shifts[record["arm"]]
            for record in recorded
            if ACTIVE_RANDOM_ARM.fullmatch(record["arm"])
        }
        controls = {arm: shift for arm, shift in shifts.items() if arm in CONTROL_ARMS}
        shift = shifts["concept"]
        mean_random = sum(random.values()) / len(random) if random else math.nan
        both = "concept active" in shifts
        return Score(
            value={
                "shift": round(shift, 3),
                "random": round(mean_random, 3),
                "p_yes": round(concept.p_yes, 4),
                "p_yes_sham": round(sham.p_yes, 4),
                "mass": round(concept.mass, 3),
                **({"active": round(shifts["concept active"], 3)} if both else {}),
            },
            answer="yes" if concept.log_odds > 0 else "no",
            explanation=_explanation(list(readings.values()), shift, bool(state.metadata["reversed"])),
            metadata={
                "shift": shift,
                "live": next(record.get("live") for record in recorded if record["arm"] == "concept"),
                "random": random,
                **({"controls": controls} if controls else {}),
                "dose": {record["arm"]: record.get("dose") for record in recorded},
                **({"active": {"shift": shifts["concept active"], "random": active}} if both else {}),
                "log_odds": {reading.arm: reading.log_odds for reading in readings.values()},
                "p_yes": {reading.arm: reading.p_yes for reading in readings.values()},
                "p_no": {reading.arm: reading.p_no for reading in readings.values()},
            },
        )

    return score


def trial_shifts(scores: list[SampleScore], steering: str = "cache") -> list[TrialShift]:
    """What the metrics work on, from scores and the factors that the dataset put into the samples' metadata."""
    shifts = [shift_of_trial(score.sample_metadata or {}, score.score, steering) for score in scores]
    return [shift for shift in shifts if shift is not None]


def planned(scores: list[SampleScore]) -> Plan:
    """What the run set out to ask, which every sample's metadata tell."""
    return plan_of(scores[0].sample_metadata or {}) if scores else Plan([], [])


def _not_finite(lost: list[Mapping[str, Any]]) -> Score:
    """A trial that cannot be scored: kept in every count, with NaN as its value."""
    strengths = [
        "no finite strength" if record["strength"] is None else f"strength {record['strength']:g}" for record in lost
    ]
    what = ", ".join(
        f"{record['arm']} ({record['vector']}, {strength})" for record, strength in zip(lost, strengths, strict=True)
    )
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
