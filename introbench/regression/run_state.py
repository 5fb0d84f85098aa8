"""State of one pytest run, which the hooks of the plugin and its fixtures share."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from introbench.errors import InputError, shown
from introbench.regression.options import EVAL_LOGS

if TYPE_CHECKING:
    from introbench.regression.baseline import Record

NO_MODEL = "no --introbench-model: pass e.g. --introbench-model inject/smollm2"
"""Why tests of a model are skipped without one."""

NO_BASELINE = "no --introbench-baseline: pass the file that --introbench-save-baseline FILE wrote"
"""Why comparisons are skipped without a baseline file."""

BASELINE_RECORDS = pytest.StashKey["list[Record]"]()
"""The evaluations in the file after --introbench-baseline."""

TABLE_ROWS = pytest.StashKey[list[list[str]]]()
"""The rows that a test adds to the table at the end, each beginning with the model's name."""

LOG_FOLDER = pytest.StashKey[Path]()
"""The folder of the run's evaluations."""

KEEP_LOGS = pytest.StashKey[bool]()
"""Whether that folder is kept although --introbench-eval-logs was not passed."""

SAVED_MESSAGE = pytest.StashKey[str]()
"""What the summary says about the file after --introbench-save-baseline."""


def log_folder(config: pytest.Config) -> Path:
    """The folder of the run's evaluations; the main process creates it and passes it to the workers of pytest-xdist."""
    if LOG_FOLDER not in config.stash:
        of_main_process = getattr(config, "workerinput", {}).get("introbench")
        kept_in = config.getoption(EVAL_LOGS)
        if of_main_process:
            config.stash[LOG_FOLDER] = Path(of_main_process)
        elif kept_in:
            kept_in.mkdir(parents=True, exist_ok=True)
            # Every run has a folder of its own, since the model may have changed since an earlier run.
            config.stash[LOG_FOLDER] = Path(tempfile.mkdtemp(dir=kept_in, prefix="session-"))
        else:
            config.stash[LOG_FOLDER] = Path(tempfile.mkdtemp(prefix="introbench-"))
    return config.stash[LOG_FOLDER]


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def read_baseline(path: Path) -> "list[Record]":
    """The evaluations in a baseline file.

    Raises:
        pytest.UsageError: The file cannot be read.
    """
    from introbench.regression.read_baseline import read_records  # noqa: PLC0415 (costs seconds)

    try:
        return read_records(path)
    except InputError as error:
        raise pytest.UsageError(f"--introbench-baseline: {error}") from error


def key_values(config: pytest.Config, option: str) -> dict[str, Any]:
    """The values of a `KEY=VALUE` option, read as Inspect's command line does: as YAML, or as lists with commas.

    Args:
        config: pytest's configuration.
        option: Name of the option.

    Raises:
        pytest.UsageError: A value is not of this form.
    """
    texts = config.getoption(option) or []
    if not texts:
        return {}
    import yaml  # noqa: PLC0415 (not needed without arguments)

    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value_text = text.partition("=")
        if not equals or not key:
            raise pytest.UsageError(
                f"{shown(text)} after --introbench-M or --introbench-T: expected KEY=VALUE, such as dtype=bfloat16"
            )
        try:
            value = yaml.safe_load(value_text)
        except yaml.YAMLError as error:
            raise pytest.UsageError(
                f"{shown(text)} after --introbench-M or --introbench-T: the value is no YAML; quote it, or correct it"
            ) from error
        values[key.replace("-", "_")] = value.split(",") if isinstance(value, str) and "," in value else value
    return values
