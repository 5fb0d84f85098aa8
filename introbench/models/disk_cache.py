"""The user's cache directory: what can be rebuilt at any time, written atomically, checked on read."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from introbench.progress import tell


def cache_dir() -> Path:
    """Where converted models and extracted vectors are kept; `INTROBENCH_CACHE` overrides it."""
    return Path(os.environ.get("INTROBENCH_CACHE") or platformdirs.user_cache_dir("introbench"))


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(target: Path, write: Callable[[Path], None]) -> Path | None:
    """Let `write` make a file or folder beside `target`, then move it into place in one step.

    A reader sees the whole thing or nothing, whatever interrupts the writer.

    Returns:
        The target, or None with a notice when the directory cannot be written to.
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
            if not target.exists():  # otherwise another process was faster, with the same content
                raise
    except OSError as error:
        tell(f"cannot write {target} ({error.strerror}); going on without it")
        return None
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return target
