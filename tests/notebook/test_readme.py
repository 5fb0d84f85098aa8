"""The lines that README shows for a notebook are run as they stand there, on a tiny model and its log."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from helpers import evaluate

README = Path(__file__).parents[2] / "README.md"


def test_the_ten_lines_run(tiny_folder: Path, tmp_path: Path) -> None:
    section = README.read_text(encoding="utf-8").partition("## In a notebook")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 10
    evaluate(
        "introspection", tiny_folder, tmp_path, concepts=["cats", "bread"], documents=["info"], formats=["yes-no"],
        families=["introspection", "always_no"], strength=3, limit=20,
    )  # fmt: skip
    assert code.count('"smollm2"') == 1
    code = code.replace('"smollm2"', repr(str(tiny_folder))).replace('"logs"', repr(str(tmp_path)))
    code = code.replace("pd.DataFrame(answers)", "shown = pd.DataFrame(answers)")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["shown"].arm.tolist() == ["sham", "cats", "random cats-0 (impact)", "random cats-1 (impact)"]
    assert abs(names["shown"]["shift"][1]) > 1e-4
    assert set(names["trials"].arm) >= {"sham", "concept", "random 1"}
    assert isinstance(names["verdict"], pd.DataFrame)
    assert "always_no | info" in set(names["contrasts"].name)
