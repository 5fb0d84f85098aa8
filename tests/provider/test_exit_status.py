"""What `inspect eval` ends with, and prints, where a model cannot be loaded."""

import json
import shutil
from pathlib import Path

import pytest
from inspect_processes import start_inspect

from introbench.errors import LONGEST


@pytest.mark.slow
def test_weights_of_another_shape_are_one_line_and_status_1(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 2 * config["intermediate_size"]}))
    process, _ = start_inspect(
        ["eval", "introbench/introspection", "--model", f"inject/{folder}", "--log-dir", str(tmp_path / "logs")],
        {"INTROBENCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "1000", "HF_HUB_OFFLINE": "1"},
        tmp_path / "printed",
    )
    process.join()
    printed = (tmp_path / "printed").read_text()
    assert process.exitcode == 1, printed
    refusal = printed.strip().splitlines()[-1]
    assert refusal.startswith(f"model inject/{folder}: cannot be loaded (")
    assert len(refusal) <= LONGEST
    assert "Traceback" not in printed
    assert not (tmp_path / "logs").exists() or not [*(tmp_path / "logs").iterdir()]
