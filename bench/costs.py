"""What a run costs on a model of a size that is not at hand, from its FLOPs: `python bench/costs.py`.

A run says at its start how many trials it has, and how many tokens go through the model ("1,728 trials under 22 arms,
69,000 tokens through the model"); both depend on the task and its arguments, and hardly on the model. A token costs
two FLOPs for each parameter. Not counted: attention, loading, and the vectors and doses at the start.
"""

import argparse
import math
from dataclasses import dataclass

from tabulate import tabulate

SIZES = {"7B": 7.6e9, "14B": 14.8e9, "32B": 32.5e9, "70B": 70.6e9}
"""Models' parameters, by what they are called."""

BYTES_PER_PARAMETER = 2
ROOM = 1.2
"""Memory that a run takes, as a multiple of that of the weights."""


@dataclass(frozen=True)
class Machine:
    """A GPU.

    Attributes:
        peak: Dense bfloat16 products, FLOP/s.
        share: Share of the peak that the engine reaches.
        memory: Bytes.
    """

    peak: float
    share: float
    memory: float


def gpu_seconds(parameters: float, tokens: float, machine: Machine) -> float:
    """Seconds of one GPU that tokens take; several GPUs share them.

    Args:
        parameters: Number of the model's parameters.
        tokens: Tokens that go through the whole model.
        machine: The GPU.
    """
    return 2 * parameters * tokens / (machine.peak * machine.share)


def gpus(parameters: float, machine: Machine) -> int:
    """How many GPUs hold the model in bfloat16."""
    return math.ceil(BYTES_PER_PARAMETER * ROOM * parameters / machine.memory)


def rows(trials: int, tokens: float, machine: Machine) -> list[list[str]]:
    """For each size its GPUs, FLOPs of a trial, trials in a GPU-hour, and GPU-seconds of the run."""
    table = []
    for name, parameters in SIZES.items():
        seconds = gpu_seconds(parameters, tokens, machine)
        per_trial = 2 * parameters * tokens / trials
        table.append(
            [
                name,
                str(gpus(parameters, machine)),
                f"{per_trial / 1e12:.2g}",
                f"{round(trials / seconds * 3600, -3):,.0f}",
                f"{seconds:.0f}",
            ]
        )
    return table


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1728, help="of the run")
    parser.add_argument("--tokens", type=float, default=69e3, help="that go through the model in the run")
    parser.add_argument("--peak", type=float, default=989e12, help="dense bfloat16 FLOP/s of the GPU")
    parser.add_argument("--share", type=float, default=0.47, help="of that peak which the engine reaches")
    parser.add_argument("--memory", type=float, default=80e9, help="bytes of the GPU")
    options = parser.parse_args()
    machine = Machine(options.peak, options.share, options.memory)
    headers = ["model", "GPUs", "TFLOPs a trial", "trials in a GPU-hour", "GPU-seconds of the run"]
    print(tabulate(rows(options.trials, options.tokens, machine), headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
