"""The plugin's options: each has the prefix `--introbench-`, and a short name in runs of the shipped checks.

Projects have options of their own, and the plugin is loaded wherever introbench is installed. A short name such as
`--model` is therefore declared only where the shipped checks are asked for and the name is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from introbench.regression.budget import BUDGET, parse_budget

SHIPPED = "introbench.regression"
"""What `--pyargs` is given to run the shipped checks."""
MODEL, BASELINE, SAVE_BASELINE, BUDGET_OPTION, EVAL_LOGS, MODEL_ARGS, TASK_ARGS = (
    f"introbench_{name}"
    for name in ("model", "baseline", "save_baseline", "budget", "eval_logs", "model_args", "task_args")
)
"""By which names pytest's configuration holds the options."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: By which name pytest's configuration holds it.
        short: Its name in runs of the shipped checks.
        attributes: What argparse is told of it.
    """

    key: str
    short: str
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name in any run."""
        return f"--introbench-{self.short.lstrip('-')}"

    def is_in(self, arguments: Sequence[str]) -> bool:
        """Whether its short name is among the arguments of a command line."""
        if self.short.startswith("--"):
            return any(argument.partition("=")[0] == self.short for argument in arguments)
        return any(argument.startswith(self.short) for argument in arguments)


OPTIONS = (
    Option(
        MODEL,
        "--model",
        {"action": "append", "metavar": "inject/NAME", "help": "model under test; repeat it to test several"},
    ),
    Option(MODEL_ARGS, "-M", {"action": "append", "metavar": "KEY=VALUE", "help": "argument of the models"}),
    Option(
        TASK_ARGS,
        "-T",
        {
            "action": "append",
            "metavar": "KEY=VALUE",
            "help": f"argument of the introspection task in the shipped checks (pytest --pyargs {SHIPPED})",
        },
    ),
    Option(
        BASELINE,
        "--baseline",
        {"type": Path, "metavar": "FILE", "help": "compare with this baseline file, or Inspect log"},
    ),
    Option(
        SAVE_BASELINE,
        "--save-baseline",
        {"type": Path, "metavar": "FILE", "help": "write the compared evaluations to a new baseline file"},
    ),
    Option(
        BUDGET_OPTION,
        "--budget",
        {
            "type": parse_budget,
            "default": BUDGET,
            "metavar": "NATS",
            "help": f"largest change of a mean that the shipped gates tolerate, above 0; {BUDGET:g} by default",
        },
    ),
    Option(
        EVAL_LOGS,
        "--eval-logs",
        {"type": Path, "metavar": "DIR", "help": "keep the logs of evaluations in this folder"},
    ),
)


def add_options(parser: pytest.Parser, arguments: Sequence[str]) -> None:
    """Declare the options.

    Args:
        parser: pytest's.
        arguments: The command line.
    """
    about = f"regression tests of language models (introbench); --pyargs {SHIPPED} has them without introbench-"
    group = parser.getgroup("introbench", about)
    for option in OPTIONS:
        group.addoption(option.name, dest=option.key, **option.attributes)
    for option in _short(arguments):
        group.addoption(option.short, dest=option.key, **option.attributes)


def _short(arguments: Sequence[str]) -> Iterator[Option]:
    """The options whose short names a run of the shipped checks uses."""
    tested = (argument.partition("::")[0] for argument in arguments)
    if "--pyargs" in arguments and any(f"{name}.".startswith(f"{SHIPPED}.") for name in tested):
        yield from (option for option in OPTIONS if option.is_in(arguments))
