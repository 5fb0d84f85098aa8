"""Steering vectors as files that other programs share: control vectors in GGUF, as repeng and llama.cpp keep them.

Layers are counted as everywhere here: `direction.3` is added to the output of decoder block 3, counted from 0. The
files have no checksum, so damage to their numbers shows only where these are no longer finite.
"""

import importlib.util
import re
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from introbench.errors import InputError, first_line, shown

_ARCHITECTURE = "controlvector"

_FLOATS = ("F32", "F16", "F64")

_FINETUNE = "introbench.finetune"
"""Key of the fine-tune that a vector leads to."""

_NAME = re.compile(r"direction\.(0|[1-9][0-9]{0,8})")


class NoControlFileError(InputError):
    """A file of something else than a vector, such as a model."""


@dataclass(frozen=True, eq=False)
class ControlFile:
    """What a vector's file holds for a model.

    Attributes:
        directions: Float32 [layers of the model, hidden], with zeros in the layers that the file has no direction for.
        made_for: The type of model that the file names; empty if it names none. Programs name the same model
            differently (llama.cpp writes "llama" for a Mistral), so that nothing is concluded from it.
        finetune: Name of the fine-tune that the vector leads to from its base; empty for a vector of another kind.
    """

    directions: Tensor
    made_for: str
    finetune: str = ""

    @property
    def layers(self) -> list[int]:
        """The layers that it has a direction for."""
        return [layer for layer, row in enumerate(self.directions) if bool(row.any())]


def write_control_file(path: Path, directions: Tensor, model_type: str, finetune: str = "") -> None:
    """Write the directions of every layer but layer 0, in place of what the file held.

    Layer 0 is left out since llama.cpp refuses a file that has `direction.0` (it keeps 0 for the embeddings), and
    repeng makes none. Norms are kept.

    Args:
        path: The file; the folders above it are made.
        directions: Float32 [layers, hidden], on the CPU.
        model_type: Type of the model that they belong to, as its config names it, e.g. "qwen2".
        finetune: Name of the fine-tune that they lead to; empty for a vector of another kind.

    Raises:
        InputError: There is no layer but layer 0, the file cannot be written, or the package gguf is not installed.
    """
    _require_gguf(path)
    if len(directions) < 2:
        raise InputError(
            f"{path}: a vector of {len(directions)} layer: expected 2 or more, since control files hold no direction "
            f"for layer 0; use a model with more layers"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".introbench-", dir=path.parent) as workplace:
            made = Path(workplace) / "made.gguf"
            _write(made, directions, model_type, finetune)
            made.replace(path)
    except OSError as error:
        why = error.strerror or first_line(error)
        raise InputError(f"{path}: cannot be written ({why}); expected a file's path; choose another") from None


def _write(path: Path, directions: Tensor, model_type: str, finetune: str) -> None:
    from gguf import GGUFWriter  # noqa: PLC0415 (an optional extra)

    with closing(GGUFWriter(path, _ARCHITECTURE)) as writer:
        writer.add_string("controlvector.model_hint", model_type)
        writer.add_uint32("controlvector.layer_count", len(directions) - 1)
        if finetune:
            writer.add_string(_FINETUNE, finetune)
        for layer in range(1, len(directions)):
            writer.add_tensor(f"direction.{layer}", directions[layer].numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read_control_file(path: Path, *, n_layers: int, hidden: int) -> ControlFile:
    """Read directions that fit a model, by their width and their layers; their norms are as the file has them.

    Args:
        path: The file.
        n_layers: Number of the model's decoder blocks.
        hidden: Width of its residual stream.

    Raises:
        NoControlFileError: The file is a GGUF file of something else.
        InputError: The file is no whole control file or does not fit the model, or the package gguf is not installed.
    """
    _require_gguf(path)
    metadata, tensors = _parse(path)
    architecture = metadata.get("general.architecture")
    if architecture != _ARCHITECTURE:
        raise NoControlFileError(
            f"{path}: a GGUF file of {shown(architecture)}: expected {_ARCHITECTURE!r}; pass a vector's file, not a "
            f"model's"
        )
    layers = _by_layer(path, tensors)
    if max(layers) >= n_layers:
        raise InputError(
            f"{path}: has direction.{max(layers)}: expected none past direction.{n_layers - 1}, as this model has "
            f"{n_layers} layers; extract it from this model"
        )
    _check_widths(path, layers, hidden)
    directions = torch.zeros(n_layers, hidden)
    for layer, tensor in layers.items():
        with np.errstate(all="ignore"):  # what float32 cannot hold is refused below
            directions[layer] = torch.from_numpy(tensor.data.astype(np.float32))
        if not directions[layer].isfinite().all():
            raise InputError(f"{path}: direction.{layer} has values that are not finite; extract the vector again")
    made_for, finetune = (
        text if isinstance(text := metadata.get(key), str) else "" for key in ("controlvector.model_hint", _FINETUNE)
    )
    return ControlFile(directions, made_for, finetune)


def _require_gguf(path: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            f"{path}: the package gguf that reads and writes control files is not installed; "
            f"run: python -m pip install gguf"
        )


def _parse(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """The metadata that matters here by key, and the tensors as gguf has them (their numbers are still on disk)."""
    from gguf import GGUFReader  # noqa: PLC0415 (an optional extra)

    class BoundedReader(GGUFReader):
        # gguf's own reads past the end come back empty, so a damaged array length keeps it busy until memory is full.
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            part = super()._get(offset, dtype, count, override_order)
            if len(part) < int(count):
                raise ValueError("it ends early")
            return part

    keys = ("general.architecture", "controlvector.model_hint", _FINETUNE)
    try:
        with np.errstate(all="raise"):  # a damaged offset must not wrap around
            reader = BoundedReader(path)
            return {key: reader.fields[key].contents() for key in keys if key in reader.fields}, reader.tensors
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected a control file (*.gguf); correct the path"
        ) from None
    except Exception as error:  # whatever NumPy says to what damaged sizes ask for
        raise InputError(
            f"{path}: no GGUF file, or a damaged one ({first_line(error)}); expected a control file; write it again"
        ) from None


def _by_layer(path: Path, tensors: list[Any]) -> dict[int, Any]:
    """The tensors by the layer that their name says; refuses other names, other types, and files without any."""
    layers = {}
    for tensor in tensors:
        name = _NAME.fullmatch(tensor.name)
        if not name:
            raise InputError(
                f"{path}: tensor {shown(tensor.name)}: expected names like direction.12; pass a control vector's file"
            )
        if tensor.tensor_type.name not in _FLOATS:
            raise InputError(
                f"{path}: {tensor.name} is kept as {tensor.tensor_type.name}: expected one of {', '.join(_FLOATS)}; "
                f"write it again as F32"
            )
        layers[int(name[1])] = tensor
    if not layers:
        raise InputError(f"{path}: has no directions; expected direction.1 and on; extract the vector again")
    return layers


def _check_widths(path: Path, layers: dict[int, Any], hidden: int) -> None:
    shapes = {layer: list(tensor.data.shape) for layer, tensor in sorted(layers.items())}
    first = min(shapes)
    for layer, shape in shapes.items():
        if shape != shapes[first]:
            raise InputError(
                f"{path}: direction.{first} has shape {shapes[first]} and direction.{layer} has {shape}: expected one "
                f"width; extract the vector again"
            )
    if shapes[first] != [hidden]:
        raise InputError(
            f"{path}: direction.{first} has shape {shapes[first]}: expected [{hidden}], the width of this model; "
            f"extract it from this model"
        )
