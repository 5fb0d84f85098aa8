"""Steering vectors as bare tensors: safetensors, NumPy's `.npy`, and `.pt` files of `torch.save`.

A file holds one direction for each of the model's layers, [layers, hidden], directions of some layers by their names or
numbers, or a single vector [hidden] that belongs to no layer and is added wherever an injection is made. Nothing is
read that would have to be unpickled: unpickling a file runs what its author put there.
"""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from introbench.errors import InputError, first_line, shown
from introbench.progress import tell
from introbench.steering.vectors.control_file import ControlFile, NoControlFileError

_LAYER = re.compile(r"(?:(?:layers?|directions?)[._])?(0|[1-9][0-9]{0,8})")
_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SAFE_KINDS = {"F16", "BF16", "F32", "F64"}
_SHAPES = "[{hidden}] for one vector, or [{n_layers}, {hidden}] for one at each layer of this model"


@dataclass(frozen=True)
class _Fit:
    """What fits a model.

    Attributes:
        where: The file, or whatever else the tensors came from, as messages name it.
        n_layers: Number of the model's decoder blocks.
        hidden: Width of its residual stream.
    """

    where: str
    n_layers: int
    hidden: int

    def refuse_shape(self, name: str, shape: tuple[int, ...], *, of_a_layer: bool) -> None:
        """Refuse a tensor of another shape than the model's; `of_a_layer` if it is the direction of one layer."""
        if shape == (self.hidden,) or (shape == (self.n_layers, self.hidden) and not of_a_layer):
            return
        wanted = f"[{self.hidden}]" if of_a_layer else _SHAPES.format(n_layers=self.n_layers, hidden=self.hidden)
        advice = "extract it from this model"
        if not of_a_layer and shape == (self.n_layers + 1, self.hidden):
            advice = "leave out the first row, if that is of the embeddings"
        raise InputError(f"{self.where}: {name} has shape {list(shape)}: expected {wanted}; {advice}")

    def refuse_kind(self, name: str, kind: str) -> None:
        """Refuse a tensor whose numbers are of a kind that vectors do not have."""
        raise InputError(
            f"{self.where}: {name} is kept as {kind}: expected floating-point numbers of 16 to 64 bits; write it again "
            f"as float32"
        )

    def layer(self, name: str) -> int | None:
        """The layer that a name says; None if it says none.

        Raises:
            InputError: The model has no such layer.
        """
        match = _LAYER.fullmatch(name)
        if match and int(match[1]) >= self.n_layers:
            raise InputError(
                f"{self.where}: has {shown(name)}: expected none past layer {self.n_layers - 1}, as this model has "
                f"{self.n_layers} layers; extract it from this model"
            )
        return int(match[1]) if match else None


def directions_of(tensors: Tensor | Mapping[str, Tensor], where: str, *, n_layers: int, hidden: int) -> Tensor:
    """Directions that fit a model, from bare tensors.

    Args:
        tensors: One of shape [hidden] or [layers, hidden], or several of shape [hidden] by their layers' names:
            `layer.12`, `direction.12` or `12`.
        where: What they came from, for errors.
        n_layers: Number of the model's decoder blocks.
        hidden: Width of its residual stream.

    Returns:
        Float32 [layers, hidden], with zeros in layers without a direction; a single vector stands in every layer.

    Raises:
        InputError: A shape, a kind of numbers or a layer does not fit, or numbers are not finite, or all are 0.
    """
    fit = _Fit(where, n_layers, hidden)
    named = {"the tensor": tensors} if isinstance(tensors, Tensor) else dict(tensors)
    placed = _placed(fit, [*named])
    directions = torch.zeros(n_layers, hidden)
    for name, tensor in named.items():
        if tensor.dtype not in _KINDS or tensor.layout != torch.strided:
            kind = str(tensor.dtype).removeprefix("torch.")
            fit.refuse_kind(name, kind if tensor.layout == torch.strided else "a sparse tensor")
        fit.refuse_shape(name, tuple(tensor.shape), of_a_layer=placed is not None)
        numbers = tensor.detach().to("cpu", torch.float32)
        if not bool(numbers.isfinite().all()):
            raise InputError(f"{where}: {name} has values that are not finite in float32; extract the vector again")
        if placed is None:
            directions[:] = numbers
        else:
            directions[placed[name]] = numbers
    if not bool(directions.any()):
        raise InputError(f"{where}: all values are 0; expected a direction; extract the vector again")
    if placed is None and next(iter(named.values())).dim() == 1:
        tell(f"{where}: holds one vector and no layer; it is added at each steered layer")
    return directions


def _placed(fit: _Fit, names: list[str]) -> dict[str, int] | None:
    """The layer of each tensor; None if there is a single one whose name says no layer.

    Raises:
        NoControlFileError: There are several, and names that say no layer.
        InputError: A layer stands twice, or there is none.
    """
    if not names:
        raise InputError(f"{fit.where}: holds no tensor; expected a vector; extract it again")
    if len(names) == 1 and not _LAYER.fullmatch(names[0]):
        return None
    placed: dict[str, int] = {}
    for name in names:
        if not _LAYER.fullmatch(name):
            raise NoControlFileError(
                f"{fit.where}: tensor {shown(name)} among {len(names)}: expected one tensor, or names like layer.12; "
                f"pass a vector's file, not a model's"
            )
    for name in names:
        layer = fit.layer(name)
        assert layer is not None
        if layer in placed.values():
            raise InputError(f"{fit.where}: layer {layer} stands twice; expected it once; leave one out")
        placed[name] = layer
    return placed


def read_safetensors(path: Path, *, n_layers: int, hidden: int) -> ControlFile:
    """Read a safetensors file: tensors named `layer.12` or `direction.12`, or one of any name.

    Raises:
        NoControlFileError: It holds several tensors of other names, as a model's file does.
        InputError: It is damaged or does not fit the model.
    """
    fit = _Fit(str(path), n_layers, hidden)
    try:
        with safe_open(path, framework="pt") as file:
            names = [*file.keys()]
            placed = _placed(fit, names)
            for name in names:
                part = file.get_slice(name)
                if part.get_dtype() not in _SAFE_KINDS:
                    fit.refuse_kind(name, str(part.get_dtype()))
                fit.refuse_shape(name, tuple(part.get_shape()), of_a_layer=placed is not None)
            tensors = {name: file.get_tensor(name) for name in names}
    except InputError:
        raise
    except Exception as error:  # what Rust says to damaged headers has types of its own
        raise _damaged(path, "safetensors", error) from None
    return ControlFile(directions_of(tensors, fit.where, n_layers=n_layers, hidden=hidden), "")


def read_npy(path: Path, *, n_layers: int, hidden: int) -> ControlFile:
    """Read an array that `numpy.save` wrote.

    Raises:
        InputError: It is damaged, would have to be unpickled, or does not fit the model.
    """
    fit = _Fit(str(path), n_layers, hidden)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = header(file)
    except Exception as error:
        raise _damaged(path, ".npy", error) from None
    if kind.hasobject:
        raise _needs_pickle(path, "an array of Python objects")
    if kind.kind != "f" or kind.itemsize > 8:
        fit.refuse_kind("the array", str(kind))
    fit.refuse_shape("the array", tuple(shape), of_a_layer=False)
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise _damaged(path, ".npy", error) from None
    with np.errstate(all="ignore"):  # what float32 cannot hold is refused
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return ControlFile(directions_of(tensor, fit.where, n_layers=n_layers, hidden=hidden), "")


def read_pt(path: Path, *, n_layers: int, hidden: int) -> ControlFile:
    """Read a tensor, or a mapping of layers to tensors, that `torch.save` wrote; nothing else is unpickled.

    Raises:
        InputError: It holds anything else, is damaged, or does not fit the model.
    """
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if zipfile.is_zipfile(path) and "weights_only" in str(error):
            raise _needs_pickle(path, "more than tensors") from None
        raise _damaged(path, "torch.save", error) from None
    if isinstance(found, Mapping):
        for name, value in found.items():
            if not isinstance(name, str | int) or isinstance(name, bool) or not isinstance(value, Tensor):
                raise InputError(
                    f"{path}: {shown(name)} is of type {type(value).__name__}: expected tensors by the number of their "
                    f"layer; save it as {{12: tensor}}"
                )
        named = {str(name): value for name, value in found.items()}
        if len(named) < len(found):
            raise InputError(f"{path}: a layer stands twice, as number and as text; expected it once; leave one out")
        return ControlFile(directions_of(named, str(path), n_layers=n_layers, hidden=hidden), "")
    if not isinstance(found, Tensor):
        raise InputError(
            f"{path}: holds a {type(found).__name__}: expected a tensor, or tensors by layer; save it with "
            f"torch.save(tensor, path)"
        )
    return ControlFile(directions_of(found, str(path), n_layers=n_layers, hidden=hidden), "")


def _needs_pickle(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: holds {what}, which only pickle could read, and that may run code; expected tensors alone; save the "
        f"vector as safetensors, or with torch.save(tensor, path)"
    )


def _damaged(path: Path, what: str, error: Exception) -> InputError:
    return InputError(
        f"{path}: no file of {what}, or a damaged one ({first_line(error)}); expected a vector; write it again"
    )
