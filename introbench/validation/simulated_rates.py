"""How often simulated mechanisms earn which verdict, and how often the excess's interval covers the truth."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from introbench.analysis.verdict import INTROSPECTIVE
from introbench.validation.error_rates import rate
from introbench.validation.mechanisms import MECHANISMS
from introbench.validation.worlds import simulate

BATCH = 10
"""Runs that a process simulates at a time."""


@dataclass(frozen=True)
class SimulatedRun:
    """One simulated run.

    Attributes:
        mechanism: Name of the mechanism.
        size: Its size.
        seed: Seed of the run.
        verdict: The verdict.
        covered: Whether the interval of the excess covers the true one; None if the mechanism has none.
        half_width: Half width of that interval, in nats.
    """

    mechanism: str
    size: float
    seed: int
    verdict: str
    covered: bool | None
    half_width: float


def simulate_runs(name: str, size: float, seeds: Sequence[int]) -> list[SimulatedRun]:
    """Simulate a mechanism of one size, once for each seed."""
    mechanism = MECHANISMS[name]
    runs = []
    for seed in seeds:
        result = simulate(mechanism.world(size), seed, mechanism.run)
        low, high = result.excess.low, result.excess.high
        truth = mechanism.excess(size) if mechanism.excess else None
        covered = None if truth is None else bool(low <= truth <= high)
        runs.append(SimulatedRun(name, size, seed, result.verdict.name, covered, (high - low) / 2))
    return runs


def simulated_runs(names: Sequence[str], seeds: int, kept: Path, workers: int) -> Iterator[SimulatedRun]:
    """Simulate mechanisms in parallel; runs that a file holds are not simulated again.

    Args:
        names: Names of mechanisms.
        seeds: How many runs of each size.
        kept: File with a run in each line; new ones are added.
        workers: Number of processes.

    Yields:
        The runs, in the order of the mechanisms.
    """
    known = known_runs(kept)
    wanted = [(name, size) for name in names for size in MECHANISMS[name].sizes]
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a process starts
    with ProcessPoolExecutor(workers) as pool:
        waiting = []
        for name, size in wanted:
            yield from (known[name, size, seed] for seed in range(seeds) if (name, size, seed) in known)
            missing = [seed for seed in range(seeds) if (name, size, seed) not in known]
            batches = (missing[start : start + BATCH] for start in range(0, len(missing), BATCH))
            waiting += [pool.submit(simulate_runs, name, size, batch) for batch in batches]
        for future in waiting:
            runs = future.result()
            with kept.open("a") as file:
                file.writelines(json.dumps(asdict(run)) + "\n" for run in runs)
            yield from runs


def known_runs(kept: Path) -> dict[tuple[str, float, int], SimulatedRun]:
    """The runs that a file holds, one in each line, by mechanism, size and seed; none if there is no such file."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    return {(run.mechanism, run.size, run.seed): run for run in (SimulatedRun(**json.loads(line)) for line in lines)}


def mechanisms_table(runs: Sequence[SimulatedRun]) -> str:
    """What each mechanism does, and how often it earns a verdict that claims introspection, as a Markdown table."""
    rows = []
    for name, mechanism in MECHANISMS.items():
        for size in mechanism.sizes:
            of_size = [run for run in runs if (run.mechanism, run.size) == (name, size)]
            if not of_size:
                continue
            claims = sum(run.verdict in INTROSPECTIVE for run in of_size)
            others = Counter(run.verdict for run in of_size if run.verdict not in INTROSPECTIVE)
            truth = "introspects" if mechanism.introspects and size else "not told apart" * (not mechanism.told_apart)
            rows.append(
                [
                    name,
                    mechanism.does,
                    f"{size:g}",
                    truth,
                    rate(claims, len(of_size)),
                    ", ".join(f"{verdict} {count / len(of_size):.0%}" for verdict, count in others.most_common(2)),
                ]
            )
    headers = ["mechanism", "what it does", "size", "truth", "said to track", "else mostly"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def coverage_table(runs: Sequence[SimulatedRun]) -> str:
    """How often the interval of the excess covers the truth, as a Markdown table."""
    rows = []
    for name, mechanism in MECHANISMS.items():
        for size in mechanism.sizes:
            of_size = [run for run in runs if (run.mechanism, run.size) == (name, size) and run.covered is not None]
            if of_size:
                covered = sum(bool(run.covered) for run in of_size)
                half_width = sum(run.half_width for run in of_size) / len(of_size)
                rows.append([name, f"{size:g}", rate(covered, len(of_size)), f"{half_width:.3f}"])
    headers = ["mechanism", "true excess (nats)", "covered", "half width"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)
