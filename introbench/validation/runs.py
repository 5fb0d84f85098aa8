"""Run planted models through the introspection task as users run a model, and keep the verdicts."""

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
from introbench.validation.planted_truths import PLANTED, Truth

REFERENCE, NEUTRAL = "info", "neutral"
"""The document that the verdict rests on; beside it, for a model that reads documents, the one it is compared with."""
FORMAT = "yes-no"
"""Answers in words alone, which halve the time of a run."""
SCALED = "introspector"
"""The model whose effect is scaled for a power curve."""


@dataclass(frozen=True)
class Case:
    """A planted model to run.

    Attributes:
        planted: Name of the planted model.
        seed: Seed of its weights, of the concepts, and of the random vectors.
        effect: Effect size in nats in place of the default one; for `SCALED` only.
        random_dose: How strongly random directions act, in place of the model's own share; see `Truth.random_dose`.
    """

    planted: str
    seed: int
    effect: float | None = None
    random_dose: float | None = None

    @property
    def truth(self) -> Truth:
        """What the model does."""
        truth = PLANTED[self.planted]
        if self.effect is not None:
            truth = replace(truth, introspection=self.effect)
        return truth if self.random_dose is None else replace(truth, random_dose=self.random_dose)


@dataclass(frozen=True)
class Outcome:
    """The result of the instrument on a planted model.

    Attributes:
        case: The model.
        verdict: The verdict.
        noticed: Excess of introspection over control questions, in nats.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    case: Case
    verdict: str
    noticed: float
    low: float
    high: float

    def to_json(self) -> str:
        """The outcome as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Outcome":
        """The outcome that `to_json` gave this line for."""
        values = json.loads(line)
        return cls(**{**values, "case": Case(**values["case"])})


def run_case(case: Case, **task_args: Any) -> Outcome:
    """Write a planted model to a temporary folder, and run the introspection task on it.

    Args:
        case: The model.
        **task_args: Arguments of the task, in place of the defaults.

    Raises:
        RuntimeError: The run did not succeed.
    """
    truth = case.truth
    with tempfile.TemporaryDirectory() as name, _vectors_kept_in(name):
        folder = Path(name) / "planted"
        save_planted(truth, case.seed, folder)
        (log,) = eval(
            "introbench/introspection",
            model=f"inject/{folder}",
            task_args={
                "concepts": concepts_of(case.seed),
                "documents": [REFERENCE, NEUTRAL] if truth.document else REFERENCE,
                "formats": FORMAT,
                "norm_vectors": 0,
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
    metrics = {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}
    verdict = next(verdict for verdict in VERDICTS if metrics.get(f"verdict: {verdict}") == 1)
    return Outcome(case, verdict, *(float(metrics.get(name, math.nan)) for name in ("noticed", "low", "high")))


@contextmanager
def _vectors_kept_in(folder: str) -> Iterator[None]:
    """Use a folder in place of the user's disk cache, where the vectors of a temporary model would stay unused."""
    before = os.environ.get("INTROBENCH_CACHE")
    os.environ["INTROBENCH_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["INTROBENCH_CACHE"]
        else:
            os.environ["INTROBENCH_CACHE"] = before


def known_outcomes(kept: Path) -> dict[Case, Outcome]:
    """The outcomes that a file holds, one in each line; none if there is no such file."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    return {outcome.case: outcome for outcome in map(Outcome.from_json, lines)}


def run_cases(cases: Iterable[Case], kept: Path, workers: int, **task_args: Any) -> Iterator[Outcome]:
    """Run planted models in parallel; those whose outcomes a file holds are not run again.

    Args:
        cases: The models.
        kept: File with an outcome in each line; new outcomes are added to it.
        workers: Number of processes, which have one thread each.
        **task_args: Arguments of the task, in place of the defaults.

    Yields:
        The outcomes: first the known ones, then the others as they are finished.
    """
    wanted, known = list(cases), known_outcomes(kept)
    yield from (known[case] for case in wanted if case in known)
    processes = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a process starts
    with ProcessPoolExecutor(workers, mp_context=processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(run_case, case, **task_args) for case in wanted if case not in known]
        for future in as_completed(waiting):
            outcome = future.result()
            with kept.open("a") as file:
                file.write(outcome.to_json() + "\n")
            yield outcome
