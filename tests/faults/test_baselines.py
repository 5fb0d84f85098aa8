"""Baseline files whose JSON is damaged: each is compared, or refused in one line."""

import copy
import json
import random
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from damaged_json import damage

from introbench import cli
from introbench.errors import InputError
from introbench.regression.baseline import Record
from introbench.regression.read_baseline import read_records
from introbench.report.typed import fitting_together

OLD = Path(__file__).parents[1] / "old_logs" / "baseline.json"
TRIALS = 24
"""Of the baseline that is damaged, so that many can be tried."""


@cache
def baseline() -> dict[str, Any]:
    """An old baseline with the first of its trials."""
    values = json.loads(OLD.read_text(encoding="utf-8"))
    (evaluation,) = values["evaluations"]
    kept = list(evaluation["trials"])[:TRIALS]
    for part in ("trials", "questions"):
        evaluation[part] = {name: evaluation[part][name] for name in kept}
    sign(evaluation)
    return values


def sign(evaluation: dict[str, Any]) -> None:
    """Give an evaluation the digest that its values have."""
    given = {name: value for name, value in evaluation.items() if name != "digest"}
    evaluation["digest"] = Record(**given).digest


def damaged(draw: random.Random) -> bytes:
    """A baseline file with damaged values, half of them with the digest that belongs to these."""
    values = copy.deepcopy(baseline())
    for _ in range(draw.choice([1, 1, 2, 4])):
        damage(draw, draw.choice([values, *values["evaluations"]]) if values.get("evaluations") else values)
        if not isinstance(values.get("evaluations"), list) or not all(
            isinstance(evaluation, dict) and evaluation for evaluation in values["evaluations"]
        ):
            break
    else:
        for evaluation in values["evaluations"] if draw.random() < 0.7 else []:
            try:
                sign(evaluation)
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                break
    content = json.dumps(values).encode()
    return content[: draw.randrange(len(content))] if draw.random() < 0.05 else content


def test_damaged_baselines_are_compared_or_refused(
    border: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, path = tmp_path / "whole.json", tmp_path / "b.json"
    whole.write_text(json.dumps(baseline()), encoding="utf-8")
    for draw in border.cases(100, most=3000):
        path.write_bytes(damaged(draw))
        pair = draw.sample([str(whole), str(path)], 2)

        def compares(pair: list[str] = pair) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of numbers beyond all bounds
                status = cli.main(["compare", *pair])
            printed = capsys.readouterr()
            assert all(line.isprintable() for line in printed.out.splitlines())
            if status == 2:
                raise InputError(printed.err.removesuffix("\n"))

        border.tries(draw, compares)
    assert border.accepted
    assert border.refused


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    def refused(change: Any) -> str:
        values = copy.deepcopy(baseline())
        (evaluation,) = values["evaluations"]
        change(evaluation)
        (tmp_path / "b.json").write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(InputError) as error:
            read_records(tmp_path / "b.json")
        return str(error.value)

    question, concepts = next(iter(baseline()["evaluations"][0]["trials"].items()))
    values = next(iter(concepts))
    assert "'evaluation.model' is ['\\x1b[31m']" in refused(lambda e: e.update(model=["\x1b[31m"]))
    assert "not all the same numbers" in refused(lambda e: e["trials"][question][values].pop("shift"))
    assert "has no entry" in refused(lambda e: e["questions"].pop(question))
    assert "'evaluation.plan.families' is" in refused(lambda e: e["plan"].pop("families"))
    with pytest.raises(InputError, match=r"x: records do not fit together"), fitting_together("x"):
        raise KeyError("shift")
