"""The disk cache: written at once or not at all, and checked by digests."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from introbench.errors import InputError
from introbench.models.disk_cache import (
    cache_dir,
    exists,
    is_intact,
    owned,
    remove_leftovers,
    sha256_of,
    write_atomically,
    write_with_digests,
)


def write_one(folder: Path) -> None:
    folder.mkdir()
    (folder / "weights").write_bytes(b"numbers")


def test_the_users_folder_can_be_chosen(own_cache: Path) -> None:
    assert cache_dir() == own_cache


def test_digests_of_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"numbers")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"numbers").hexdigest()


def test_a_folder_is_there_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    assert write_atomically(target, write_one) == target
    assert (target / "weights").read_bytes() == b"numbers"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_atomically(target, write_one)

    def fail(folder: Path) -> None:
        write_one(folder)
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        write_atomically(target, fail)
    assert (target / "weights").read_bytes() == b"numbers"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_one(target)
    (target / "more").write_bytes(b"old")
    write_atomically(target, write_one)
    assert [path.name for path in target.iterdir()] == ["weights"]


def test_a_disk_that_is_full_is_told(tmp_path: Path, told: list[str]) -> None:
    def fill(_folder: Path) -> None:
        raise OSError(28, "No space left on device")

    assert write_atomically(tmp_path / "target", fill) is None
    assert told == [f"cannot write {tmp_path / 'target'} (No space left on device); going on without it"]


def test_damage_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    assert not is_intact(folder)
    write_with_digests(folder, write_one)
    assert is_intact(folder)
    (folder / "weights").write_bytes(b"number")
    assert not is_intact(folder)
    (folder / "weights").unlink()
    assert not is_intact(folder)


def test_the_home_folder_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INTROBENCH_CACHE", "~/cache")
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("INTROBENCH_CACHE", "~nobody-has-this-name/cache")
    with pytest.raises(InputError, match="INTROBENCH_CACHE='~nobody-has-this-name/cache': nobody has that home folder"):
        cache_dir()


def test_a_name_that_no_disk_has_is_worked_around(tmp_path: Path, told: list[str]) -> None:
    target = tmp_path / ("x" * 300) / "target"
    assert not exists(target)
    assert write_atomically(target, write_one) is None
    assert len(told) == 1
    assert "File name too long" in told[0]


def test_a_full_disk_that_safetensors_reports_is_told_once(tmp_path: Path, told: list[str]) -> None:
    def fill(_folder: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    assert write_atomically(tmp_path / "first", fill) is None
    assert write_atomically(tmp_path / "second", fill) is None
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert not [*tmp_path.iterdir()]


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    ours = Path(tempfile.mkdtemp(prefix=owned(".model"), dir=tmp_path))
    dead, elsewhere, old = (
        tmp_path / ours.name.replace(f"@{os.getpid()}-", f"@{killed.pid}-"),
        tmp_path / ".model-another_machine@1-abc",
        tmp_path / ".model-0.1.2-abc",
    )
    for folder in (dead, elsewhere, old, tmp_path / "model"):
        write_one(folder)
    os.utime(old, (0, 0))
    os.utime(tmp_path / "model", (0, 0))
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ours.name, elsewhere.name, "model"}
    remove_leftovers(tmp_path / "nowhere")
