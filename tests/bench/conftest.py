"""Tests of the benchmarks import them as they import each other: from their own folder."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
