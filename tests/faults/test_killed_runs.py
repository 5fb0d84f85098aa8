"""A run that is killed at any moment, and taken up by `inspect eval-retry`, gives the numbers of an undisturbed one."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import numbers
from inspect_ai.log import read_eval_log
from inspect_processes import start_inspect

pytestmark = pytest.mark.slow

RUN = [
    *("eval", "introbench/introspection", "--display", "none", "--ctl-server", "false", "--limit", "12"),
    *("-T", "concepts=cats,bread", "-T", "documents=none", "-T", "layers=1:3", "-T", "strength=3"),
    *("-T", "families=introspection,always_no", "-T", "formats=yes-no", "-T", "random_vectors=1"),
]

WAYS: tuple[list[str], ...] = ([], ["--no-log-realtime"], ["--log-buffer", "1"])
"""How the log is written: as Inspect does by default, as `make introspect` does, and sample by sample."""


def trials_of(path: str) -> dict[Any, Any]:
    """All numbers of a log's trials, as they are written, and those of the whole."""
    log = read_eval_log(path)
    assert log.status == "success", log.error
    trials = {
        (sample.id, sample.epoch): (repr(score.value), repr(sample.output.metadata["arms"]))
        for sample in log.samples or []
        for score in (sample.scores or {}).values()
    }
    return trials | {"all": repr(numbers(log))}


def test_a_killed_run_goes_on(border: Any, tiny_folder: Path, tmp_path: Path) -> None:
    environment = {
        "INTROBENCH_CACHE": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }

    def ends(arguments: list[str], folder: Path, after: float | None = None) -> float:
        """Run `inspect`, kill it after some seconds if it still runs, and return how long it took."""
        process, begun = start_inspect([*arguments, "--log-dir", str(folder)], environment, tmp_path / "printed")
        begun.poll(None)
        start = time.monotonic()
        process.join(after)
        if process.is_alive():
            process.kill()
        process.join()
        seconds = time.monotonic() - start
        assert after is not None or process.exitcode == 0, (tmp_path / "printed").read_text()
        return seconds

    run = [*RUN, "--model", f"inject/{tiny_folder}"]
    ends(run, tmp_path / "first")
    seconds = ends(run, tmp_path / "whole")
    (whole,) = (tmp_path / "whole").glob("*.eval")
    expected = trials_of(str(whole))
    assert len(expected) > 10

    ways_on: Counter[str] = Counter()
    for number, draw in enumerate(border.cases(2, most=50)):
        folder = tmp_path / f"killed-{number}"
        # Most of the time before goes into a start, in which there is nothing to lose.
        ends([*run, *draw.choice(WAYS)], folder, after=seconds * draw.uniform(0.4, 1.1))
        logs = [*folder.glob("*.eval")]
        if not logs:
            ways_on["started again, since no log had been begun"] += 1
            ends(run, folder)
        elif (status := read_eval_log(str(logs[0]), header_only=True).status) == "success":
            ways_on["was through"] += 1
        else:
            ways_on[f"taken up from a log that is {status}"] += 1
            ends(["eval-retry", str(logs[0]), "--display", "none", "--ctl-server", "false"], folder)
        last = max(folder.glob("*.eval"), key=os.path.getmtime)
        assert trials_of(str(last)) == expected
    print(dict(ways_on))
