"""The command `introbench`: the result table of a log."""

import argparse
import sys
from pathlib import Path

from inspect_ai.log import list_eval_logs, read_eval_log

from introbench.errors import InputError
from introbench.tables import log_table

TASKS = ("introspection", "logit_lens", "identification", "model_swap", "top_of_mind")
"""Tasks whose logs have a table."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="introbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="print the result table of a log")
    table.add_argument("log", nargs="?", default="logs", help="a log file, or a folder whose latest log is taken")
    options = parser.parse_args(arguments)
    try:
        location = find_log(options.log)
        print(log_table(location))
    except InputError as error:
        print(f"introbench: {error}", file=sys.stderr)
        return 2
    return 0 if read_eval_log(location, header_only=True).status == "success" else 1


def find_log(where: str) -> str:
    """The log file itself, or the latest introbench log in a folder.

    Raises:
        InputError: There is no such file, or no such log in the folder.
    """
    path = Path(where)
    if path.is_file():
        return where
    if path.is_dir():
        for info in list_eval_logs(where):
            if info.task.removeprefix("introbench/") in TASKS:
                return info.name
    raise InputError(f"log {where!r}: no introbench log there; expected a log file or a folder with one; run one first")


if __name__ == "__main__":
    sys.exit(main())
