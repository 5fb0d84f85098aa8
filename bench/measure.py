"""Measurements that the benchmarks share: interleaved times, times and memory of processes, what products reach."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Used:
    """What a process and those that it started took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Time on all cores together, which other processes on the machine hardly change.
        mebibytes: Largest resident memory of any of them.
        printed: What it printed.
    """

    seconds: float
    cpu_seconds: float
    mebibytes: float
    printed: str


_WAIT = """
import os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as found:
    print(os.waitstatus_to_exitcode(status), time.perf_counter() - begun,
          used.ru_utime + used.ru_stime, used.ru_maxrss, file=found)
os._exit(0)
"""
"""Runs a program from a small process of its own: a new process counts the memory of the one that starts it."""


def used_by(
    command: Sequence[str | Path], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Used:
    """Run a process to its end.

    Args:
        command: The program and its arguments.
        folder: Where to run it; None for the current folder.
        environment: Variables that it is given besides those of this process.

    Raises:
        RuntimeError: It failed; with the last lines that it printed.
    """
    with tempfile.NamedTemporaryFile("r") as found:
        printed = subprocess.run(
            [sys.executable, "-S", "-c", _WAIT, found.name, *map(str, command)],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout
        status, seconds, cpu_seconds, kibibytes = found.read().split()
    if int(status):
        last = "\n".join(printed.splitlines()[-15:])
        raise RuntimeError(f"{' '.join(map(str, command))} ended with status {status}:\n{last}")
    return Used(float(seconds), float(cpu_seconds), int(kibibytes) / 1024, printed)


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


def load() -> str:
    """How busy the machine has been, in words; on an idle one, the numbers are as many as there are threads at work."""
    minute, _, quarter = os.getloadavg()
    return f"load {minute:.1f} in the last minute, {quarter:.1f} in the last quarter of an hour, {os.cpu_count()} cores"


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
