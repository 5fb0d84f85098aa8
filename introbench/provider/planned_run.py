"""What a run is going to compute, told when its task is made; and the plan that progress is measured against.

Inspect may run a part of a task's samples (`--limit`, `--sample-id`), and several tasks one after the other. Its hooks
say which samples are run, which are through, and when the run is over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import anyio.to_thread
from inspect_ai.dataset import Dataset, Sample
from inspect_ai.hooks import Hooks, RunEnd, RunStart, SampleEnd, TaskStart, hooks
from inspect_ai.log import EvalSample

from introbench import progress
from introbench.analysis.noticed import ScoredTrial
from introbench.models.checkpoint import Checkpoint
from introbench.progress import duration, tell
from introbench.provider.resident import resident
from introbench.provider.workload import SECONDS_PER_TRIAL, seconds_per_block_token
from introbench.records.factors import Plan

SumUp = Callable[[Sequence[ScoredTrial]], str]
"""Says in a line what some trials say together."""


@dataclass
class PlannedRun:
    """A task that was made, and may have begun.

    Attributes:
        checkpoint: The model.
        name: Of its dataset.
        samples: What is to be run of it.
        work_of: Block tokens of some of its samples, in their order.
        work: Block tokens of what is to be run.
        seconds: How long that will take, as far as anybody knows.
        sum_up: Says what the trials under the reference document say; None for tasks that have no such line.
        eval_id: Inspect's id of the task; empty until it begins.
        first: Ids of the samples under the reference document that are still to come.
        scored: Metadata of those that are through, and of their scores.
    """

    checkpoint: Checkpoint
    name: str
    samples: Sequence[Sample]
    work_of: Callable[[Sequence[Sample]], float]
    work: float
    seconds: float
    sum_up: SumUp | None = None
    eval_id: str = ""
    first: set[str] = field(default_factory=set)
    scored: list[ScoredTrial] = field(default_factory=list)

    def begin(self, eval_id: str, sample_ids: Sequence[str | int]) -> None:
        """Take it that these of the samples are run."""
        self.eval_id = eval_id
        if len(sample_ids) < len(self.samples):
            ids = set(map(str, sample_ids))
            self.samples = [sample for sample in self.samples if str(sample.id) in ids]
            work = self.work_of(self.samples)
            self.seconds *= work / self.work if self.work else 0.0
            self.work = work
        under_reference = {str(sample.id) for sample in self.samples if _is_under_reference(sample.metadata or {})}
        if self.sum_up and len(under_reference) < len(self.samples):  # else the result itself comes at the same time
            self.first = under_reference

    def note(self, sample: EvalSample) -> str | None:
        """Take note of a sample that is through.

        Returns:
            What the trials under the reference document say, if it is the last one of them.
        """
        if self.sum_up is None or str(sample.id) not in self.first:
            return None
        self.first.remove(str(sample.id))
        self.scored += [(sample.metadata, score.metadata or {}) for score in (sample.scores or {}).values()]
        return None if self.first else self.sum_up(self.scored)


def _is_under_reference(metadata: dict[str, Any]) -> bool:
    return "plan" in metadata and metadata.get("document") in Plan.from_json(metadata["plan"]).ordered_documents[:1]


_planned: list[PlannedRun] = []


def plan_run(
    checkpoint: Checkpoint,
    dataset: Dataset,
    arms: int,
    work_of: Callable[[Sequence[Sample]], float],
    sum_up: SumUp | None = None,
) -> None:
    """Tell what a task is going to compute and how long that will take, load its model, and measure progress.

    Once a run has begun, Inspect ends with exit status 0 whatever happens to its samples. So weights are loaded before,
    while the task is made, and what cannot be loaded is refused. Only one model is resident: if tasks of another are
    waiting to be run, that one stays, and this one is loaded when its turn comes.

    Args:
        checkpoint: The model.
        dataset: The task's samples.
        arms: How many arms are run side by side.
        work_of: Block tokens of some of the samples, in their order.
        sum_up: Says what the trials under the reference document say, when they are through.

    Raises:
        InputError: The weights cannot be loaded.
    """
    _watch_runs()
    name, samples = dataset.name or "trials", list(dataset)
    work = work_of(samples)
    seconds = work * seconds_per_block_token(checkpoint) + len(samples) * SECONDS_PER_TRIAL
    tokens = round(work / checkpoint.n_layers, -3) or 1000
    tell(
        f"{name}: {len(samples):,} trials under {arms} arms, {tokens:,.0f} tokens through the model: "
        f"about {duration(seconds)}"
    )
    if all(run.checkpoint == checkpoint for run in _planned):
        resident(checkpoint)
    _planned.append(PlannedRun(checkpoint, name, samples, work_of, work, seconds, sum_up))
    _measure()


def _measure() -> None:
    """Measure progress against everything that is planned."""
    progress.plan(sum(run.work for run in _planned), sum(run.seconds for run in _planned))


class RunWatch(Hooks):
    """Follows Inspect's runs, and measures progress against what is planned."""

    async def on_run_start(self, data: RunStart) -> None:
        """Forget tasks that were made before and never run."""
        del _planned[: -len(data.task_names)]
        _measure()

    async def on_task_start(self, data: TaskStart) -> None:
        """Find out which samples are run."""
        waiting = (run for run in _planned if not run.eval_id and run.name == data.spec.dataset.name)
        if run := next(waiting, None):
            run.begin(data.eval_id, data.spec.dataset.sample_ids or [])
            _measure()
            progress.REPORTER.show()

    async def on_sample_end(self, data: SampleEnd) -> None:
        """Say what the reference document says as soon as its samples are through."""
        run = next((run for run in _planned if run.eval_id == data.eval_id), None)
        if run and str(data.sample.id) in run.first and (line := await anyio.to_thread.run_sync(run.note, data.sample)):
            tell(f"{run.name}: {line}")

    async def on_run_end(self, data: RunEnd) -> None:
        """Forget everything that was planned."""
        _planned.clear()
        progress.end_run()


@cache
def _watch_runs() -> None:
    """Follow runs from now on; hooks that are there when Inspect starts would be announced at every start."""
    hooks(name="progress", description="Measures progress against what is planned.")(RunWatch)
