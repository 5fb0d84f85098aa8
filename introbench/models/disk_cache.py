"""The disk cache: the user's folder for what can be made again at any time, written atomically."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from introbench.progress import tell

_DIGESTS = "introbench-digests.json"


def cache_dir() -> Path:
    """Where converted models and extracted vectors are kept; `INTROBENCH_CACHE` overrides it."""
    return Path(os.environ.get("INTROBENCH_CACHE") or platformdirs.user_cache_dir("introbench"))


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
        workplace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        tell(f"cannot write to the cache directory {target.parent} ({error.strerror}); going on without it")
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
    except OSError as error:
        tell(f"cannot write {target} ({error.strerror}); going on without it")
        return None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target


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
