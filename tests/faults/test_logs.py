"""Logs whose JSON or zip file is damaged: each has a table and a picture, or is refused in one line."""

import copy
import io
import json
import math
import random
import warnings
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import pytest
from damaged_json import damage

from introbench.errors import InputError
from introbench.report.find import find_log
from introbench.report.log import log_table, plot_log
from introbench.report.read_log import rules_of, status_of
from introbench.report.typed import fitting_together, header_of, sample_of

OLD_LOGS = Path(__file__).parents[1] / "old_logs"
SMALL = ("calibrate", "probe", "sweep", "top_of_mind", "identification")
MOST_SAMPLES = 12
"""Of a log that is damaged: enough for a result, and few enough for many cases."""


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of numbers beyond all bounds
        yield


@cache
def members(task: str) -> dict[str, Any]:
    """The values of an old log, by member of its zip file, without the events."""
    with ZipFile(OLD_LOGS / f"{task}.eval") as file:
        names = [name for name in file.namelist() if name.startswith("samples/")][:MOST_SAMPLES]
        values = {name: json.loads(file.read(name)) for name in ["header.json", *names]}
    kept = {"id", "epoch", "input", "metadata", "scores", "output"}
    return {
        name: value if name == "header.json" else {key: value[key] for key in kept} for name, value in values.items()
    }


def damaged_log(draw: random.Random, task: str) -> bytes:
    """A log with damaged values in its header or samples, and sometimes a damaged zip file."""
    values = copy.deepcopy(members(task))
    for _ in range(draw.choice([1, 1, 2, 4])):
        damage(draw, values[draw.choice(["header.json", *values])])
    stream = io.BytesIO()
    with warnings.catch_warnings(), ZipFile(stream, "w", ZIP_STORED) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, value in values.items():
            text = json.dumps(value)
            file.writestr(name, text[: draw.randrange(len(text))] if draw.random() < 0.01 else text)
        if draw.random() < 0.05:
            file.writestr(
                draw.choice(["samples/x.json", "header.json"]), draw.choice(["", "[]", "null", "{", "[" * 9999])
            )
    content = bytearray(stream.getvalue())
    way = draw.random()
    if way < 0.05:
        return bytes(content[: draw.randrange(len(content))])
    if way < 0.15:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def test_tables_of_damaged_logs(border: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    for draw in border.cases(40, most=3000):
        path.write_bytes(damaged_log(draw, task := draw.choice(SMALL)))

        def shows() -> None:
            log_table(str(path), full=True)
            status_of(str(path))

        border.tries(task, shows)
        border.tries(task, lambda: find_log(str(tmp_path)))
    assert border.accepted
    assert border.refused


def test_pictures_of_damaged_logs(border: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # takes most of the time, and sees no log
    path = tmp_path / "log.eval"
    for draw in border.cases(4, most=1000):
        path.write_bytes(damaged_log(draw, "sweep"))
        border.tries("sweep", lambda: plot_log(str(path), tmp_path / "picture.svg"))


def test_a_value_of_another_type_is_shown_with_its_place() -> None:
    sample = {"id": "a", "epoch": 1, "metadata": {"concept": ["\x1b[31m"]}}
    with pytest.raises(InputError, match=r"log 'x': 'sample.metadata.concept' is \['\\x1b\[31m'\]: .*valid string"):
        sample_of("x", sample)
    scored = {**sample, "metadata": {}, "scores": {"introbench/yes_shift": {"metadata": {"shift": "0.5"}}}}
    with pytest.raises(InputError, match=r"sample\.scores\.introbench/yes_shift\.shift' is '0\.5'"):
        sample_of("x", scored)
    with pytest.raises(InputError, match=r"'header\.eval' is"):
        header_of("x", {"status": "success"})
    metric = {"value": 1.0, "params": 0.5}
    results = {"scores": [{"metrics": {"verdict": metric}}]}
    with pytest.raises(InputError, match=r"'header\.results\.scores\.0\.metrics\.verdict\.params' is 0\.5"):
        header_of("x", {"eval": {"model": "m", "task": "t"}, "results": results})
    assert rules_of([("rules", {"value": math.nan}), ("verdict", {"value": 1.0, "params": {"rules": 2}})]) == 2


def test_records_that_do_not_fit_are_refused_and_other_refusals_stay() -> None:
    with pytest.raises(InputError, match=r"x: records do not fit together"), fitting_together("x"):
        raise KeyError("measured")
    with pytest.raises(InputError, match=r"^plain$"), fitting_together("x"):
        raise InputError("plain")
