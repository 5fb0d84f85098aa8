"""Regression tests of models: how long the default battery takes, and how often re-runs raise an alarm.

python bench/regression.py time            # the shipped checks on the embedded model, with a baseline
python bench/regression.py alarms          # 100 re-runs of a tiny model at other seeds and batch sizes
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL = "inject/smollm2"
RERUNS = 100
BUDGET = 0.1


def checks(*arguments: str) -> float:
    """Seconds that the shipped checks take."""
    begun = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        "introbench.regression",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]
    subprocess.run(command, check=True)
    return time.perf_counter() - begun


def measure_time() -> None:
    """Make a baseline of the embedded model, and compare the model with it."""
    with tempfile.TemporaryDirectory() as name:
        file = str(Path(name) / "baseline.json")
        made = checks("--model", MODEL, "--save-baseline", file, "-q")
        compared = checks("--model", MODEL, "--baseline", file)
        gates = checks("--model", MODEL, "--baseline", file, "-m", "gates", "-q")
        print(f"baseline {made:.0f} s, all checks {compared:.0f} s, gates alone {gates:.0f} s")
        print(f"baseline of {Path(file).stat().st_size / 1024:.0f} KiB")


def count_alarms() -> None:
    """Run one model again and again, with other random vectors and in other batches."""
    from introbench.regression.paired import changes
    from introbench.regression.session import TASK, Session
    from introbench.validation.planted_models import concepts_of
    from introbench.validation.tiny_models import save_family

    few = {
        "documents": ["info"],
        "families": ["introspection", "always_no", "always_yes", "ambiguous"],
        "formats": "yes-no",
        "concepts": concepts_of(0),
    }
    alarms, largest, means = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_family("llama", folder / "model")
        first = Session(folder / "first", {}).evaluate(f"inject/{folder / 'model'}", TASK, None, few).record
        for seed in range(1, RERUNS + 1):
            # With another memory budget, the model is loaded, and proves itself, anew.
            session = Session(folder / str(seed), {"memory": 0.002 * 1.05**seed})
            again = session.evaluate(f"inject/{folder / 'model'}", TASK, None, {**few, "seed": seed}).record
            all_changes = [change for metric in ("shift", "log_odds") for change in changes(first, again, metric)]
            means += len(all_changes)
            alarms += any(change.exceeds(BUDGET) for change in all_changes)
            largest = max(largest, *(abs(change.difference.estimate) for change in all_changes))
    print(f"{alarms} of {RERUNS} re-runs raise an alarm; largest change of {means} means {largest:.1g} nats")


if __name__ == "__main__":
    {"time": measure_time, "alarms": count_alarms}[sys.argv[1]]()
