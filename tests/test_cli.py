"""The command line answers without loading what it does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "inspect_ai", "numpy", "scipy")
OLD_LOG = str(Path(__file__).parent / "old_logs" / "sweep.eval")


def loaded(*arguments: str) -> tuple[str, set[str]]:
    """What a command prints, and which heavy modules it has loaded."""
    code = (
        "import sys\nfrom introbench.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    text, _, names = done.stdout.rpartition("LOADED")
    return text, set(names.split())


@pytest.mark.parametrize("command", ["table", "plot", "compare", "vectors"])
def test_help_loads_nothing_heavy(command: str) -> None:
    text, heavy = loaded(command, "--help")
    assert text.startswith(f"usage: introbench {command}")
    assert heavy == set()


def test_tables_pictures_and_comparisons_of_logs_load_no_torch(tmp_path: Path) -> None:
    for arguments in (["table", OLD_LOG], ["plot", OLD_LOG, "--out", str(tmp_path / "x.svg")]):
        text, heavy = loaded(*arguments)
        assert text
        assert not heavy & {"torch", "transformers"}
    baseline = OLD_LOG.replace("sweep.eval", "baseline.json")
    assert not loaded("compare", baseline, baseline)[1] & {"torch", "transformers"}


def test_a_dtype_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from introbench.cli import main

    with pytest.raises(SystemExit):
        main(["vectors", "folder", "--dtype", "float8"])
    assert "invalid choice: 'float8' (choose from 'float32', 'bfloat16', 'float16', 'auto')" in capsys.readouterr().err
