"""The log that a command is about."""

import os
import shutil
from pathlib import Path

import fsspec
import pytest

from introbench import cli
from introbench.errors import InputError
from introbench.report.find import find_log

OLD_LOGS = Path(__file__).parents[1] / "old_logs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an older log of a sweep and a newer one of the introspection task."""
    for number, task in enumerate(("sweep", "introspection")):
        target = tmp_path / f"2026-01-0{number + 1}T00-00-00+00-00_{task}_{task}.eval"
        shutil.copy(OLD_LOGS / f"{task}.eval", target)
        os.utime(target, (1000 + number, 1000 + number))
    return tmp_path


def test_a_file_is_the_log_itself() -> None:
    file = str(OLD_LOGS / "sweep.eval")
    assert find_log(file) == file


def test_of_a_folder_it_is_the_latest_log_of_a_task(folder: Path) -> None:
    assert find_log(str(folder)).endswith("_introspection_introspection.eval")
    assert find_log(str(folder), ("sweep",)).endswith("_sweep_sweep.eval")


def test_a_renamed_log_is_known_by_its_header_and_other_files_are_none(folder: Path) -> None:
    renamed = folder / "below" / "mine.eval"
    renamed.parent.mkdir()
    shutil.copy(OLD_LOGS / "probe.eval", renamed)
    os.utime(renamed, (2000, 2000))
    for name in ("no.eval", "2026-01-09T00-00-00+00-00_introspection_id.txt", "introspection.json"):
        (folder / name).write_text("{}")
    assert find_log(str(folder)) == str(renamed)
    assert find_log(str(folder), ("introspection",)).endswith("_introspection_introspection.eval")


def test_without_a_log_it_is_refused(folder: Path) -> None:
    for where, tasks in ((str(folder), ("probe",)), (str(folder / "nothing"), ("sweep",))):
        with pytest.raises(InputError, match="no introbench log there; expected a log file or a folder with one"):
            find_log(where, tasks)


def test_without_a_place_it_is_where_inspect_writes_logs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = folder / "work" / "logs"
    older.mkdir(parents=True)
    shutil.copy(OLD_LOGS / "probe.eval", older / "2026-01-03T00-00-00+00-00_probe_probe.eval")
    monkeypatch.chdir(older.parent)
    monkeypatch.delenv("INSPECT_LOG_DIR", raising=False)
    assert find_log(None).endswith("_probe_probe.eval")
    for named in (str(folder / "new"), (folder / "new").as_uri()):
        monkeypatch.setenv("INSPECT_LOG_DIR", named)
        with pytest.raises(InputError, match="INSPECT_LOG_DIR"):
            find_log(None)
    shutil.copytree(folder, folder / "new", ignore=lambda path, names: {"new", "work"})
    assert find_log(None).endswith("_introspection_introspection.eval")


def test_logs_of_other_file_systems_are_found_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = fsspec.filesystem("memory")
    for number, path in enumerate(sorted(folder.glob("*.eval"))):
        memory.pipe_file(f"/found/{path.name}", path.read_bytes())
        memory.store[f"/found/{path.name}"].modified = memory.store[f"/found/{path.name}"].modified.replace(
            year=2020 + number
        )
    assert find_log("memory://found").endswith("_introspection_introspection.eval")
    sweep = find_log("memory://found", ("sweep",))
    assert sweep.endswith("_sweep_sweep.eval")
    assert find_log(sweep) == sweep
    assert find_log(folder.as_uri()) == find_log(str(folder))
    latest = folder / find_log("memory://found").rpartition("/")[2]
    shown = []
    for place in ("memory://found", str(latest), latest.as_uri()):
        assert cli.main(["table", place]) == 0
        shown.append([line for line in capsys.readouterr().out.splitlines() if not line.startswith(("Log", "log"))])
    assert shown[0] == shown[1] == shown[2]
    with pytest.raises(InputError, match="no introbench log there"):
        find_log("memory://nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        find_log("unknown://found")
