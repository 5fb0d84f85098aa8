"""Steering vectors as files: every format is read by one function, and found in folders by its ending."""

from collections.abc import Callable, Sequence
from pathlib import Path

from introbench.errors import InputError, shown
from introbench.progress import tell
from introbench.steering.vectors.control_file import ControlFile, read_control_file
from introbench.steering.vectors.tensor_files import read_npy, read_pt, read_safetensors

READERS: dict[str, Callable[..., ControlFile]] = {
    ".gguf": read_control_file,
    ".safetensors": read_safetensors,
    ".npy": read_npy,
    ".pt": read_pt,
}
"""What reads a file of each ending."""

_ENDINGS = ", ".join(f"*{ending}" for ending in READERS)


def read_vector_file(path: Path, *, n_layers: int, hidden: int) -> ControlFile:
    """Read directions that fit a model, by their width and their layers; their norms are as the file has them.

    Args:
        path: The file; its ending says its format.
        n_layers: Number of the model's decoder blocks.
        hidden: Width of its residual stream.

    Raises:
        NoControlFileError: The file is a file of that format of something else, such as a model.
        InputError: There is no such file, or it is damaged, would have to be unpickled, or does not fit the model.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        problem = "is no vector's file" if path.exists() else "no such file"
        raise InputError(f"{path}: {problem}; expected one of {_ENDINGS}; correct the path")
    return reader(path, n_layers=n_layers, hidden=hidden)


def vector_files(place: Path) -> dict[str, Path]:
    """The vectors' files of a folder by name, sorted: `cats` for `cats.gguf` or `cats.npy`; or a single file.

    Hidden files, such as the `._cats.gguf` that macOS writes beside `cats.gguf`, and whatever else is of another format
    are passed over, which is told to the user.

    Raises:
        InputError: There is no such folder or file, or it has no vector's file, or two of one name.
    """
    if place.is_file() and place.suffix.lower() in READERS:
        return {place.stem: place}
    if not place.is_dir():
        raise InputError(f"{place}: no such folder; expected one with vectors' files ({_ENDINGS}); correct the path")
    try:
        paths = sorted(place.iterdir())
    except OSError as error:
        raise InputError(f"{place}: cannot be read ({error.strerror}); expected a folder; correct its rights") from None
    files: dict[str, Path] = {}
    others = []
    for path in paths:
        if path.name.startswith(".") or path.suffix.lower() not in READERS or not path.is_file():
            others.append(path.name)
        elif path.stem in files:
            raise InputError(
                f"{place}: {path.name} and {files[path.stem].name} are both named {shown(path.stem)}; expected one "
                f"file a vector; rename one"
            )
        else:
            files[path.stem] = path
    if not files:
        raise InputError(f"{place}: has no file of {_ENDINGS}; expected vectors' files, one a vector; put them there")
    if others:
        tell_passed_over(place, others)
    return dict(sorted(files.items()))


def tell_passed_over(folder: Path, names: Sequence[str]) -> None:
    """Tell the user which files of a folder are not read, since they are no vectors' files."""
    first = ", ".join(map(shown, names[:3]))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    tell(f"{folder}: {first}{more} passed over: no vector's file")
