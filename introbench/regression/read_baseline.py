"""Reads baseline files: what they hold has the types that it was written with, and fits together."""

import json
from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log
from pydantic_core import SchemaValidator

from introbench.errors import InputError, shown
from introbench.regression.baseline import FORMAT, Record
from introbench.report.log_files import is_remote, local, opened
from introbench.report.typed import (
    ANY,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    TRUTH,
    by_name,
    checked,
    fitting_together,
    list_of,
    record,
)

_AS_WRITTEN = "expected the file as it was written; make it anew"
_QUESTION = record({**dict.fromkeys(("document", "family", "question", "format", "text"), TEXT), "reversed": TRUTH}, {})
_RECORD = record(
    {
        **dict.fromkeys(("task", "task_version", "model", "revision", "made", "verdict", "digest"), TEXT),
        **dict.fromkeys(("arguments", "versions", "settings"), by_name(ANY)),
        "plan": record({"documents": TEXTS, "families": TEXTS}, {"margin": NUMBER}),
        "questions": by_name(_QUESTION),
        "trials": by_name(by_name(by_name(NUMBER))),
    },
    {},
)
_EVALUATION = SchemaValidator(_RECORD)
_FILE = SchemaValidator(record({"introbench baseline": INTEGER, "evaluations": list_of(by_name(ANY))}, {}))


def _file_of(what: str, values: object) -> dict[str, Any]:
    """What a baseline file holds: its format, and evaluations whose values are not looked at yet.

    Args:
        what: The file, in a message.
        values: Its JSON.

    Raises:
        InputError: A value has another type; the error says where it stands.
    """
    return checked(_FILE, values, what, "file")


def _evaluation_of(what: str, values: object) -> dict[str, Any]:
    """What a baseline file holds of one evaluation.

    Args:
        what: The file, in a message.
        values: JSON values of the evaluation.

    Raises:
        InputError: A value has another type, a trial lacks its question, or trials have not all the same numbers.
    """
    evaluation = checked(_EVALUATION, values, what, "evaluation")
    trials, questions = evaluation["trials"], evaluation["questions"]
    numbers = [set(values) for concepts in trials.values() for values in concepts.values()]
    if not numbers or not numbers[0] or any(names != numbers[0] for names in numbers):
        raise InputError(
            f"{what}: trials have not all the same numbers; expected the file as it was written; make it anew"
        )
    if lacking := [name for name in trials if name not in questions or not trials[name]]:
        raise InputError(f"{what}: question {shown(lacking[0])} has no entry or no trials; {_AS_WRITTEN}")
    return evaluation


def read_records(path: str | Path) -> list[Record]:
    """The evaluations in a baseline file, or the one of an Inspect log.

    Raises:
        InputError: There is no such file, or it is neither of the two.
    """
    what = f"baseline {shown(str(path))}"
    location = str(path)
    if not is_remote(location) and not _is_file(local(location)):
        raise InputError(
            f"{what}: no such file; expected one that --introbench-save-baseline wrote, or an Inspect log; correct it"
        )
    try:
        with opened(location) as file:
            values = {} if Path(location).suffix == ".eval" else json.loads(file.read())
        if Path(location).suffix == ".eval" or (isinstance(values, dict) and "eval" in values):
            records = [Record.of(read_eval_log(location, resolve_attachments="core"))]
            for record in records:
                _evaluation_of(what, record.to_json())
            return records
    except InputError:
        raise
    except Exception as error:  # damaged files have errors of JSON, of the zip format, and of Inspect's types
        raise InputError(
            f"{what}: cannot be read ({type(error).__name__}); expected a file that --introbench-save-baseline wrote, "
            f"or an Inspect log; make it anew"
        ) from error
    if not isinstance(values, dict) or values.get("introbench baseline") != FORMAT:
        raise InputError(
            f"{what}: no baseline of format {FORMAT}; expected one that --introbench-save-baseline wrote; make it anew"
        )
    evaluations = [_evaluation_of(what, evaluation) for evaluation in _file_of(what, values)["evaluations"]]
    try:
        with fitting_together(what):
            return [Record.from_json(evaluation) for evaluation in evaluations]
    except InputError as error:
        raise InputError(f"{what}: {str(error).removeprefix(f'{what}: ')}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
