"""Run planted models through the introspection task, as anybody runs a model, and keep what it said about them."""

import json
import math
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from inspect_ai import eval

from introbench.analysis.verdict import VERDICTS
from introbench.validation.planted_models import concepts_of, save_planted
from introbench.validation.planted_truths import PLANTED

DOCUMENTS = ("info", "neutral")
"""All that the verdict rests on; with the other documents a run takes longer and says the same."""
FORMAT = "yes-no"
"""In words alone, a run takes half the time."""
SCALED = "introspector"
"""The model whose effect is scaled for a power curve."""


@dataclass(frozen=True)
class Case:
    """One planted model.

    Attributes:
        planted: Its name.
        seed: Of its weights, of the concepts, and of the random vectors.
        effect: Effect size of `SCALED` in nats, instead of its own.
    """

    planted: str
    seed: int
    effect: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What the instrument said about a planted model.

    Attributes:
        case: Which one.
        verdict: The verdict.
        noticed: Excess of introspection over control questions, in nats.
        low: Lower end of its interval.
        high: Upper end.
    """

    case: Case
    verdict: str
    noticed: float
    low: float
    high: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Outcome":
        """Rebuild an outcome from `to_json`'s line."""
        values = json.loads(line)
        return cls(**{**values, "case": Case(**values["case"])})


def run_case(case: Case, **task_args: Any) -> Outcome:
    """Write a planted model to a folder, run the introspection task on it, and forget it.

    Args:
        case: Which model.
        **task_args: Of the task, in place of the defaults.

    Raises:
        RuntimeError: The run did not succeed.
    """
    truth = PLANTED[case.planted]
    if case.effect is not None:
        truth = replace(truth, introspection=case.effect)
    with tempfile.TemporaryDirectory() as name, _vectors_kept_in(name):
        folder = Path(name) / "planted"
        save_planted(truth, case.seed, folder)
        (log,) = eval(
            "introbench/introspection",
            model=f"inject/{folder}",
            task_args={
                "concepts": concepts_of(case.seed),
                "documents": [*DOCUMENTS],
                "formats": FORMAT,
                "seed": case.seed,
                **task_args,
            },
            log_dir=str(Path(name) / "logs"),
            log_samples=False,
            log_realtime=False,
            score_display=False,
            display="none",
        )
    if log.status != "success" or log.results is None:
        raise RuntimeError(f"{case}: {log.status}; {log.error.message if log.error else 'no results'}")
    found = {name: each.value for score in log.results.scores for name, each in score.metrics.items()}
    said = [verdict for verdict in VERDICTS if found.get(f"verdict: {verdict}") == 1]
    return Outcome(case, said[0], *(float(found.get(name, math.nan)) for name in ("noticed", "low", "high")))


@contextmanager
def _vectors_kept_in(folder: str) -> Iterator[None]:
    """Keep the vectors of a planted model out of the user's cache: it is never seen again."""
    before = os.environ.get("INTROBENCH_CACHE")
    os.environ["INTROBENCH_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["INTROBENCH_CACHE"]
        else:
            os.environ["INTROBENCH_CACHE"] = before


def run_cases(cases: Iterable[Case], kept: Path, workers: int, **task_args: Any) -> Iterator[Outcome]:
    """Run several cases side by side; those that a file holds already are not run again.

    Args:
        cases: Which ones.
        kept: File of outcomes, one a line; new ones are added to it.
        workers: Processes, of one thread each.
        **task_args: Of the task, in place of the defaults.
    """
    wanted = list(cases)
    known = {}
    if kept.exists():
        known = {each.case: each for each in map(Outcome.from_json, kept.read_text().splitlines())}
        yield from (known[case] for case in wanted if case in known)
    processes = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a process starts
    with ProcessPoolExecutor(workers, mp_context=processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(run_case, case, **task_args) for case in wanted if case not in known]
        for each in as_completed(waiting):
            outcome = each.result()
            with kept.open("a") as file:
                file.write(outcome.to_json() + "\n")
            yield outcome
