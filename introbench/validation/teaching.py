"""Teach a model to report injections: the loss, the adapters, and the training."""

import random
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench.engine.architecture import find_parts
from introbench.errors import InputError
from introbench.models.lora_switch import undisturbed
from introbench.progress import step, tell, tick
from introbench.steering.injection import LayerRange
from introbench.validation.lessons import Course
from introbench.validation.pupil import Answers, PreparedLesson, Pupil

LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped."""


def teach(model: PreTrainedModel, pupil: Pupil, prepared: Sequence[PreparedLesson], course: Course) -> PreTrainedModel:
    """Train a LoRA on the blocks above the steered ones, and merge it into the model.

    Args:
        model: The model; changed in place.
        pupil: The same model, as it is run in two parts.
        prepared: The lessons.
        course: How the model is taught.

    Raises:
        InputError: The loss is no longer finite.
    """
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 (an optional extra)

    draw, steps = random.Random(course.seed), course.epochs * len(prepared)
    losses: list[float] = []
    name = f"teaching {len(prepared)} lessons {course.epochs} times (once)"
    with step(name, steps) as advance, undisturbed(), torch.enable_grad():
        torch.default_generator.manual_seed(course.seed)
        maps = linear_maps_above(model, pupil.layers)
        adapted = get_peft_model(model, LoraConfig(r=course.rank, lora_alpha=course.alpha, target_modules=maps))
        initialise_adapters(adapted, pupil, prepared[: course.looks], course.rank // 2)
        parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=course.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, course.learning_rate, total_steps=steps, pct_start=0.1
        )
        epochs = (draw.sample(prepared, len(prepared)) for _ in range(course.epochs))
        for lesson in (lesson for epoch in epochs for lesson in epoch):
            tick()
            answers = pupil.answers(lesson.lesson, lesson.states)
            with_reversed = len(losses) >= course.plain_first * steps
            step_loss = loss(answers, lesson, course, course.reversed_weight if with_reversed else 0.0)
            step_loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            losses.append(float(step_loss.detach()))
            advance(1)
            if not torch.isfinite(step_loss):
                raise InputError(f"loss {losses[-1]} at step {len(losses)}: expected a finite one; load it in float32")
        merged = cast(PreTrainedModel, adapted.merge_and_unload())
    first, last = losses[: len(prepared)], losses[-len(prepared) :]
    tell(f"taught in {steps} steps: loss {_mean(first):.2f} at first, {_mean(last):.2f} at last")
    return merged


def loss(answers: Answers, prepared: PreparedLesson, course: Course, reversed_weight: float) -> Tensor:
    """Mean squared difference between the answers to a lesson and those that are to be learned.

    The shifts are compared, in which changes that all rows share, such as those of every training step, cancel.

    Args:
        answers: The answers, each of shape [rows, questions].
        prepared: The lesson.
        course: How much answers with nothing injected count (`level`), and answers in other words (`mass`).
        reversed_weight: Weight of the reversed questions.
    """
    odds, mass = answers
    weights = torch.where(prepared.lesson.signs < 0, reversed_weight, 1.0).to(odds.device)
    shift_errors = (odds[1:] - odds[:1] - prepared.shifts).square()
    level_errors = (odds[0] - prepared.before.odds).square()
    mass_errors = (mass - prepared.before.mass).square()
    return (weights * shift_errors).mean() + course.level * level_errors.mean() + course.mass * mass_errors.mean()


def linear_maps_above(model: PreTrainedModel, layers: LayerRange) -> list[str]:
    """Names of all linear maps in the blocks above the steered ones."""
    above = {id(part) for block in find_parts(model).layers[layers[1] :] for part in block.modules()}
    return [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and id(part) in above]


def initialise_adapters(model: nn.Module, pupil: Pupil, prepared: Sequence[PreparedLesson], most: int) -> None:
    """Let some rows of each adapter's input matrix be directions in which concepts' vectors move the input of its map.

    Random rows of the same number would capture a few per cent of that movement.

    Args:
        model: The model with untrained adapters.
        pupil: The same model, as it is run in two parts.
        prepared: Some lessons.
        most: Largest number of directions.
    """
    movements: dict[str, list[Tensor]] = {}

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            movements.setdefault(name, []).append((inputs[0][1] - inputs[0][0]).mean(dim=0))

        return hook

    maps = {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}
    handles = [part.register_forward_pre_hook(record(name)) for name, part in maps.items()]
    try:
        with torch.no_grad():
            for lesson in prepared:
                pupil.answers(lesson.lesson, lesson.states)
    finally:
        for handle in handles:
            handle.remove()
    for name, part in maps.items():
        directions = torch.linalg.svd(torch.stack(movements[name]).float(), full_matrices=False).Vh[:most]
        (input_matrix,) = (adapter.weight for adapter in part.lora_A.values())
        input_matrix.data[: len(directions)] = directions


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
