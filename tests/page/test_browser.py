"""The page in a real browser: every figure is drawn, nothing overflows, nothing is an error, and hovering works."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from introbench.page.page import page
from introbench.page.section import read_sections

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = [
    *(["playwright"] if importlib.util.find_spec("playwright") is None else []),
    *([] if BROWSER else ["chromium"]),
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"a browser test needs {' and '.join(MISSING)}"),
]

OLD = Path(__file__).parents[1] / "old_logs"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run"]
PATIENCE = 300_000
"""Milliseconds that a slow machine may take."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a log of every task."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(read_sections(sorted(map(str, OLD.glob("*.eval"))))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS, timeout=PATIENCE)
        yield started
        started.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole(browser: Any, file: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    context.set_default_timeout(PATIENCE)
    said: list[str] = []
    shown = context.new_page()
    shown.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.goto(file.as_uri())
    shown.wait_for_selector("body[data-drawn=yes]")
    charts = shown.locator(".chart")
    assert charts.count() == shown.locator(".chart svg").count() > 50
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    overflowing = (
        "[...document.querySelectorAll('.chart')].filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.id)"
    )
    assert shown.evaluate(overflowing) == []
    assert said == []
    point = shown.locator("[id$='-excess-0'] .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover(force=True)
    tooltip = shown.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert "concepts" in tooltip.inner_text()
    assert "estimate" in tooltip.inner_text()
    if folder := os.environ.get("INTROBENCH_SCREENSHOTS"):
        shown.screenshot(path=f"{folder}/report-{width}-{scheme}.png", full_page=True)
    context.close()
