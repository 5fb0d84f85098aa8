"""What a run is going to compute, told when its task is made; and the plan that progress is measured against.

Inspect may run a part of a task's samples (`--limit`, `--sample-id`), and several tasks one after the other. Its hooks
say which samples are run, and when a run is over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from inspect_ai.dataset import Dataset, Sample
from inspect_ai.hooks import Hooks, RunEnd, RunStart, TaskStart, hooks

from introbench.models.checkpoint import Checkpoint
from introbench.progress import REPORTER, duration, end_run, plan, tell
from introbench.provider.workload import seconds_per_block_token


@dataclass
class PlannedRun:
    """A task that was made, and may have begun.

    Attributes:
        name: Of its dataset.
        samples: What is to be run of it.
        work_of: Block tokens of some of its samples, in their order.
        work: Block tokens of what is to be run.
        seconds: How long that will take, as far as anybody knows.
        begun: Whether Inspect has begun with it.
    """

    name: str
    samples: Sequence[Sample]
    work_of: Callable[[Sequence[Sample]], float]
    work: float
    seconds: float
    begun: bool = False

    def begin(self, sample_ids: Sequence[str | int]) -> None:
        """Take it that these of the samples are run."""
        self.begun = True
        if len(sample_ids) < len(self.samples):
            ids = {str(sample_id) for sample_id in sample_ids}
            self.samples = [sample for sample in self.samples if str(sample.id) in ids]
            work = self.work_of(self.samples)
            self.seconds *= work / self.work if self.work else 0.0
            self.work = work


_planned: list[PlannedRun] = []


def plan_run(checkpoint: Checkpoint, dataset: Dataset, arms: int, work_of: Callable[[Sequence[Sample]], float]) -> None:
    """Tell what a task is going to compute and how long that will take, and measure progress against it.

    Args:
        checkpoint: The model.
        dataset: The task's samples.
        arms: How many arms are run side by side.
        work_of: Block tokens of some of the samples, in their order.
    """
    _watch_runs()
    name, samples = dataset.name or "trials", list(dataset)
    work = work_of(samples)
    seconds = work * seconds_per_block_token(checkpoint)
    _planned.append(PlannedRun(name, samples, work_of, work, seconds))
    tokens = round(work / checkpoint.n_layers, -3) or 1000
    tell(
        f"{name}: {len(samples):,} trials under {arms} arms, {tokens:,.0f} tokens through the model: "
        f"about {duration(seconds)}"
    )
    _measure()


def _measure() -> None:
    """Measure progress against everything that is planned."""
    plan(sum(run.work for run in _planned), sum(run.seconds for run in _planned))


@cache
def _watch_runs() -> None:
    """Follow Inspect's runs from now on; hooks that are there when Inspect starts would be announced at every start."""

    @hooks(name="progress", description="Measures progress against what is planned.")
    class Watch(Hooks):  # pyright: ignore[reportUnusedClass]
        async def on_run_start(self, data: RunStart) -> None:
            del _planned[: -len(data.task_names)]  # tasks that were made and never run
            _measure()

        async def on_task_start(self, data: TaskStart) -> None:
            ids = data.spec.dataset.sample_ids or []
            waiting = (run for run in _planned if not run.begun and run.name == data.spec.dataset.name)
            if run := next(waiting, None):
                run.begin(ids)
                _measure()
                REPORTER.show()

        async def on_run_end(self, data: RunEnd) -> None:
            _planned.clear()
            end_run()
