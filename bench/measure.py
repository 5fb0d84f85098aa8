"""Timing for the benchmarks: medians of interleaved runs, beside what the machine's matrix products reach."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one run."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def medians(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median time of each, the runs taking turns so that a busy neighbour slows all of them."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, mine in zip(runs, times, strict=True):
            mine.append(seconds(run))
    return [statistics.median(mine) for mine in times]


def gemm_peak(device: str = "cpu", dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """FLOP/s of a matrix product, by each library that the engine may use."""
    size = 8192 if device != "cpu" else 2048 if dtype == torch.float32 else 512
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    libraries: dict[str, Callable[[], object]] = {"matmul": lambda: left @ right.T}
    if device == "cpu" and torch.backends.mkldnn.is_available():
        libraries["oneDNN"] = lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    with torch.inference_mode():
        for run in libraries.values():
            run()
        times = medians(list(libraries.values()), repeats=7)
    return {name: 2 * size**3 / taken for name, taken in zip(libraries, times, strict=True)}


def show_peak(peak: dict[str, float]) -> str:
    """One line about the machine."""
    return "GEMM peak: " + ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in peak.items())
