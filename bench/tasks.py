"""(h) every task with its defaults on the embedded model: what was expected before it ran, and what it took.

    python bench/tasks.py                     # all ten, about half an hour on two cores
    python bench/tasks.py probe calibrate     # some
    python bench/tasks.py --log-dir logs      # and keep the logs

Vectors and strengths are found anew for every task, as in a first run.
"""

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measure import Used, gemm_peak, load, show_peak, used_by

TASKS = tuple(sorted(path.stem for path in (Path(__file__).parent.parent / "evals").glob("[!_]*.py")))
PLANNED = re.compile(
    r"introbench: .*?: ([\d,]+) trials under (\d+) arms, ([\d,]+) tokens\s+through\s+the\s+model:\s+about\s+([\w ]+)"
)
"""The line in which a task says what it is going to compute."""
HEADER = "| task | trials x arms | tokens through the model | expected | took | CPU seconds | MiB |"


def row(task: str, used: Used) -> str:
    """A task's row of the table.

    Raises:
        ValueError: The task has not said what it is going to compute.
    """
    planned = PLANNED.search(used.printed)
    if planned is None:
        raise ValueError(f"{task}: no line that says what is going to be computed:\n{used.printed[-2000:]}")
    trials, arms, tokens, expected = planned.groups()
    took = f"{used.seconds / 60:.1f} min"
    cells = [f"`{task}`", f"{trials} x {arms}", tokens, expected.strip(), took, f"{used.cpu_seconds:.0f}"]
    return f"| {' | '.join(cells)} | {used.mebibytes:,.0f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a row as soon as its task is through."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--log-dir", type=Path, help="where to keep the logs; by default they are not kept")
    options = parser.parse_args(arguments)
    print(show_peak(gemm_peak()), load(), sep=" | ")
    print(HEADER, "| --- " * HEADER.count(" |") + "|", sep="\n", flush=True)
    for task in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            logs = options.log_dir or Path(folder) / "logs"
            command = ["inspect", "eval", f"evals/{task}.py", "--model", "inject/smollm2", "--log-dir", logs]
            environment = {
                "HF_HUB_OFFLINE": "1",
                "INSPECT_DISPLAY": "plain",
                "COLUMNS": "500",
                "INTROBENCH_CACHE": f"{folder}/cache",
                "PYTHONDONTWRITEBYTECODE": "",
            }
            print(row(task, used_by(command, environment=environment)), flush=True)


if __name__ == "__main__":
    main()
