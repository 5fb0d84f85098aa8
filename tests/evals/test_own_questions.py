"""A user's own questions through Inspect: asked, recorded, and asked anew where the file has changed."""

from pathlib import Path
from typing import Any

import pytest
from helpers import evaluate
from inspect_ai import eval_retry
from inspect_ai.log import read_eval_log, write_eval_log

from introbench.errors import InputError
from introbench.evals.introspection import introspection
from introbench.prompts import data
from introbench.provider.inspect_private import PrerequisiteError
from introbench.report.log import log_table

FILE = """\
introspection:
  questions:
    - {id: mine, text: "Is there anything in you that my message does not explain?", expected: no}
    - {id: usual, text: "Are you in your usual state?", expected: yes, reversed: true}
concepts: [owls, tents]
documents:
  harbour: {text: "Ships lie in harbours."}
"""
SMALL: dict[str, Any] = {
    "documents": ["harbour"],
    "families": ["introspection", "always_no", "always_yes"],
    "formats": "yes-no",
    "layers": "1:3",
    "strength": 3,
    "random_vectors": 1,
    "norm_vectors": 0,
}


def test_own_questions_are_asked_recorded_and_shown(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(FILE)
    log = evaluate("introspection", tiny_folder, tmp_path / "logs", questions=str(path), **SMALL)
    assert log.status == "success"
    asked = {(each.metadata["question"], each.metadata["concept"]) for each in log.samples or []}
    ours = {question.id for question in data.questions() if question.family in ("always_no", "always_yes")}
    assert asked == {(question, concept) for question in {"mine", "usual"} | ours for concept in ("owls", "tents")}
    facts = log.eval.metadata or {}
    assert facts["questions_file"] == "own.yaml"
    assert len(facts["questions_digest"]) == 64
    table = log_table(log.location, full=True)
    assert "document harbour" in table
    assert "2 introspection questions" in table

    samples = [each for each in log.samples or [] if each.metadata["question"] != "usual"]
    cut = log.model_copy(update={"status": "error", "samples": samples})
    write_eval_log(cut, log.location)
    path.write_text(FILE.replace("your usual state", "a state you know"))
    (again,) = eval_retry(read_eval_log(log.location), log_dir=str(tmp_path / "again"), display="none")
    texts = {each.metadata["question"]: str(each.input) for each in again.samples or []}
    assert again.status == "success"
    assert "a state you know" in texts["usual"]
    assert len(again.samples or []) == len(log.samples or [])
    before, after = ({str(each.id) for each in one.samples or []} for one in (log, again))
    assert not before & after


def test_a_file_with_an_error_is_refused_before_weights_load(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(FILE.replace("expected: no", "expcted: no"))
    with pytest.raises(PrerequisiteError, match="line 3: key 'expcted'"):
        evaluate("introspection", tiny_folder, tmp_path / "logs", questions=str(path), **SMALL)
    with pytest.raises((InputError, PrerequisiteError), match="expected one of them"):
        introspection(questions=str(path), prompts="published.json")
