"""State of a pytest run: values of options, and the folder of its evaluations."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from introbench.regression.options import EVAL_LOGS
from introbench.regression.run_state import is_worker, key_values, log_folder


def config(worker_folder: Path | None = None, **options: Any) -> Any:
    """A stand-in for pytest's configuration, of its main process or of a worker."""
    worker = {} if worker_folder is None else {"workerinput": {"introbench": str(worker_folder)}}
    return SimpleNamespace(stash=pytest.Stash(), getoption=options.get, **worker)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (None, {}),
        (["dtype=bfloat16"], {"dtype": "bfloat16"}),
        (["strength=3", "layers=1:3"], {"strength": 3, "layers": 63}),  # YAML's base 60, which `parse_layers` undoes
        (["concepts=cats,bread"], {"concepts": ["cats", "bread"]}),
        (["random-vectors=1"], {"random_vectors": 1}),
        (["parts=[a, b]", "system="], {"parts": ["a", "b"], "system": None}),
        (["where=a=b"], {"where": "a=b"}),
    ],
)
def test_values_are_read_as_inspect_reads_them(texts: list[str] | None, values: dict[str, Any]) -> None:
    assert key_values(config(arguments=texts), "arguments") == values


@pytest.mark.parametrize(
    ("text", "complaint"), [("dtype", "expected KEY=VALUE"), ("=3", "expected KEY=VALUE"), ("x=[", "is no YAML")]
)
def test_what_is_no_value_is_a_mistake_of_usage(text: str, complaint: str) -> None:
    with pytest.raises(pytest.UsageError, match=complaint):
        key_values(config(arguments=[text]), "arguments")


def test_every_run_has_a_folder_which_its_workers_share(tmp_path: Path) -> None:
    main, other = (config(**{EVAL_LOGS: tmp_path / "kept"}) for _ in range(2))
    assert log_folder(main) == log_folder(main) != log_folder(other)
    assert log_folder(main).parent == tmp_path / "kept"
    worker = config(worker_folder=log_folder(main))
    assert log_folder(worker) == log_folder(main)
    assert (is_worker(main), is_worker(worker)) == (False, True)
