"""The first minutes with introbench: an old checkout beside a new one, in turns.

    python bench/first_minutes.py OLD NEW                                                 # the default run, twice
    python bench/first_minutes.py OLD NEW --rounds 1 --arguments='-T concepts=cats --limit 4'    # a shortened form

OLD and NEW are folders of checkouts in which `make setup` has been run. In each round the model is converted and
Python's modules are compiled before anything is timed; vectors and doses are not kept. Prints, for each, the seconds of
`make introspect`, the seconds and memory of `introbench table` on its log, the seconds from the command to the first
forward pass of the model, and half the width of the interval of the excess; and the ratios of new to old.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from measure import Used, gemm_peak, load, show_peak, used_by
from until_first_pass import ARRIVED

FIRST_PASS = Path(__file__).parent / "until_first_pass.py"


@dataclass(frozen=True)
class Minutes:
    """What the first minutes took in one round.

    Attributes:
        introspect: Seconds of `make introspect`.
        table: Seconds of `introbench table`.
        table_mebibytes: Peak memory of it.
        first_pass: Seconds from the command to the model's first forward pass.
        half_width: Half the width of the excess's interval, in nats; NaN if the run has none.
    """

    introspect: float
    table: float
    table_mebibytes: float
    first_pass: float
    half_width: float


CALLED = {
    "introspect": "make introspect, s",
    "table": "introbench table, s",
    "table_mebibytes": "introbench table, MiB",
    "first_pass": "command to first forward pass, s",
    "half_width": "half width of the excess, nats",
}
"""What the measured numbers are called, by field of `Minutes`."""


@dataclass(frozen=True)
class Checkout:
    """A checkout that has been set up.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder without an environment.

        Raises:
            FileNotFoundError: `make setup` has not been run there.
        """
        if not self.program("python").exists():
            raise FileNotFoundError(f"{self.folder}: no .venv; expected a checkout in which `make setup` has been run")

    def program(self, name: str) -> Path:
        """A program of the checkout's environment."""
        return self.folder / ".venv" / "bin" / name

    def used_by(self, cache: Path, *command: str | Path) -> Used:
        """What a command takes that is run in the checkout.

        Args:
            cache: Where the model and its vectors are kept.
            command: The program and its arguments.
        """
        environment = {"HF_HUB_OFFLINE": "1", "INSPECT_DISPLAY": "plain", "INTROBENCH_CACHE": str(cache)}
        # A user's modules are compiled once; where that is turned off, every start would take ten seconds longer.
        return used_by(command, self.folder, environment | {"PYTHONDONTWRITEBYTECODE": ""})

    def first_minutes(self, arguments: str, logs: Path) -> Minutes:
        """Measure one round.

        Args:
            arguments: Further arguments of `inspect eval`.
            logs: An empty folder for the log.
        """
        options = ["--log-dir", str(logs / "none"), "--model", "inject/smollm2", *arguments.split()]
        used_by = partial(self.used_by, logs / "cache")
        first_pass = (self.program("python"), FIRST_PASS, "eval", "evals/introspection.py", *options)
        used_by(*first_pass)
        begins = used_by(*first_pass)
        introspect = used_by("make", "introspect", f"LOGS={logs / 'run'}", f"ARGS={arguments}")
        (log,) = (logs / "run").rglob("*.eval")
        table = used_by(self.program("introbench"), "table", log)
        header = used_by(self.program("inspect"), "log", "dump", "--header-only", log).printed
        if ARRIVED not in begins.printed:
            raise RuntimeError(f"{self.folder}: the run ended without a forward pass")
        return Minutes(introspect.seconds, table.seconds, table.mebibytes, begins.seconds, half_width(header))


def half_width(header: str) -> float:
    """Half the width of the excess's interval, from the header of a log as `inspect log dump` prints it."""
    scores = json.loads(header[header.index("{") :])["results"]["scores"]
    metrics = {name: metric["value"] for score in scores for name, metric in score["metrics"].items()}
    low, high = metrics.get("low"), metrics.get("high")
    return math.nan if low is None or high is None else (high - low) / 2


def table(old: Sequence[Minutes], new: Sequence[Minutes]) -> list[str]:
    """The medians of all rounds, and the ratios of new to old, as lines of a Markdown table."""
    lines = ["| | old | new | new / old |", "| --- | --- | --- | --- |"]
    for field in fields(Minutes):
        before, now = (statistics.median(getattr(minutes, field.name) for minutes in side) for side in (old, new))
        numbers = [f"{before:.3g}", f"{now:.3g}", f"{now / before:.2f}" if before else "nan"]
        lines.append(f"| {' | '.join([CALLED[field.name], *('-' if n == 'nan' else n for n in numbers)])} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--arguments", default="", help="further arguments of inspect eval, for both")
    options = parser.parse_args(arguments)
    sides = [Checkout(folder.resolve()) for folder in (options.old, options.new)]
    measured: list[list[Minutes]] = [[], []]
    print(show_peak(gemm_peak()), load(), sep=" | ", flush=True)
    for number in range(options.rounds):
        for side, of_side in zip(sides, measured, strict=True):
            with tempfile.TemporaryDirectory() as logs:
                of_side.append(side.first_minutes(options.arguments, Path(logs)))
            print(f"round {number + 1}, {side.folder.name}: {of_side[-1]} | {load()}", file=sys.stderr, flush=True)
    print("\n".join(table(*measured)))


if __name__ == "__main__":
    main()
