"""Logs and a baseline that the last release wrote still say what they said.

`tests/old_logs` holds one log of each task on the embedded model, the tables that the release printed of them, and a
baseline. They are compared character by character, and scored anew in a process that never loads torch.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import read_eval_log

from introbench import cli
from introbench.analysis.excess import RANDOM, RANDOM_BY_NORM
from introbench.analysis.introspection import IntrospectionRun
from introbench.prompts import data
from introbench.records import old_logs
from introbench.records.arm import Arm
from introbench.report.find import TASKS
from introbench.report.log import log_table, scored_trials

OLD = Path(__file__).parents[1] / "old_logs"
LOGS = sorted(OLD.glob("*.eval"))


def test_there_is_a_log_of_every_task() -> None:
    assert {path.stem for path in LOGS} == set(TASKS)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_tables_of_old_logs_are_what_they_were(path: Path) -> None:
    assert log_table(str(path)) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert log_table(str(path), full=True) + "\n" == path.with_suffix(".full.txt").read_text(encoding="utf-8")


RESCORE = """
import asyncio, importlib, json, sys
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelName
from inspect_ai.scorer import SampleScore, Target
from inspect_ai.solver import TaskState
from introbench.analysis.named_values import named_values
from introbench.scorers.metric_values import scored_trials

def again(task, scorer):
    module = importlib.import_module(f"introbench.scorers.{task}")
    score = getattr(module, scorer)()
    log = read_eval_log(f"{sys.argv[1]}/{task}.eval")
    before, now, scores = {}, {}, []
    for sample in log.samples:
        state = TaskState(
            ModelName(log.eval.model), sample.id, sample.epoch, sample.input, sample.messages, output=sample.output,
            metadata=sample.metadata,
        )
        made = asyncio.run(score(state, Target(sample.target)))
        scores.append(SampleScore(score=made, sample_id=sample.id, sample_metadata=sample.metadata))
        first = sample.scores[scorer]
        before[sample.id] = [first.value, first.answer, first.explanation, first.metadata]
        now[sample.id] = [made.value, made.answer, made.explanation, made.metadata]
    results = named_values(scorer, scored_trials(scores))
    recorded = {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}
    return [recorded, before], [results, now]

found = {task: again(task, scorer) for task, scorer in json.loads(sys.argv[2]).items()}
assert not {"torch", "transformers"} & sys.modules.keys()
print(json.dumps(found))
"""
SCORERS = {
    "introspection": "yes_shift",
    "sweep": "swept",
    "location": "located",
    "probe": "probed",
    "logit_lens": "lens_gap",
    "identification": "identified",
    "model_swap": "arm_shifts",
    "top_of_mind": "top_of_mind_texts",
    "calibrate": "dose_response",
}
"""For each task, its scorer."""


OTHER_STATISTICS = {"introspection", "sweep", "location", "identification", "model_swap"}
"""Tasks whose numbers are computed in another way than by the last release: intervals allow for questions."""


def same(first: object, second: object) -> bool:
    """Equal up to 1e-9, keys of either side included."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-9) or (math.isnan(first) and math.isnan(second))
    return first == second


GROUPS = ("document", "family", "part", "passage", "kind")


def as_it_was(score: list[Any]) -> list[Any]:
    """A new score without what scores have had since: the trial's groups, and each arm's norm and dose."""
    value, answer, explanation, metadata = score
    numbers = {name: one for name, one in value.items() if name not in GROUPS}
    lines, is_of_arms = [], False
    for line in explanation.splitlines():
        is_of_arms = line.startswith("| arm | vector | norm | dose (nats) |") or (is_of_arms and line.startswith("|"))
        cells = line.split(" | ")
        lines.append(" | ".join([*cells[:2], *cells[4:]]) if is_of_arms else line)
    return [numbers, answer, "\n".join(lines), metadata]


def test_old_logs_are_scored_anew_without_torch_and_give_the_same_numbers() -> None:
    command = [sys.executable, "-c", RESCORE, str(OLD), json.dumps(SCORERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_task = json.loads(done.stdout.splitlines()[-1])
    assert by_task.keys() == SCORERS.keys()
    for task, (before, now) in by_task.items():
        assert before[0], task
        now[1] = {trial: as_it_was(score) for trial, score in now[1].items()}
        if task == "logit_lens":  # since then, the table of the arms stands above that of the layers
            assert all(now[1][trial][2].endswith(before[1][trial][2]) for trial in before[1])
            before[1], now[1] = (
                {trial: [*all_[:2], all_[3]] for trial, all_ in of.items()} for of in (before[1], now[1])
            )
        assert same(before[1], now[1]), task
        if task not in OTHER_STATISTICS:
            assert same(before[0], now[0]), task


def test_random_vectors_of_old_logs_are_those_of_equal_norm() -> None:
    trials = scored_trials(read_eval_log(str(OLD / "introspection.eval")).samples or [], "yes_shift")
    run = IntrospectionRun(trials)
    for shifts in (run.shifts, run.active_shifts):
        assert len(shifts) == len(trials)
        for shift, (_, score) in zip(shifts, trials, strict=True):
            written = score if shifts is run.shifts else score["active"]
            assert shift.random == {}
            assert shift.noticed_under_random_by_norm == written["random"] != {}
    populations = {excess.vectors: excess for excess in run.excesses}
    assert RANDOM not in populations
    assert populations[RANDOM_BY_NORM].dose_ratio == pytest.approx(0.76, abs=0.01)


def test_an_old_baseline_still_compares(capsys: pytest.CaptureFixture[str]) -> None:
    baseline = str(OLD / "baseline.json")
    assert cli.main(["compare", baseline, baseline, "--budget", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert printed == (OLD / "compare.txt").read_text(encoding="utf-8")


def test_the_kinds_of_old_answer_formats_are_those_of_the_data() -> None:
    assert {name: form.kind for name, form in data.answer_formats().items()} == old_logs.ANSWER_KINDS
    assert old_logs.answer_kind("0-1") == "0-1"


@pytest.mark.parametrize(
    ("name", "arm"),
    [
        ("sham", Arm("sham", 3)),
        ("sham 0:10", Arm("sham", 3)),
        ("concept", Arm("concept", 3)),
        ("concept active", Arm("concept", 3, steering="active")),
        ("random 2", Arm("random", 3, 2)),
        ("random 2 active", Arm("random", 3, 2, "active")),
        ("random at second", Arm("random", 3, place="second")),
        ("concept at low", Arm("concept", 3, place="low")),
        ("gaussian", Arm("gaussian", 3)),
        ("other (impact)", Arm("other", 3, matched="impact")),
        ("finetune", Arm("finetune", 3)),
        ("finetune, contrast -", Arm("finetune", 3, -1)),
        ("contrast +", Arm("contrast", 3, 1)),
        ("contrast -", Arm("contrast", 3, -1)),
    ],
)
def test_names_of_old_arms_are_taken_apart_here_alone(name: str, arm: Arm) -> None:
    assert old_logs.arm(name, 3) == arm
