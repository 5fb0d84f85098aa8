"""The benchmarks run: the GPU one on a CPU, with a model that is small enough."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def run(*arguments: str, **environment: str) -> str:
    """What a Python process prints, run beside the benchmarks."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCH,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu() -> None:
    small = ["--device", "cpu", "--shape", "tiny", "--rows", "3", "--questions", "6", "--prior", "40"]
    printed = run("gpu.py", *small)
    assert "fast: shared prior turns, token tries" in printed
    assert "trials of 3 arms per second" in printed
    assert "x script" in printed
    assert "shifts in bfloat16: median error 0.0" in printed


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="AVX2 is an x86 instruction set")
def test_a_library_without_the_product_is_left_out_of_the_peak() -> None:
    peaks = """
import torch
from measure import gemm_peak
print(*gemm_peak(dtype=torch.bfloat16, size=64), *gemm_peak(dtype=torch.float32, size=64))
"""
    printed = run("-c", peaks, ONEDNN_MAX_CPU_ISA="AVX2")
    assert printed == "oneDNN has no bfloat16 product on this CPU, and is not measured\nmatmul matmul oneDNN\n"
