"""Logs as data frames: what the tables show, one row for each trial and arm."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import evaluate
from inspect_ai.analysis import samples_df
from inspect_ai.log import read_eval_log

import introbench
from introbench.analysis.named_values import named_values
from introbench.analysis.sampled_detection import LABELS
from introbench.errors import InputError
from introbench.records.factors import arms_from_json
from introbench.report.log import read_log

SMALL: dict[str, dict[str, Any]] = {
    "introspection": {"documents": ["info"], "formats": "yes-no", "norm_vectors": 1, "controls": "negated"},
    "logit_lens": {"documents": ["info"], "random_vectors": 1},
    "sweep": {"ranges": ["1:2", "2:3"], "strengths": [1, 3], "families": ["introspection", "always_no"]},
    "identification": {"documents": ["info"], "random_vectors": 1},
    "location": {"parts": "halves"},
    "probe": {"documents": ["info", "none"], "random_vectors": 1},
    "model_swap": {"documents": ["info"], "families": ["introspection", "always_no"], "random_vectors": 1},
    "top_of_mind": {"strengths": [1, 3], "samples": 1, "length": 4, "random_vectors": 1},
    "calibrate": {"strengths": [1, 3], "samples": 1, "length": 4},
    "sampled_detection": {"strengths": [1, 3], "layer_fractions": [0.5], "samples": 2, "length": 4},
}
TASKS = [pytest.param(name, marks=[] if name == "introspection" else pytest.mark.slow) for name in SMALL]


@pytest.fixture(scope="module")
def logs(tiny_folder: Path, tuned_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes the log of a task once."""
    made: dict[str, str] = {}

    def log_of(task: str) -> str:
        if task not in made:
            arguments = {"concepts": ["cats", "bread"], **SMALL[task]}
            if task == "model_swap":
                arguments = {"finetune": str(tuned_folder), **SMALL[task]}
            if task not in ("sweep", "location", "sampled_detection"):
                arguments["layers"] = "1:3"
            if "strengths" not in arguments:
                arguments["strength"] = 3
            log = evaluate(task, tiny_folder, tmp_path_factory.mktemp(task), **arguments)
            assert log.status == "success"
            made[task] = log.location
        return made[task]

    return log_of


def numbers_in(frame: pd.DataFrame) -> set[float]:
    return {float(value) for value in frame.select_dtypes("number").to_numpy().ravel() if not math.isnan(value)}


@pytest.mark.parametrize("task", TASKS)
def test_contrasts_hold_every_number_that_a_run_says(task: str, logs: Any) -> None:
    log = read_log(logs(task))
    expected = {value for value in named_values(log.scorer, log.trials).values() if not math.isnan(value)}
    frame = introbench.contrasts(logs(task))
    assert expected
    assert {float(value) for value in expected} <= numbers_in(frame)
    assert not frame.name.duplicated().any()
    assert not frame.name.str.endswith(("| low", "| high")).any()
    assert set(frame.task) == {task}


@pytest.mark.parametrize("task", TASKS)
def test_trials_have_one_row_for_each_trial_and_arm(task: str, logs: Any) -> None:
    frame = introbench.trials(logs(task))
    assert not frame.duplicated(["sample", "epoch", "arm"]).any()
    samples = read_eval_log(logs(task)).samples or []
    assert set(frame["sample"]) == {str(sample.id) for sample in samples}
    if task != "probe":
        for sample in samples:
            assert set(arms_from_json(sample.metadata["arms"])) <= set(frame.arm[frame["sample"] == str(sample.id)])
    assert not any(isinstance(value, dict | list) for value in frame.to_numpy().ravel())
    described = introbench.trials.__doc__ or ""
    assert [name for name in frame.columns if f"`{name}`" not in described] == []


@pytest.mark.parametrize("task", TASKS)
def test_trials_hold_the_numbers_of_the_scores(task: str, logs: Any) -> None:
    kinds = {"logit_lens": ["layer"], "model_swap": ["arm", "layer"], "probe": ["layer"]}
    kinds |= {name: ["arm", "option"] for name in ("identification", "location")}
    held: set[float] = set()
    for each in kinds.get(task, ["arm"]):
        held |= numbers_in(introbench.trials(logs(task), each=each))
    parts = {
        "introspection": ["log_odds", "p_yes", "p_no"], "model_swap": ["log_odds", "p_yes"],
        "logit_lens": ["gaps", "log_odds", "p_yes"], "sweep": ["shift", "baseline"], "identification": ["arms"],
        "location": ["changes", "among", "mass"], "probe": ["report", "answer"],
        "top_of_mind": ["measured", "gains"], "calibrate": ["measured", "gains"], "sampled_detection": ["norms"],
    }  # fmt: skip
    for _, exact in read_log(logs(task)).trials:
        for part in parts[task]:
            assert set(flat(exact[part])) <= held, part


def flat(value: Any) -> list[float]:
    """Every finite number in nested lists and mappings."""
    if isinstance(value, dict | list):
        return [number for each in (value.values() if isinstance(value, dict) else value) for number in flat(each)]
    return [float(value)] if value is not None and math.isfinite(value) else []


@pytest.mark.slow
def test_answers_have_a_row_each_that_their_arm_sums_up(logs: Any) -> None:
    texts, arms = (introbench.trials(logs("sampled_detection"), each=each) for each in ("text", "arm"))
    by_arm = texts.groupby(["sample", "arm"])
    assert (by_arm.size() == 2).all()
    summed = by_arm[list(LABELS)].mean().reset_index().sort_values(["sample", "arm"])
    ordered = arms.sort_values(["sample", "arm"])
    assert np.array_equal(summed[list(LABELS)].to_numpy(), ordered[list(LABELS)].to_numpy(), equal_nan=True)
    written = {
        text
        for sample in read_eval_log(logs("sampled_detection")).samples or []
        for record in (sample.output.metadata or {})["arms"]
        for text in record["texts"]
    }
    assert set(texts.text) == written
    shams = texts[texts.arm_kind == "sham"]
    assert shams.block.isna().all()
    assert not texts[texts.arm_kind != "sham"].block.isna().any()


def test_shifts_are_what_the_table_averages(logs: Any) -> None:
    frame, table = introbench.trials(logs("introspection")), introbench.contrasts(logs("introspection"))
    of_concept = frame[frame.arm == "concept"]
    means = table.set_index("name").estimate
    for family in ("always_no", "always_yes", "ambiguous"):
        shift = of_concept[of_concept.family == family].groupby("concept")["shift"].mean().mean()
        assert shift == pytest.approx(means[f"{family} | info"], abs=1e-9)
    asked = of_concept[of_concept.family == "introspection"]
    sided = asked.groupby(["concept", "reversed"]).noticed.mean().groupby("concept").mean().mean()
    assert sided == pytest.approx(means["introspection | info"], abs=1e-9)
    assert (frame[frame.arm == "sham"]["shift"] == 0).all()
    assert np.allclose(frame.noticed, np.where(frame.reversed, -1, 1) * frame["shift"], equal_nan=True)
    assert np.allclose(frame.log_odds, np.log(frame.p_yes / frame.p_no), atol=1e-9)
    assert set(frame.vector[frame.arm == "concept"]) == {"cats", "bread"}
    assert frame.norm[frame.arm == "concept"].tolist() == pytest.approx([3] * len(of_concept))
    assert set(frame.matched[frame.arm_kind == "random"]) == {"impact", "norm"}


def test_excess_and_verdict_are_those_of_the_table(logs: Any) -> None:
    run = read_log(logs("introspection")).found
    excess, verdict = introbench.excess(logs("introspection")), introbench.verdict(logs("introspection"))
    assert excess.vectors.tolist() == [each.vectors for each in run.excesses]
    assert excess.estimate.tolist() == [each.fit.excess.estimate for each in run.excesses]
    assert excess.dose.tolist() == pytest.approx([each.dose for each in run.excesses], nan_ok=True)
    (row,) = verdict.to_dict("records")
    assert row["verdict"] == run.verdict.name
    assert (row["excess"], row["excess_low"], row["excess_high"]) == (
        run.evidence.excess.estimate, run.evidence.excess.low, run.evidence.excess.high,
    )  # fmt: skip
    assert (row["document"], row["margin"], row["concepts"]) == ("info", 0.5, 2)


def test_logs_are_given_as_paths_folders_several_or_read(logs: Any) -> None:
    path = logs("introspection")
    expected = introbench.verdict(path)
    log = read_eval_log(path)
    for given in (Path(path), str(Path(path).parent), log):
        pd.testing.assert_frame_equal(introbench.verdict(given).drop(columns="log"), expected.drop(columns="log"))
    assert len(introbench.verdict([path, log])) == 2
    pd.testing.assert_frame_equal(
        introbench.trials(log).drop(columns="log"), introbench.trials(path).drop(columns="log")
    )


def test_inspects_frames_have_plain_columns(logs: Any) -> None:
    frame = samples_df(logs("introspection"), columns=introbench.sample_columns(), quiet=True)
    own = introbench.trials(logs("introspection"))
    concept = own[own.arm == "concept"].set_index("sample").sort_index()
    frame = frame.set_index("id").sort_index()
    assert frame.number_log_odds_concept.tolist() == pytest.approx(concept.log_odds.tolist())
    assert frame.number_shift.tolist() == pytest.approx(concept.noticed.tolist())
    assert frame.trial_family.tolist() == concept.family.tolist()
    assert not [name for name in frame if frame[name].astype(str).str.startswith(("{", "[")).any()]


def test_what_a_log_does_not_have_is_refused(logs: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a log of introspection has rows for each of arm; expected one of these"):
        introbench.trials(logs("introspection"), each="layer")
    with pytest.raises(InputError, match="no introbench log there"):
        introbench.trials(tmp_path)
    with pytest.raises(InputError, match="log 3: expected a log file, a folder"):
        introbench.contrasts([3])  # type: ignore[list-item]


@pytest.mark.slow
def test_logs_of_other_tasks_have_no_verdict(logs: Any) -> None:
    with pytest.raises(InputError, match="log of calibrate: has no excess and no verdict"):
        introbench.verdict(logs("calibrate"))
