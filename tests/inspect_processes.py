"""Inspect's command in processes of its own, which start fast: they are copies of one that has imported everything."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOADED = ("inspect_ai._cli.main", "introbench.evals.introspection", "transformers.models.llama.modeling_llama")


def start_inspect(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path
) -> tuple[BaseProcess, Connection]:
    """Start `inspect` with some arguments.

    Args:
        arguments: Those of the command line.
        environment: Variables to set.
        output: The file that gets what is printed.

    Returns:
        The process, and a connection that is closed on the other side as soon as the command begins.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_inspect, args=(list(arguments), dict(environment), str(output), theirs))
    process.start()
    theirs.close()
    return process, ours


def _inspect(arguments: list[str], environment: dict[str, str], output: str, begun: Connection) -> None:
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.argv = ["inspect", *arguments]
    from inspect_ai._cli.main import main

    begun.close()
    try:
        main()
    except Exception as error:  # shown as the interpreter shows what nothing catches
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)
