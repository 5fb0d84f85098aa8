"""The scripts of a page are put together once, and kept where the user's other files are."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from introbench.page import scripts as module
from introbench.page.scripts import scripts


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows each time the scripts are put together."""
    calls: list[int] = []

    def bundle() -> str:
        calls.append(1)
        return "script('</script>')"

    monkeypatch.setattr(module, "require_vega", lambda: SimpleNamespace(javascript_bundle=bundle))
    return calls


def test_they_are_put_together_once_and_cannot_end_their_element(
    made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTROBENCH_CACHE", str(tmp_path / "cache"))
    first = scripts()
    assert first == scripts() == r"script('<\/script>')"
    assert len(made) == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".js"]


def test_a_cache_that_cannot_be_written_costs_time_only(
    made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTROBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert scripts() == scripts()
    assert len(made) == 2
