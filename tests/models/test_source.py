"""Names of fine-tunes: subfolders and revisions, and folders whose names look like them."""

from pathlib import Path
from typing import Any

import pytest

from introbench.errors import InputError
from introbench.models import source
from introbench.models.source import Source, source_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("who/what", Source("who/what")),
        ("who/what@main", Source("who/what", "main")),
        ("who/what@refs/pr/3", Source("who/what", "refs/pr/3")),
    ],
)
def test_ids_may_have_revisions(name: str, expected: Source) -> None:
    assert source_of(name) == expected


@pytest.mark.parametrize(("name", "revision"), [("who/what:last/step-9", None), ("who/what:last/step-9@v1", "v1")])
def test_subfolders_of_the_hub_are_fetched(
    name: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fetch(place: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((place, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(source, "snapshot_download", fetch)
    assert source_of(name) == Source(str(tmp_path / "last" / "step-9"))
    assert asked == [("who/what", revision, ["last/step-9/*"])]


def test_what_cannot_be_fetched_is_refused_in_one_line() -> None:
    for name in ("no-such/model:step-9", "no such id:step-9@main"):
        with pytest.raises(InputError, match="cannot be found or read"):
            source_of(name)


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for name in ("a:b@c", "plain"):
        (tmp_path / name / "step-9").mkdir(parents=True)
        assert source_of(str(tmp_path / name)) == Source(str(tmp_path / name))
    assert source_of(f"{tmp_path}/plain:step-9") == Source(str(tmp_path / "plain" / "step-9"))
    with pytest.raises(InputError, match="a folder has no revisions; expected none; drop @main"):
        source_of(f"{tmp_path}/plain:step-9@main")


@pytest.mark.parametrize("name", ["@main", "who/what@", "who/what:", ":step-9", "who/what:@main"])
def test_missing_parts_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected ID, ID:SUBFOLDER, ID@REVISION or ID:SUBFOLDER@REVISION"):
        source_of(name)
