"""A task on a vLLM server as a user runs it: the numbers of the engine in this process, also when the server dies."""

from pathlib import Path

import psutil
import pytest
from helpers import numbers
from inspect_ai.log import EvalLog, read_eval_log
from inspect_processes import start_inspect

from introbench.cli import main as introbench_command

pytestmark = pytest.mark.slow

RUN = [
    *("eval", "introbench/introspection", "--model", "inject/smollm2", "--display", "none", "--ctl-server", "false"),
    *(
        "-T",
        "concepts=cats,bread",
        "-T",
        "documents=none",
        "-T",
        "families=introspection,always_no",
        "--no-log-realtime",
    ),
    *("-T", "formats=yes-no", "-T", "strength=8", "-T", "random_vectors=1", "--limit", "12"),
]
ON_SERVER = ["-M", "engine=vllm", "-M", "dtype=float32", "-M", "vllm={max-model-len: 4096}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(arguments: list[str], folder: Path, logs: str, kill_after: int = 0) -> EvalLog:
    """Run `inspect`, and kill the server once it has answered so many requests.

    Returns:
        The newest log in the folder.
    """
    temporary = folder / f"{logs}-tmp"
    temporary.mkdir(exist_ok=True)
    environment = {"HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary), "XDG_DATA_HOME": str(folder / "data")}
    process, _ = start_inspect([*arguments, "--log-dir", str(folder / logs)], environment, folder / f"{logs}.txt")
    while kill_after and process.is_alive():
        for log in temporary.glob("introbench-vllm-*.log"):
            if log.read_text(errors="replace").count("POST /v1/completions") >= kill_after:
                for child in psutil.Process(process.pid).children(recursive=True):
                    if " serve " in (command := " ".join(child.cmdline())) and "keeper.py" not in command:
                        child.kill()
                kill_after = 0
        process.join(0.2)
    process.join()
    assert process.exitcode == 0, (folder / f"{logs}.txt").read_text()
    return read_eval_log(str(max((folder / logs).glob("*.eval"), key=lambda path: path.stat().st_mtime)))


def assert_same(one: EvalLog, other: EvalLog, tolerance: float) -> None:
    """All numbers of two runs are the same; both are through."""
    assert one.status == other.status == "success"
    first, second = numbers(one), numbers(other)
    assert first.keys() == second.keys()
    assert first == pytest.approx(second, abs=tolerance, nan_ok=True)


def test_a_run_on_a_server_has_the_numbers_of_a_run_in_this_process(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = run(RUN, folder, "here"), run([*RUN, *ON_SERVER], folder, "there")
    assert_same(here, there, 1e-3)
    facts = next(sample.output.metadata["model"] for sample in there.samples or [] if "model" in sample.output.metadata)
    assert facts["device"] == "vLLM"
    assert "vLLM 0" in facts["path"]
    introbench_command(["compare", here.location, there.location, "--budget", "0.001"])
    rows = [
        row for row in capsys.readouterr().out.splitlines() if row.startswith(("shift  ", "random  ", "log_odds  "))
    ]
    compared = [row for row in rows if "no pairs" not in row]  # the first trials are of introspection alone
    assert {row.split()[0] for row in compared} >= {"shift", "log_odds"}
    assert all("within 0.001" in row for row in compared), rows


def test_a_run_whose_server_dies_is_taken_up(folder: Path) -> None:
    broken = run([*RUN, *ON_SERVER], folder, "killed", kill_after=250)
    assert broken.status == "error"
    assert "does not answer" in str(broken.error)
    again = run(["eval-retry", str(broken.location), "--display", "none", "--ctl-server", "false"], folder, "killed")
    assert_same(read_eval_log(str(next((folder / "there").glob("*.eval")))), again, 1e-4)
