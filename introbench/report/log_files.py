"""Where logs are, by Inspect's rules, and how they are opened: on this machine, or wherever fsspec reaches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlparse
from urllib.request import url2pathname

from introbench.errors import InputError, first_line, shown

LOG_DIR = "INSPECT_LOG_DIR"
"""The variable that says in which folder Inspect writes logs."""
_DEFAULT = "logs"
_FILE = "file://"


def default_folder() -> str:
    """The folder in which Inspect writes logs when it is told of no other.

    That is what `INSPECT_LOG_DIR` says, in the environment or in a file `.env` of this folder or one above it, relative
    to which it is meant then; `logs` without it.
    """
    of_environment = os.environ.get(LOG_DIR, "")
    from dotenv import dotenv_values, find_dotenv  # noqa: PLC0415 (not needed where a log is named)

    file = find_dotenv(usecwd=True)
    of_file = dotenv_values(file).get(LOG_DIR) if file else None
    if of_file and of_environment in ("", of_file):
        return of_file if is_remote(of_file) else str(Path(file).parent / of_file)
    return of_environment or _DEFAULT


def is_remote(location: str) -> bool:
    """Whether a location is a URL of anything but this machine's files."""
    return "://" in location and not location.startswith(_FILE)


def local(location: str) -> Path:
    """The path of a file or folder of this machine, which may be given as a `file://` URL."""
    return Path(url2pathname(urlparse(location).path) if location.startswith(_FILE) else location)


@contextmanager
def opened(location: str) -> Iterator[IO[bytes]]:
    """The bytes of a file.

    Args:
        location: A path, or a URL of any file system that fsspec knows.

    Raises:
        InputError: There is no such file, or it cannot be opened.
    """
    try:
        if is_remote(location):
            import fsspec  # noqa: PLC0415 (not needed for files of this machine)

            file: IO[bytes] = fsspec.open(location, "rb").open()
        else:
            file = local(location).open("rb")
    except Exception as error:  # every file system has errors of its own
        raise unreadable(location, error) from error
    with file:
        yield file


def unreadable(location: str, error: Exception) -> InputError:
    """What is said of a log or folder that cannot be read."""
    return InputError(
        f"log {shown(location)}: cannot be read ({type(error).__name__}: {first_line(error)}); expected a log of "
        f"Inspect's; correct the name, or run anew"
    )
