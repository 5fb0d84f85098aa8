"""Where logs are, by Inspect's rules, and how they are opened."""

import os
from pathlib import Path

import fsspec
import pytest

from introbench.errors import InputError
from introbench.report.log_files import LOG_DIR, default_folder, opened


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which no variable says where logs are."""
    monkeypatch.delenv(LOG_DIR, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_logs_are_where_the_variable_says_or_in_logs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_folder() == "logs"
    monkeypatch.setenv(LOG_DIR, "s3://bucket/runs")
    assert default_folder() == "s3://bucket/runs"


def test_a_dotenv_file_is_read_as_inspect_reads_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / ".env").write_text(f"{LOG_DIR}=runs\n")
    assert default_folder() == str(here / "runs")  # relative to the file, not to the folder below it
    monkeypatch.setenv(LOG_DIR, "mine")
    assert default_folder() == "mine"
    (here / ".env").write_text(f"{LOG_DIR}=memory://runs\n")
    monkeypatch.delenv(LOG_DIR)
    assert default_folder() == "memory://runs"


def test_inspect_names_the_same_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai._util.dotenv import init_dotenv

    for of_environment, of_file in ((None, "runs"), ("mine", "runs"), ("runs", "runs"), (None, "/runs"), ("", "runs")):
        (here / ".env").write_text(f"{LOG_DIR}={of_file}\n")
        with monkeypatch.context() as patch:  # takes back what Inspect sets
            patch.setenv(LOG_DIR, of_environment or "")
            if of_environment is None:
                patch.delenv(LOG_DIR)
            ours = Path(default_folder()).absolute()
            init_dotenv()
            assert Path(os.environ[LOG_DIR]).absolute() == ours


def test_files_are_opened_by_path_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "a b.eval"
    path.write_bytes(b"text")
    fsspec.filesystem("memory").pipe_file("/opened/a.eval", b"text")
    for location in (str(path), path.as_uri(), f"file://{path}", "memory://opened/a.eval"):
        with opened(location) as file:
            assert file.read() == b"text"


@pytest.mark.parametrize("location", ["no.eval", "memory://opened/no.eval", "unknown://a.eval", "a\0b", "x" * 999])
def test_what_cannot_be_opened_is_named(location: str) -> None:
    refused = pytest.raises(InputError, match=r"^log '.*cannot be read \(\w+: .*expected a log of Inspect's")
    with refused, opened(location):
        pass
