"""What the pytest plugin prints at the end of a session."""

from types import SimpleNamespace

import pytest

from introbench.regression.paired import HEADERS
from introbench.regression.plugin import pytest_terminal_summary
from introbench.regression.run_state import BASELINE_RECORDS, SAVED_MESSAGE

HOSTILE = "a\x1b[31m\u202eb"


def test_names_that_a_terminal_would_obey_are_escaped() -> None:
    stash = pytest.Stash()
    stash[BASELINE_RECORDS] = [SimpleNamespace(model=HOSTILE, made="2026-01-01T00:00:00")]  # type: ignore[list-item]
    stash[SAVED_MESSAGE] = f"baseline {HOSTILE}: written"
    row = [HOSTILE if header in ("metric", "document") else "" for header in HEADERS]
    lines: list[str] = []
    pytest_terminal_summary(
        SimpleNamespace(
            stats={"passed": [SimpleNamespace(introbench_rows=[[HOSTILE, *row]])]},
            section=lines.append,
            write_line=lines.append,
        ),
        SimpleNamespace(stash=stash, get_verbosity=lambda: 0),  # type: ignore[arg-type]
    )
    printed = "\n".join(lines)
    assert all(line.isprintable() for line in printed.split("\n"))
    assert printed.count(r"a\x1b[31m\u202eb") == 5
