"""The benchmarks run: the GPU one on a CPU, with a model that is small enough."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_the_gpu_benchmark_runs_on_a_cpu() -> None:
    small = ["--device", "cpu", "--layers", "3", "--hidden", "128", "--rows", "3", "--questions", "6", "--prior", "40"]
    done = subprocess.run([sys.executable, str(BENCH / "gpu.py"), *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fast: shared prior turns, token tries" in done.stdout
    assert "trials of 3 arms per second" in done.stdout
    assert "shifts in bfloat16: median error 0.0" in done.stdout
