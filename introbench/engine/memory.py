"""How much may be computed at a time: a budget from what the device has, halved when it proves too large."""

import gc
import os
from pathlib import Path

import torch
from transformers import PreTrainedModel

from introbench.errors import InputError

GIB = 1024**3
_SHARE = 0.5
"""Of what the device has: the rest is for weights already there, vectors, other processes, and estimates gone wrong."""


def default_budget(device: torch.device) -> int:
    """Bytes that forward passes and their caches may take, unless the user says otherwise."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * _SHARE)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # a container's own limit
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return int(min(physical, int(allowed) if allowed.isdigit() else physical) * _SHARE)


def parse_budget(gibibytes: object) -> int | None:
    """Read a budget in GiB; None means what the device has.

    Raises:
        InputError: It is not a positive number.
    """
    if gibibytes is None:
        return None
    if isinstance(gibibytes, bool) or not isinstance(gibibytes, int | float) or not gibibytes > 0:
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
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Steps:
    """How many tokens a forward pass takes.

    Args:
        token_bytes: What one token of one batch row takes while a forward pass goes on.
        budget: Bytes that forward passes may take.
        fastest: More tokens than this make a pass no faster on this device.

    Attributes:
        reductions: How often memory ran out, so that less was taken.
    """

    smallest = 16
    """Tokens of all rows below which a pass is not cut further."""

    def __init__(self, token_bytes: int, budget: int, fastest: int) -> None:
        self._most = max(self.smallest, min(fastest, budget // token_bytes))
        self._tokens = self._most
        self.reductions = 0

    def tokens(self, rows: int) -> int:
        """Tokens of each row in one pass, at least one."""
        return max(1, self._tokens // rows)

    def halve(self) -> bool:
        """Take half as many from now on; False if they are too few already."""
        if self._tokens <= self.smallest:
            return False
        self._tokens = max(self.smallest, self._tokens // 2)
        self.reductions += 1
        return True

    def restore(self) -> None:
        """Take as many as at first: it was something else that took the memory, and has been cut."""
        self._tokens = self._most
        self.reductions += 1


def token_bytes(model: PreTrainedModel) -> int:
    """An estimate of what one token takes in a forward pass: a block's intermediate tensors, some of them at once."""
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return 2 * max(model.dtype.itemsize, 2) * (8 * config.hidden_size + 4 * inner)
