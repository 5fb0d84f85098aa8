"""Sampled answers, graded: what each claims and names, and how often with an injection and without."""

import math
from collections import Counter

from inspect_ai.model import Model, model_roles
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from introbench.analysis.grading import BY_RULES, Grade, grade_by_rules, guessed_concepts
from introbench.analysis.sampled_detection import grade_record, results
from introbench.records.arm import CONCEPT, RANDOM, SHAM
from introbench.records.arm_record import TextRecord, rounded
from introbench.records.sampled_factors import SampledFactors
from introbench.records.scores import recorded_name
from introbench.report.markdown import markdown
from introbench.scorers.grader import grade_by_model
from introbench.scorers.metric_values import scored_trials

ROLE = "grader"
"""The model role that grades, in place of the rules."""

METRICS = (
    *("hits above false alarms", "hit rate", "false alarms", "false alarms, random", "d-prime"),
    *("claims and names", "identified", "identified, guessing", "incoherent", "concepts", "without a grade"),
)
"""Names of the metrics."""


@metric(scores="unreduced")
def detection() -> Metric:
    """Hits beside false alarms in the cell that was chosen on the other half of the concepts; the clearest protocol's.

    `hits above false alarms` is the difference of the next two; `random` the claims under random vectors; `identified`
    the share of claims that name the concept, and `guessing` how often they name another one.
    """

    def compute(scores: list[SampleScore]) -> Value:
        found = results(scored_trials(scores))
        if not found:
            return dict.fromkeys(METRICS, math.nan)
        best = max((result.best for result in found), key=lambda best: best.above_sham.estimate)
        numbers = (
            *(best.above_sham.estimate, best.hits.estimate, best.false_alarms.estimate, best.random.estimate),
            *(best.d_prime.estimate, best.named_claims.estimate, best.identified.estimate, best.by_guessing),
            *(best.incoherent.estimate, best.concepts, sum(cell.missing for each in found for cell in each.cells)),
        )
        return dict(zip(METRICS, map(float, numbers), strict=True))

    return compute


@scorer(metrics=[detection()], name=recorded_name("answers_graded"))
def answers_graded() -> Scorer:
    """Grade every answer about a concept, by rules or by the model whose role is `grader`.

    The value holds shares of answers: `hits` (claims under the concept's vector), `named` (those that name it as well),
    `false_alarms` (claims under the sham) and `random` (claims under random vectors). The grade of every answer is in
    the metadata, and the answers are in the output.
    """

    async def score(state: TaskState, target: Target) -> Score:
        factors = SampledFactors.from_json(state.metadata)
        records = [TextRecord.from_json(record) for record in (state.output.metadata or {}).get("arms", [])]
        if not records:
            return Score(
                value=dict.fromkeys(("hits", "named", "false_alarms", "random"), math.nan),
                reason="no_output",
                explanation="The sample ended before anything was written.",
            )
        given = model_roles().get(ROLE)
        model = given[0] if isinstance(given, list) else given
        grades = {
            record.arm: [
                await _grade(model, factors, text, is_finite=record.finite or bool(text)) for text in record.texts
            ]
            for record in records
        }
        texts = {record.arm: [_whole(factors, text) for text in record.texts] for record in records}
        reasons = Counter(grade.unscored for of_arm in grades.values() for grade in of_arm if grade.unscored)
        return Score(
            value={
                "hits": _share(factors, grades, CONCEPT, "claims"),
                "named": _share(factors, grades, CONCEPT, "claims", "names"),
                "false_alarms": _share(factors, grades, SHAM, "claims"),
                "random": _share(factors, grades, RANDOM, "claims"),
            },
            explanation=_explanation(texts, grades),
            metadata={
                "grades": {arm: [grade_record(grade) for grade in of_arm] for arm, of_arm in grades.items()},
                "guesses": {
                    arm: [guessed_concepts(text, factors.concepts) for text in of_arm] for arm, of_arm in texts.items()
                },
                "norms": {record.arm: rounded(record.strength) for record in records},
                "grader": str(model) if model else BY_RULES,
                "without_grade": dict(reasons),
            },
        )

    return score


def _whole(factors: SampledFactors, text: str) -> str:
    """An answer with what it was made to begin with."""
    return f"{factors.begins}{text}" if factors.begins else text


async def _grade(model: Model | None, factors: SampledFactors, text: str, *, is_finite: bool) -> Grade:
    if not is_finite:
        return Grade(False, False, False, False, False, unscored="the model's numbers are not finite")
    if model is None:
        return grade_by_rules(_whole(factors, text), factors.concept)
    return await grade_by_model(model, _whole(factors, text), factors.concept, factors.question)


def _share(factors: SampledFactors, grades: dict[str, list[Grade]], kind: str, *labels: str) -> float:
    """Share of the graded answers of a kind of arm that can be followed and of which all labels are true."""
    graded = [
        grade
        for arm, of_arm in grades.items()
        if factors.arms[arm].kind == kind
        for grade in of_arm
        if not grade.unscored
    ]
    true = sum(grade.coherent and all(getattr(grade, label) for label in labels) for grade in graded)
    return round(true / len(graded), 3) if graded else math.nan


def _explanation(texts: dict[str, list[str]], grades: dict[str, list[Grade]]) -> str:
    headers = ["arm", "grade", "answer"]
    rows: list[list[str]] = [headers, ["---"] * len(headers)]
    for arm, of_arm in texts.items():
        for text, grade in zip(of_arm, grades[arm], strict=True):
            shown = grade.unscored or ", ".join(grade_record(grade) or ["nothing"])
            rows.append([arm, shown, text.replace("\n", " ").replace("|", "\\|")])
    return markdown(rows)
