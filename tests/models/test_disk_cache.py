"""The disk cache: written at once or not at all, and checked by digests."""

import hashlib
from pathlib import Path

import pytest

from introbench.models.disk_cache import cache_dir, is_intact, sha256_of, write_atomically, write_with_digests


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
