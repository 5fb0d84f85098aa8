"""Two checkouts side by side: with stand-ins for their programs, and in a short real run."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def header(low: float | None, high: float | None) -> str:
    """The header of a log with one scorer's metrics, and a line that a program printed before it."""
    metrics = {name: {"name": name, "value": value} for name, value in (("low", low), ("high", high))}
    return "a warning\n" + json.dumps({"results": {"scores": [{"metrics": metrics}]}})


def checkout(folder: Path, high: float) -> Path:
    """A folder whose programs do next to nothing."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (folder / "Makefile").write_text("introspect:\n\tmkdir -p $(LOGS) && echo '$(ARGS)' > $(LOGS)/run.eval\n")
    scripts = {"introbench": "exit 0", "python": "echo the first forward pass begins", "inspect": "cat header.txt"}
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (folder / "header.txt").write_text(header(0.5, high))
    return folder


def test_the_table_has_medians_and_ratios_of_new_to_old() -> None:
    from first_minutes import Minutes, table

    old = [Minutes(100, 40, 800, 20, 0.2), Minutes(120, 40, 800, 20, 0.2), Minutes(500, 40, 800, 20, 0.2)]
    lines = table(old, [Minutes(60, 4, 300, float("nan"), 0.1)])
    assert lines[2] == "| make introspect, s | 120 | 60 | 0.50 |"
    assert lines[4] == "| introbench table, MiB | 800 | 300 | 0.38 |"
    assert lines[5:] == [
        "| command to first forward pass, s | 20 | - | - |",
        "| half width of the excess, nats | 0.2 | 0.1 | 0.50 |",
    ]


def test_half_the_width_of_an_interval_is_read_from_a_log() -> None:
    from first_minutes import half_width

    assert half_width(header(0.5, 0.9)) == pytest.approx(0.2)
    assert half_width(header(None, 0.9)) != half_width(header(None, 0.9)), "NaN"


def test_both_checkouts_are_measured_in_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from first_minutes import main

    old, new = checkout(tmp_path / "old", high=0.9), checkout(tmp_path / "new", high=0.7)
    main([str(old), str(new), "--rounds", "2", "--arguments=-T concepts=cats"])
    printed = capsys.readouterr()
    rounds = [line.partition(":")[0] for line in printed.err.splitlines()]
    assert rounds == ["round 1, old", "round 1, new", "round 2, old", "round 2, new"]
    assert printed.out.splitlines()[-1] == "| half width of the excess, nats | 0.2 | 0.1 | 0.50 |"


def test_a_checkout_without_an_environment_or_a_forward_pass_is_refused(tmp_path: Path) -> None:
    from first_minutes import Checkout

    with pytest.raises(FileNotFoundError, match="expected a checkout in which `make setup` has been run"):
        Checkout(tmp_path)
    folder = checkout(tmp_path / "odd", high=0.9)
    (folder / ".venv/bin/python").write_text("#!/bin/sh\n")
    with pytest.raises(RuntimeError, match="the run ended without a forward pass"):
        Checkout(folder).first_minutes("", tmp_path / "logs")


@pytest.mark.slow
def test_a_short_run_of_this_checkout_beside_itself(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from first_minutes import main

    for name in ("old", "new"):
        folder = tmp_path / name
        folder.mkdir()
        for part in ("evals", "Makefile", "pyproject.toml", "constraints.txt"):
            (folder / part).symlink_to(ROOT / part)
        (folder / ".venv").symlink_to(Path(sys.prefix))
    short = f"--model inject/{tiny_folder} -T concepts=cats -T formats=yes-no -T documents=none --limit 2"
    main([str(tmp_path / "old"), str(tmp_path / "new"), "--rounds", "1", f"--arguments={short}"])
    ratios = [line.split("|")[4].strip() for line in capsys.readouterr().out.splitlines()[-5:]]
    assert all(0.05 < float(ratio) < 20 for ratio in ratios[:4])
