"""An evaluation's results for tests are those of its log."""

from pathlib import Path
from typing import cast

import pytest
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import SampleScore

from introbench.errors import InputError
from introbench.regression.baseline import Record
from introbench.regression.evaluation import Evaluation
from introbench.scorers.introspection import headline

LOGS = Path(__file__).parents[1] / "old_logs"


def evaluation(task: str) -> Evaluation:
    return Evaluation(read_eval_log(str(LOGS / f"{task}.eval"), resolve_attachments="core"))


@pytest.fixture(scope="module")
def introspection() -> Evaluation:
    return evaluation("introspection")


def test_the_headline_and_the_verdict_are_those_of_the_log(introspection: Evaluation) -> None:
    """The log is of older rules, so that the metrics are made anew."""
    scores = [
        SampleScore(score=sample.scores["yes_shift"], sample_id=sample.id, sample_metadata=sample.metadata)
        for sample in introspection.log.samples or []
        if sample.scores
    ]
    metrics = cast(dict[str, float], headline()(scores))
    noticed = introspection.noticed
    assert (noticed.estimate, noticed.low, noticed.high) == pytest.approx(
        [metrics[name] for name in ("noticed", "low", "high")], abs=1e-9
    )
    assert metrics[f"verdict: {introspection.verdict}"] == 1
    assert introspection.record == Record.of(introspection.log)


@pytest.mark.parametrize("document", [None, "info", "neutral"])
def test_a_mean_is_that_of_the_trials(introspection: Evaluation, document: str | None) -> None:
    record = introspection.record
    shifts: dict[bool, list[float]] = {False: [], True: []}
    for name, concepts in record.trials.items():
        question = record.questions[name]
        if (question["family"], question["document"]) == ("introspection", document or "info"):
            shifts[question["reversed"]] += [values["shift"] for values in concepts.values()]
    plain, reversed_ = (sum(of_side) / len(of_side) for of_side in shifts.values())
    mean = introspection.mean("introspection", document)
    assert mean.estimate == pytest.approx((plain + reversed_) / 2, abs=1e-6), "plain and reversed count alike"
    assert mean.low < mean.estimate < mean.high


def test_contrasts_are_between_families_or_documents(introspection: Evaluation) -> None:
    families = introspection.contrast("introspection", "always_no")
    assert families.units == 2
    assert introspection.contrast("introspection", "always_no", "neutral") != families
    assert introspection.contrast("info", "neutral").units == 2


def test_results_that_there_are_not_are_refused(introspection: Evaluation) -> None:
    with pytest.raises(InputError, match=r"result 'always_yes \| info': expected one of introspection \| info, "):
        introspection.mean("always_yes")
    with pytest.raises(InputError, match=r"result 'introspection \| lorem'"):
        introspection.mean("introspection", "lorem")
    with pytest.raises(InputError, match="has no shifts; expected introbench/introspection"):
        evaluation("probe").mean("introspection")


def test_its_text_is_short(introspection: Evaluation) -> None:
    assert repr(introspection).startswith("<introspection on inject/smollm2: ")
