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
    """Median time of each run; the runs take turns, so that a busy neighbour slows all of them."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, times_of_run in zip(runs, times, strict=True):
            times_of_run.append(seconds(run))
    return [statistics.median(times_of_run) for times_of_run in times]


def gemm_peak(device: str = "cpu", dtype: torch.dtype = torch.float32, size: int | None = None) -> dict[str, float]:
    """FLOP/s of a product of square matrices of this size, by each library that the engine may use.

    A library that refuses the product is left out, and a line says so: oneDNN multiplies float32 on every x86 CPU, but
    bfloat16 only on those with instructions for it, which a CPU with AVX2 alone does not have.
    """
    size = size or (8192 if device != "cpu" else 2048 if dtype == torch.float32 else 512)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    libraries: dict[str, Callable[[], object]] = {"matmul": lambda: left @ right.T}
    with torch.inference_mode():
        if device == "cpu" and torch.backends.mkldnn.is_available():
            try:
                _onednn(left, right)
            except RuntimeError:
                print(f"oneDNN has no {str(dtype).removeprefix('torch.')} product on this CPU, and is not measured")
            else:
                libraries["oneDNN"] = lambda: _onednn(left, right)
        libraries["matmul"]()
        times = medians(list(libraries.values()), repeats=7)
    return {name: 2 * size**3 / taken for name, taken in zip(libraries, times, strict=True)}


def _onednn(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")


def show_peak(peak: dict[str, float]) -> str:
    """One line with what the machine's matrix products reach."""
    return "GEMM peak: " + ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in peak.items())
