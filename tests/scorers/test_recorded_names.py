"""Logs name a scorer such that Inspect finds it again, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import evaluate
from inspect_ai.log import EvalLog, read_eval_log

from introbench.report.log import log_table


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate(
        "introspection",
        tiny_folder,
        tmp_path_factory.mktemp("logs"),
        concepts=["cats", "bread"],
        documents=["info"],
        families=["introspection", "always_no"],
        formats=["yes-no"],
        random_vectors=1,
        strength=3,
        limit=8,
    )


def test_a_log_is_scored_again_from_any_folder_and_once_more(log: EvalLog, tmp_path: Path) -> None:
    """As `inspect score` does, in a process that has not loaded introbench."""
    code = (
        "import sys\n"
        "from inspect_ai._eval.score import resolve_scorers\n"
        "from inspect_ai import score\n"
        "from inspect_ai.log import read_eval_log, write_eval_log\n"
        "assert not any(name.startswith('introbench') for name in sys.modules)\n"
        "log = read_eval_log(sys.argv[1])\n"
        "for action in ('overwrite', 'append'):\n"
        "    log = score(log, resolve_scorers(log), action=action, display='none')\n"
        "    write_eval_log(log, f'{action}.eval')\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, log.location]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = ["introbench/yes_shift", "introbench/yes_shift1"]
    for count, action in enumerate(("overwrite", "append"), start=1):
        again = read_eval_log(str(tmp_path / f"{action}.eval"))
        assert [list(sample.scores or {}) for sample in again.samples or []] == [names[:count]] * 8
        assert {scorer.name for scorer in again.eval.scorers or []} == {names[0]}
        assert log_table(str(tmp_path / f"{action}.eval")) == log_table(log.location)
