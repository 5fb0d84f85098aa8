"""The pictures of the documents are drawn by scripts that know the logs of today."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "tests/old_logs"


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_first_page_is_drawn_from_a_log(tmp_path: Path) -> None:
    script("docs/images/draw_result.py").main(str(LOGS / "introspection.eval"), tmp_path)
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_is_written_from_logs_of_all_tasks_that_it_speaks_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("docs/draw_gallery.py")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "PICTURES", tmp_path / "images/gallery")
    tasks = [*module.LOOK_AT]
    module.main([str(LOGS / f"{task}.eval") for task in tasks])
    text = (tmp_path / "gallery.md").read_text(encoding="utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == tasks
    for task, sentence in module.LOOK_AT.items():
        assert sentence in text
        assert list((tmp_path / "images/gallery").glob(f"{task}-*.svg")), task
