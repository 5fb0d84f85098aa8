"""The disk cache: the user's folder for what can be made again at any time, written atomically."""

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

from introbench.errors import InputError, first_line, shown
from introbench.progress import tell

WRITE_ERRORS = (OSError, SafetensorError)
"""What writing raises where a disk is full or a folder cannot be written to."""

_DIGESTS = "introbench-digests.json"

_HOST = re.sub(r"\W", "", socket.gethostname())[:40]

_OWNED = re.compile(r"-(\w*)@(\d+)-\w+$")
"""How the name of a folder ends in which a process is at work: its machine and its number."""

_SECONDS_OF_A_DAY = 24 * 3600

_told: set[tuple[Path, str]] = set()


def cache_dir() -> Path:
    """Where converted models and extracted vectors are kept; `INTROBENCH_CACHE` overrides it.

    Raises:
        InputError: `INTROBENCH_CACHE` begins with the home folder of a user whom this machine does not know.
    """
    chosen = os.environ.get("INTROBENCH_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("introbench"))
    except RuntimeError:
        raise InputError(f"INTROBENCH_CACHE={shown(chosen)}: nobody has that home folder; expected a path") from None


def exists(path: Path) -> bool:
    """Whether something is there that may be looked at; a name that is too long is that of nothing."""
    return os.path.exists(path)


def owned(prefix: str) -> str:
    """A prefix of the name of a temporary folder that says whose it is; see `remove_leftovers`."""
    return f"{prefix}-{_HOST}@{os.getpid()}-"


def remove_leftovers(folder: Path, prefix: str = ".") -> None:
    """Remove temporary folders of processes that were killed: of this machine's at once, of others' after a day.

    Args:
        folder: Where to look.
        prefix: How the names of temporary folders begin there.
    """
    try:
        entries = [entry for entry in folder.iterdir() if entry.name.startswith(prefix) and entry.is_dir()]
        for entry in entries:
            owner = _OWNED.search(entry.name)
            if owner and owner[1] == _HOST and os.name == "posix":
                is_left = not _is_running(int(owner[2]))
            else:
                is_left = time.time() - entry.stat().st_mtime > _SECONDS_OF_A_DAY
            if is_left:
                shutil.rmtree(entry, ignore_errors=True)
    except OSError:  # there is no such folder, or it may not be looked at
        return


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(target: Path, write: Callable[[Path], None]) -> Path | None:
    """Let `write` make a file or folder beside `target`, then move it into place in one step.

    A reader finds either all of it or nothing, whatever interrupts the writer.

    Args:
        target: Where the file or folder is to be.
        write: Makes it at the path that it is given.

    Returns:
        The target, or None, after a line to the user, where the folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=owned(f".{target.name}"), dir=target.parent))
    except OSError as error:
        _tell_once(target.parent, f"to the cache directory {target.parent}", error)
        return None
    try:
        made = workplace / target.name
        write(made)
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        try:
            made.replace(target)
        except OSError:
            if not target.exists():  # if it exists, another process was faster, with the same content
                raise
    except WRITE_ERRORS as error:
        _tell_once(target.parent, str(target), error)
        return None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target


def _tell_once(folder: Path, what: str, error: Exception) -> None:
    """Tell the user why something is not kept, once for each folder and reason."""
    why = getattr(error, "strerror", None) or first_line(error)
    if (folder, why) not in _told:
        _told.add((folder, why))
        tell(f"cannot write {what} ({why}); going on without it")


def write_with_digests(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make and fill a folder, and add digests of its files so that damage can be noticed."""
    write(folder)
    digests = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / _DIGESTS).write_text(json.dumps(digests, indent=1))


def is_intact(folder: Path) -> bool:
    """Whether a folder's files are those that `write_with_digests` wrote there."""
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        return bool(digests) and all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False
