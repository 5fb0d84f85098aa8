"""Products of states with the weights of linear maps: the libraries that compute them, and which is fastest here.

On x86 CPUs a float32 product can be computed by oneDNN or by the BLAS library that PyTorch uses by default (MKL in its
own builds), and either can be given the weight in a layout of its own. Which is fastest depends on the CPU and on the
shapes, so it is measured. The results differ in rounding alone.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ONEDNN, PACKED, BLAS, TRANSPOSED = "onednn", "onednn-packed", "blas", "blas-transposed"
PRODUCTS = {
    ONEDNN: "oneDNN products",
    PACKED: "oneDNN products with packed weights",
    BLAS: "default products",
    TRANSPOSED: "default products with transposed weights",
}
"""Values of `-M products`, with what they are called in logs."""

WITH_COPIES = (PACKED, TRANSPOSED)
"""Products that hold a copy of the weights in another layout."""

_SECONDS = 1.2
"""Time after which no further round of a measurement is begun."""

_ROUNDS = 9
"""Most rounds of a measurement."""

_FLOPS_OF_A_ROUND = 4e9
"""Work that each kind of products is given in a round, as far as that leaves a usual number of tokens."""

_TOKENS = (128, 512)
"""Fewest and most tokens in a measured product; the passes of a run have several hundred."""

_SMALL = 5e6
"""Weights in all blocks below which nothing is measured: such a model is run in no time by any kind of products."""

_WORTHWHILE = 1.05
"""How many times faster than oneDNN others must be to be preferred, so that noise alone rarely changes the choice."""

Shape = tuple[int, int]
"""Outputs and inputs of a linear map, as in its weight."""


def available(device: torch.device, dtype: torch.dtype) -> list[str]:
    """The kinds of products that can be computed for a dtype on a device, the usual one first."""
    if device.type != "cpu" or dtype != torch.float32 or platform.machine().lower() not in ("x86_64", "amd64"):
        return [BLAS]
    return [*([ONEDNN, PACKED] if torch.backends.mkldnn.is_available() else []), BLAS, TRANSPOSED]


def can_multiply(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for products in a dtype; without them, products take over ten times as long.

    oneDNN knows: it refuses half-precision products where they would be emulated.
    """
    if dtype not in (torch.bfloat16, torch.float16) or not torch.backends.mkldnn.is_available():
        return True
    factor = torch.ones(16, 16, dtype=dtype)
    try:
        torch.ops.mkldnn._linear_pointwise(factor, factor, None, "none", [], "")
    except NotImplementedError:  # a build without this operator says nothing about the CPU
        return True
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True)
class _Copy:
    """A weight in another layout.

    Attributes:
        values: The copy.
        original: What the weight held when it was copied. It is kept, so that nothing else comes to lie at its address.
        version: How often that had been changed in place.
    """

    values: Tensor
    original: Tensor
    version: int

    def is_of(self, weight: Tensor) -> bool:
        """Whether a weight still holds what was copied."""
        return weight.data_ptr() == self.original.data_ptr() and weight._version == self.version


class LinearMaps(TorchFunctionMode):
    """Computes the linear maps of dense float32 tensors by one kind of products, while it is open as a context.

    Args:
        products: The kind; a key of `PRODUCTS`.
        blocks: The modules whose weights may be copied into another layout, each when it is first used. Other weights,
            such as those of a fine-tune, are used as they are.
    """

    def __init__(self, products: str, blocks: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self._by_onednn = products in (ONEDNN, PACKED)
        self._copying = _COPYING.get(products)
        self._own = {id(weight): weight for weight in _weights(blocks)} if self._copying else {}
        self._copies: dict[int, _Copy] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.linear and not kwargs and all(map(_is_dense_float32, args[:2])):
            weight = self._laid_out(args[1])
            bias: Tensor | None = args[2] if len(args) > 2 else None
            if self._by_onednn:
                return torch.ops.mkldnn._linear_pointwise(args[0], weight, bias, "none", [], "")
            return func(args[0], weight, bias)
        return func(*args, **(kwargs or {}))

    def _laid_out(self, weight: Tensor) -> Tensor:
        """A weight in the layout of these products: a copy, which is made anew if the weight has changed since.

        A weight that was made in inference mode is used as it is, since nothing tells whether it has changed.
        """
        if self._copying is None or id(weight) not in self._own or weight.is_inference():
            return weight
        copy = self._copies.get(id(weight))
        if copy is None or not copy.is_of(weight):
            original = weight.detach()
            copy = self._copies[id(weight)] = _Copy(self._copying(original), original, weight._version)
        return copy.values


def _packed(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight, _TOKENS[1])


def _transposed(weight: Tensor) -> Tensor:
    return weight.t().contiguous().t()


_COPYING: dict[str, Callable[[Tensor], Tensor]] = {PACKED: _packed, TRANSPOSED: _transposed}


def bytes_of_copies(products: str, blocks: Iterable[nn.Module]) -> int:
    """Memory that the copies of the blocks' weights take."""
    return sum(weight.nbytes for weight in _weights(blocks)) if products in WITH_COPIES else 0


@dataclass(frozen=True)
class Ranking:
    """The kinds of products to try on a model.

    Attributes:
        products: The best first.
        note: Why in this order: what was measured, or why nothing was.
    """

    products: Sequence[str]
    note: str


def ranking(
    device: torch.device, dtype: torch.dtype, blocks: Sequence[nn.Module], most_bytes: int, asked: str | None
) -> Ranking:
    """The kinds of products to try on a model: the one that was asked for, or the fastest on the model's shapes.

    Args:
        device: The model's device.
        dtype: Its dtype.
        blocks: Its blocks.
        most_bytes: Memory that copies of weights may take.
        asked: A key of `PRODUCTS`, or None to measure.
    """
    names = available(device, dtype)
    if asked is not None:
        if asked in names:
            return Ranking([asked, *([BLAS] if asked != BLAS else [])], f"{asked}, as asked")
        return Ranking([BLAS], f"{BLAS} ({asked} is for float32 on x86 CPUs)")
    if len(names) == 1:
        return Ranking(names, f"{names[0]}, which has no alternative here")
    if sum(weight.numel() for weight in _weights(blocks)) < _SMALL:
        return Ranking([names[0], BLAS], f"{names[0]} (not measured: the model is small)")
    fitting = [name for name in names if bytes_of_copies(name, blocks) <= most_bytes]
    shapes = [(weight.shape[0], weight.shape[1]) for weight in _weights(blocks[len(blocks) // 2 :][:1])]
    speeds = measured_speeds(tuple(fitting), tuple(sorted(shapes)))
    ordered = by_speed(speeds)
    return Ranking(ordered, described(ordered, speeds))


def by_speed(speeds: Mapping[str, float]) -> list[str]:
    """Products by their speed, the fastest first; but oneDNN first unless others are faster by more than noise is."""
    ordered = sorted(speeds, key=lambda name: -speeds[name])
    if ONEDNN in speeds and speeds[ordered[0]] < _WORTHWHILE * speeds[ONEDNN]:
        ordered.remove(ONEDNN)
        ordered.insert(0, ONEDNN)
    return ordered


def described(ordered: Sequence[str], speeds: Mapping[str, float]) -> str:
    """What was measured, in a line: the speed of the first kind, and that of the others as a share of it."""
    first, *others = ordered
    shares = ", ".join(f"{name} {speeds[name] / speeds[first]:.2f}" for name in others)
    beside = f"; of that speed, {shares}" if shares else ""
    return f"{first}: {speeds[first] / 1e9:.0f} GFLOP/s on this model's shapes{beside}"


@lru_cache(maxsize=8)
def measured_speeds(names: tuple[str, ...], shapes: tuple[Shape, ...]) -> dict[str, float]:
    """FLOP/s of products of some shapes, by kind of products; measured once in a process, so that it decides once.

    The kinds take turns, so that a busy machine slows all of them, and medians count. Those that fail are left out.

    Args:
        names: Keys of `PRODUCTS`.
        shapes: Of the weights, as often as they occur in a block.
    """
    sizes = sum(outputs * inputs for outputs, inputs in shapes)
    tokens = int(min(max(_FLOPS_OF_A_ROUND / (2 * sizes), _TOKENS[0]), _TOKENS[1]))
    seconds = dict.fromkeys(names, 0.0)
    for shape in sorted(set(shapes)):
        share = _SECONDS * shapes.count(shape) * shape[0] * shape[1] / sizes
        for name, taken in _seconds_of(list(seconds), shape, tokens, share).items():
            seconds[name] += shapes.count(shape) * taken
    return {name: 2 * tokens * sizes / taken for name, taken in seconds.items() if taken < float("inf")}


@torch.inference_mode()
def _seconds_of(names: Sequence[str], shape: Shape, tokens: int, seconds: float) -> dict[str, float]:
    """Median time of one product by each kind; infinite for a kind that cannot compute it.

    Args:
        names: Keys of `PRODUCTS`.
        shape: Of the weight.
        tokens: Rows of the other factor.
        seconds: Time after which no further round is begun.
    """
    with torch.inference_mode(False):  # as a model's weights are
        linear: nn.Linear = nn.utils.skip_init(nn.Linear, shape[1], shape[0], bias=False)  # draws no random numbers
        nn.init.ones_(linear.weight)
    states = torch.ones(1, tokens, shape[1])
    times: dict[str, list[float]] = {}
    maps = {name: LinearMaps(name, [linear]) for name in names}
    for name in names:
        try:
            with maps[name]:
                linear(states)  # makes the copy of the weight
        except RuntimeError:
            continue
        times[name] = []
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        for name, times_of_kind in times.items():
            with maps[name]:
                before = time.perf_counter()
                linear(states)
                times_of_kind.append(time.perf_counter() - before)
        if time.perf_counter() - begun > seconds:
            break
    return {name: statistics.median(times[name]) if name in times else float("inf") for name in names}


def _weights(blocks: Iterable[nn.Module]) -> list[Tensor]:
    """The weights of the blocks' linear maps that can be copied into another layout."""
    modules = (module for block in blocks for module in block.modules())
    return [module.weight for module in modules if isinstance(module, nn.Linear) and _is_dense_float32(module.weight)]


def _is_dense_float32(tensor: Any) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
    )
