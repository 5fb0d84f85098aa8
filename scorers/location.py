"""Where the model says a thought was placed, and whether it was there."""

import math
from collections.abc import Mapping, Sequence

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.location import (
    CONTRASTS,
    NOT_KNOWN,
    LocationResult,
    Scores,
    location_results,
    location_trial,
    mean_scores,
    placed,
    planned_parts,
)
from introbench.provider.outputs import read_output
from introbench.records.arm import CONCEPT, RANDOM, Arm
from introbench.records.factors import TrialFactors
from introbench.report.markdown import markdown
from introbench.scorers.metric_values import interval_values, scored_trials

KINDS = (CONCEPT, RANDOM)
"""The vectors that are injected at each place: the concept's own, and a random rotation of it."""

VALUES = ("accuracy", "nats", "random_accuracy", "random_nats", "mass")

SHORT = dict(zip(CONTRASTS, ("gain beyond random", "gain", "beyond random"), strict=True))
"""What contrasts are called in the metrics: the viewer has little room for their names."""


@metric(scores="unreduced")
def location_contrasts(seed: int = 0) -> Metric:
    """The score that counts, and the two differences that it is made of.

    `halves: gain beyond random` is how much larger the gain of introspective questions on halves is under concepts'
    vectors than under random ones; this is the score that counts. `halves: gain` is by how much a larger share of right
    places introspective questions have than others (`introspective - other` in the tables), `halves: beyond random`
    concepts' vectors than random ones; each with its interval (`| low`, `| high`), and in nats (`| nats`).

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for result in _results(scores, seed):
            if result.is_contrast:
                name = f"{result.part}: {SHORT[result.name]}"
                values |= _values(result, name, accuracy=name)
        return values

    return compute


@metric(scores="unreduced")
def location_scores(seed: int = 0) -> Metric:
    """Accuracy and nats of each kind of question with each kind of vector, beside chance.

    Args:
        seed: Seed of the bootstrap.
    """

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, float] = {}
        for result in _results(scores, seed):
            if not result.is_contrast:
                name = f"{result.part} | {result.name}"
                values |= _values(result, name, accuracy=f"{name} | accuracy") | {f"{name} | chance": result.chance}
        return values

    return compute


@scorer(metrics=[location_contrasts(), location_scores()])
def located() -> Scorer:
    """Score a trial by how often the label that gains most is that of the place where the thought was.

    The value holds, averaged over the places where the thought was, `accuracy` (ties are shared) and `nats` (how much
    more the right place's label gains than the others do on average), the same for the random vector, and `mass`
    (probability of all labels together, on average over the concept's arms). The answer is what was picked for each
    place. Exact numbers of every arm are in the metadata.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = TrialFactors.from_json(state.metadata)
        readings = {reading.arm: reading for reading in read_output(state.output)}
        return score_of(factors.place.options, factors.arms, readings)

    return score


def score_of(options: Mapping[str, str], arms: Mapping[str, Arm], readings: Mapping[str, ArmReading]) -> Score:
    """A trial's score.

    Args:
        options: The place that each label stands for.
        arms: The trial's arms, by name.
        readings: The arms that have finite numbers, by name.
    """
    changes = _changes(options, readings)
    scores = {kind: _scores(kind, options, arms, changes) for kind in KINDS}
    if all(scores[kind] == NOT_KNOWN for kind in KINDS):
        return Score(
            value=dict.fromkeys(VALUES, math.nan),
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


def _results(scores: Sequence[SampleScore], seed: int) -> list[LocationResult]:
    if not scores:
        return []
    trials = scored_trials(scores)
    plan = TrialFactors.from_json(trials[0][0]).plan
    return location_results([location_trial(trial) for trial in trials], planned_parts(plan), seed=seed)


def _values(result: LocationResult, name: str, accuracy: str) -> dict[str, float]:
    values = interval_values(accuracy, result.accuracy) | interval_values(f"{name} | nats", result.nats)
    return values | {f"{name} | missing": result.missing}


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
