"""How much is computed at a time: a budget from the memory that the device has, halved where it proves too large."""

import gc
import os
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedModel

from introbench.errors import InputError

GIB = 1024**3
MOST_GIBIBYTES = 10**9
_SHARE = 0.5
"""Share of the device's memory to use; the rest is for weights, vectors, other processes and errors of estimates."""


def default_budget(device: torch.device) -> int:
    """Bytes that forward passes and their caches may take, unless the user says otherwise."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _SHARE)
    physical = _physical_memory()
    limit = Path("/sys/fs/cgroup/memory.max")  # a container's own limit
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return int(min(physical, int(allowed) if allowed.isdigit() else physical) * _SHARE)


def _physical_memory() -> int:
    """Bytes of memory that this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such function
        return int(psutil.virtual_memory().total)


def parse_budget(gibibytes: object) -> int | None:
    """Read a budget in GiB; None means what the device has.

    Raises:
        InputError: It is not a positive number.
    """
    if gibibytes is None:
        return None
    if isinstance(gibibytes, bool) or not isinstance(gibibytes, int | float) or not 0 < gibibytes < MOST_GIBIBYTES:
        raise InputError(f"memory={gibibytes!r}: expected a positive number of GiB; pass e.g. -M memory=8")
    return int(gibibytes * GIB)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error).lower() for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def free_memory() -> None:
    """Return memory to the device that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class PassSize:
    """How many tokens a forward pass takes.

    Args:
        token_bytes: Bytes that one token of one batch row takes during a forward pass.
        budget: Bytes that forward passes may take.
        fastest: Number of tokens beyond which a pass gets no faster on this device.

    Attributes:
        reductions: How often memory ran out, so that a pass was made smaller.
    """

    smallest = 16
    """Tokens of all rows below which a pass is not made smaller."""

    def __init__(self, token_bytes: int, budget: int, fastest: int) -> None:
        self._most = max(self.smallest, min(fastest, budget // token_bytes))
        self._tokens = self._most
        self.reductions = 0

    def tokens(self, rows: int) -> int:
        """Tokens of each row in one pass, at least 1."""
        return max(1, self._tokens // rows)

    def halve(self) -> bool:
        """Halve the number from now on; False if it is the smallest already."""
        if self._tokens <= self.smallest:
            return False
        self._tokens = max(self.smallest, self._tokens // 2)
        self.reductions += 1
        return True

    def restore(self) -> None:
        """Go back to the first number, where something else took the memory and has been made smaller."""
        self._tokens = self._most
        self.reductions += 1


def token_bytes(model: PreTrainedModel) -> int:
    """An estimate of the bytes that one token takes in a forward pass: a block's intermediate tensors."""
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return 2 * max(model.dtype.itemsize, 2) * (8 * config.hidden_size + 4 * inner)
