"""The command line answers without loading what it does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "inspect_ai", "numpy", "scipy")
OLD_LOG = str(Path(__file__).parent / "old_logs" / "sweep.eval")


def loaded(*commands: list[str]) -> tuple[str, set[str]]:
    """What commands print, one after the other in one process, and which heavy modules that has loaded."""
    code = (
        f"import sys\nfrom introbench.cli import main\nfor command in {list(commands)!r}:\n"
        "    try:\n        main(command)\n    except SystemExit:\n        pass\n"
        f"print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, _, names = done.stdout.rpartition("LOADED")
    return text, set(names.split())


def test_help_loads_nothing_heavy() -> None:
    text, heavy = loaded(*([command, "--help"] for command in ("table", "plot", "compare", "vectors")))
    for command in ("table", "plot", "compare", "vectors"):
        assert f"usage: introbench {command}" in text
    assert heavy == set()


def test_tables_pictures_and_comparisons_of_logs_load_no_torch(tmp_path: Path) -> None:
    baseline = OLD_LOG.replace("sweep.eval", "baseline.json")
    picture = tmp_path / "x.svg"
    text, heavy = loaded(
        ["table", OLD_LOG, "--full"], ["plot", OLD_LOG, "--out", str(picture)], ["compare", baseline, baseline]
    )
    assert "Document info: every cell" in text
    assert picture.stat().st_size
    assert "verdict: no effect, as before" in text
    assert not heavy & {"torch", "transformers"}


def test_a_dtype_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from introbench.cli import main

    with pytest.raises(SystemExit):
        main(["vectors", "folder", "--dtype", "float8"])
    assert "invalid choice: 'float8' (choose from 'float32', 'bfloat16', 'float16', 'auto')" in capsys.readouterr().err
