"""What a task says it is going to compute is what the engine then computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from checked_readings import BATCH, TURNS, asked_of
from inspect_ai import eval

from introbench import progress
from introbench.models.checkpoint import Checkpoint
from introbench.progress import Lines, Reporter
from introbench.provider.loaded_model import LoadedModel

FEW = {"concepts": ["cats", "bread"], "documents": ["info", "none"]}

TASKS: dict[str, dict[str, Any]] = {
    "introspection": FEW
    | {"formats": ["yes-no", "one-zero"], "families": ["introspection", "always_no"], "controls": "all"},
    "identification": FEW | {"parts": "list"},
    "logit_lens": FEW | {"formats": ["yes-no"], "families": ["ambiguous"]},
    "location": {"concepts": ["cats"], "parts": ["halves", "layers"], "passages": ["valley"]},
    "model_swap": {
        "finetune": "lora:cats",
        "documents": ["info", "none"],
        "formats": ["yes-no"],
        "families": ["ambiguous"],
    },
    "sweep": {
        "concepts": ["cats", "bread", "music"],
        "documents": ["info"],
        "families": ["ambiguous"],
        "formats": ["yes-no"],
        "ranges": ["1:2", "1:3", "2:3"],
        "strengths": [2, 4, 8, 16],
    },
    "probe": FEW,
    "calibrate": {"concepts": ["cats"], "strengths": [1, 2], "samples": 2, "length": 3},
    "top_of_mind": {"concepts": ["cats"], "strengths": [1, 2], "samples": 2, "length": 3},
}


class Counting(Reporter):
    """Remembers what was planned for each part, and what was computed in it."""

    def __init__(self, screen: progress.Screen) -> None:
        super().__init__(screen)
        self.parts: list[list[float]] = []
        self.planned: list[float] = []

    def plan(self, work: float, seconds: float | None = None) -> None:
        self.planned.append(work)
        super().plan(work, seconds)

    @contextmanager
    def part(self, work: float) -> Iterator[None]:
        self.parts.append([work, 0.0])
        with super().part(work):
            yield

    def count(self, work: float) -> None:
        if self._part_ends is not None:
            self.parts[-1][1] += work
        super().count(work)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, nothing_loaded: None, own_cache: Path) -> Counting:
    reporter = Counting(Lines())
    monkeypatch.setattr(progress, "REPORTER", reporter)
    return reporter


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path) -> Callable[..., None]:
    def run(task: str, **options: Any) -> None:
        (log,) = eval(
            f"introbench/{task}",
            model=f"inject/{tiny_folder}",
            task_args=TASKS[task],
            log_dir=str(tmp_path),
            display="plain",
            **options,
        )
        assert log.status == "success"

    return run


@pytest.mark.parametrize("task", TASKS)
def test_the_work_that_is_planned_is_the_work_that_is_done(
    task: str, counting: Counting, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    run(task)
    planned, done = zip(*counting.parts, strict=True)
    assert done == planned
    assert sum(planned) == counting.planned[-1] > 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        sum(line.startswith(f"introbench: {task}: ") and "tokens through the model: about" in line for line in lines)
        == 1
    )
    through = [line for line in lines if line.startswith("introbench: introspection: document info is through; excess")]
    assert len(through) == (task == "introspection")
    assert counting.run.total == 0, "a run that is over is forgotten"


def test_questions_after_the_checked_ones_are_planned_without_their_prior_turn(
    counting: Counting, tiny_folder: Path
) -> None:
    model = LoadedModel(Checkpoint(str(tiny_folder), device="cpu"))
    for question in ("Do you detect a thought?", "Is it so?"):
        model.read(asked_of(tiny_folder, (*TURNS[:3], ("user", question), TURNS[4])), BATCH)
    (planned, done), (planned_next, done_next) = counting.parts
    assert (planned, planned_next) == (done, done_next)
    assert planned_next < planned


def test_what_a_limit_leaves_out_is_not_planned(counting: Counting, run: Callable[..., None]) -> None:
    run("introspection", limit=3)
    before, *_, after = counting.planned
    assert after < before
    assert sum(planned for planned, _ in counting.parts) == after
