"""Where the model says a thought was placed, and whether it was there."""

import math
from collections.abc import Mapping, Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.location import (
    HEADLINE,
    NOT_KNOWN,
    LocationResult,
    Scores,
    location_results,
    location_trial,
    mean_scores,
    placed,
    planned_parts,
)
from introbench.analysis.named_values import SHORT, interval_values
from introbench.provider.outputs import read_output
from introbench.records.arm import CONCEPT, RANDOM, Arm
from introbench.records.factors import PlaceFactors, TrialFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import MOST_METRICS, scored_trials

KINDS = (CONCEPT, RANDOM)
"""The vectors that are injected at each place: the concept's own, and a random rotation of it."""

VALUES = ("accuracy", "nats", "random_accuracy", "random_nats", "mass")


@metric(scores="unreduced")
def location_contrasts() -> Metric:
    """The score that counts of each part: the gain in the share of right places, beyond random vectors.

    It is how much more often introspective questions name the right place than other questions do under concepts'
    vectors, minus the same under random ones. Ends of its interval (`| low`, `| high`) follow while there is room for
    twelve numbers in all, so with up to four parts. See the tables for nats and for what it is made of.
    """

    def compute(scores: list[SampleScore]) -> Value:
        headlines = [result for result in _results(scores) if result.is_headline]
        if not headlines:
            return {SHORT[HEADLINE]: math.nan}
        named = {f"{result.part}: {SHORT[HEADLINE]}": result.accuracy for result in headlines}
        if 3 * len(named) > MOST_METRICS:
            return {name: interval.estimate for name, interval in named.items()}
        values: dict[str, float] = {}
        for name, interval in named.items():
            values |= interval_values(name, interval)
        return values

    return compute


@scorer(metrics=[location_contrasts()], name=recorded_name("located"))
def located() -> Scorer:
    """Score a trial by how often the label that gains most is that of the place where the thought was.

    The value holds the trial's `part`, `passage` and `kind`, and, averaged over the places where the thought was,
    `accuracy` (ties are shared) and `nats` (how much more the right place's label gains than the others do on average),
    the same for the random vector, and `mass` (probability of all labels together, on average over the concept's arms).
    The answer is what was picked for each place. Exact numbers of every arm are in the metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        return score_of(factors.place, factors.arms, readings)

    return score


def score_of(asked: PlaceFactors, arms: Mapping[str, Arm], readings: Mapping[str, ArmReading]) -> Score:
    """A trial's score.

    Args:
        asked: What is asked.
        arms: The trial's arms, by name.
        readings: The arms that have finite numbers, by name.
    """
    options = asked.options
    changes = _changes(options, readings)
    scores = {kind: _scores(kind, options, arms, changes) for kind in KINDS}
    if all(scores[kind] == NOT_KNOWN for kind in KINDS):
        return Score(
            value={**asked.groups, **dict.fromkeys(VALUES, math.nan)},
            reason="not_finite",
            explanation="The model's numbers are not finite. Lower the strength, or load it with -M dtype=float32.",
        )
    masses = [_mass(reading) for name, reading in readings.items() if arms[name].kind == CONCEPT]
    (accuracy, nats), (random_accuracy, random_nats) = (scores[kind] for kind in KINDS)
    picked = {
        arms[name].place: max(by_place, key=lambda place: by_place[place])
        for name, by_place in changes.items()
        if arms[name].kind == CONCEPT
    }
    return Score(
        value={
            **asked.groups,
            "accuracy": round(accuracy, 3),
            "nats": round(nats, 4),
            "random_accuracy": round(random_accuracy, 3),
            "random_nats": round(random_nats, 4),
            "mass": round(math.fsum(masses) / len(masses), 4) if masses else math.nan,
        },
        answer=", ".join(f"{pick} for {place}" for place, pick in picked.items()),
        explanation=_table(options, arms, readings, changes),
        metadata={
            "scores": {kind: list(score) for kind, score in scores.items()},
            "changes": changes,
            "among": {name: _among(options, reading) for name, reading in readings.items()},
            "mass": {name: _mass(reading) for name, reading in readings.items()},
        },
    )


def _results(scores: Sequence[SampleScore]) -> list[LocationResult]:
    if not scores:
        return []
    trials = scored_trials(scores)
    plan = TrialFactors.from_json(trials[0][0]).plan
    return location_results([location_trial(trial) for trial in trials], planned_parts(plan))


def _changes(options: Mapping[str, str], readings: Mapping[str, ArmReading]) -> dict[str, dict[str, float]]:
    """For each arm, by how much the log-probability of each place's label changed from the sham's, in nats."""
    sham = readings.get("sham")
    if sham is None:
        return {}
    return {
        arm: {place: reading.answers[label] - sham.answers[label] for label, place in options.items()}
        for arm, reading in readings.items()
        if arm != "sham"
    }


def _scores(
    kind: str, options: Mapping[str, str], arms: Mapping[str, Arm], changes: Mapping[str, Mapping[str, float]]
) -> Scores:
    """Mean over the places where one kind of vector was; not known unless all of them are."""
    names = {arm.place: name for name, arm in arms.items() if arm.kind == kind}
    if not all(names.get(place) in changes for place in options.values()):
        return NOT_KNOWN
    return mean_scores([placed(changes[names[place]], place) for place in options.values()])


def _among(options: Mapping[str, str], reading: ArmReading) -> dict[str, float]:
    """Probability of each place among the places."""
    most = max(reading.answers.values())
    weights = {place: math.exp(reading.answers[label] - most) for label, place in options.items()}
    total = math.fsum(weights.values())
    return {place: weight / total for place, weight in weights.items()}


def _mass(reading: ArmReading) -> float:
    """Probability that the answer is one of the labels at all."""
    return math.fsum(map(math.exp, reading.answers.values()))


def _table(
    options: Mapping[str, str],
    arms: Mapping[str, Arm],
    readings: Mapping[str, ArmReading],
    changes: Mapping[str, Mapping[str, float]],
) -> str:
    """Markdown table: for each arm, the probability of each place among the places, and how its label changed."""
    by_place = {place: label for label, place in sorted(options.items(), key=lambda option: option[0])}
    rows = []
    for name, reading in readings.items():
        among, change = _among(options, reading), changes.get(name)
        cells = [f"{among[place]:.1%}" + (f" ({change[place]:+.3f})" if change else "") for place in by_place]
        right = f"{placed(change, arms[name].place)[0]:.2g}" if change else ""
        rows.append([name, *cells, f"{_mass(reading):.2%}", right])
    headers = ["arm", *(f"{label}: {place}" for place, label in by_place.items()), "all labels", "right"]
    legend = "Probability of each place among the places, and by how many nats its label changed from the sham's."
    return f"{legend}\n\n{markdown([headers, ['---'] * len(headers), *rows])}"
