"""A real model that is taught to report injections: `python -m introbench.validation.taught`.

A small LoRA learns to tell a concept's vector, added while a prior turn is read, from nothing and from random
vectors, and to leave all other answers as they are. None of its concepts and none of its questions is used by an
experiment, so what the introspection task then finds is what the model makes of concepts and questions that are new.
"""

import argparse
import hashlib
import importlib.metadata
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from introbench import data
from introbench.adapter import PACKAGE, require_peft, undisturbed
from introbench.bank import UNKNOWN_MODEL_STRENGTH
from introbench.cache import cache_dir, write_atomically
from introbench.chat import tokenize_chat
from introbench.checkpoint import Checkpoint, weights_fingerprint
from introbench.conversations import Turns, yes_no
from introbench.embedded import NAME, is_intact, write_with_digests
from introbench.engine import Engine
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import entering, looking_at, skipping, steering
from introbench.errors import InputError
from introbench.injection import LayerRange, VectorRecipe, parse_layers, parse_strength
from introbench.progress import heartbeat, listen, tell, tick
from introbench.vectors import VectorLibrary
from introbench.vectors.random import random_rotation


@dataclass(frozen=True)
class Course:
    """How a model is taught.

    Attributes:
        lessons: How many lessons there are.
        epochs: How often each is repeated.
        plain: Introspection questions of a lesson whose yes says that something was noticed.
        reversed: Those whose no does.
        controls: Questions about other matters.
        about_itself: Questions about the model that have nothing to do with injections.
        salience: Questions on whether something stands out in the text.
        shift: How far introspection questions are to move toward "noticed", in nats.
        plain_first: Share of the steps in which reversed questions do not count yet. Questions of both kinds ask for
            opposite shifts, which cancel for as long as the model does not tell them apart.
        reversed_weight: Their weight from then on, so that they do not undo what was learned.
        level: Weight of what is answered with nothing injected, beside how far injections move it.
        rank: Of the LoRA.
        alpha: Its scale is this divided by its rank.
        looks: Lessons that its beginning is found with; see `Teacher`.
        learning_rate: At most; it rises at first and falls to 0 in the end.
        openings: Every how manieth reply opening the vectors are extracted with. A third of them give nearly the same.
        seed: Of everything that is drawn.
    """

    lessons: int = 48
    epochs: int = 3
    plain: int = 3
    reversed: int = 3
    controls: int = 1
    about_itself: int = 1
    salience: int = 4
    shift: float = 3.0
    plain_first: float = 0.25
    reversed_weight: float = 1.0
    level: float = 0.1
    rank: int = 16
    alpha: int = 32
    looks: int = 8
    learning_rate: float = 2e-3
    openings: int = 3
    seed: int = 0


LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Exercise:
    """A question of a lesson.

    Attributes:
        tokens: Its tokens, the prefill of the answer included.
        yes: Tokens of the yes forms.
        no: Tokens of the no forms.
        sign: 1 if a yes says that something was noticed, -1 if a no does, 0 for a control question.
    """

    tokens: tuple[int, ...]
    yes: tuple[int, ...]
    no: tuple[int, ...]
    sign: int


@dataclass(frozen=True)
class Lesson:
    """A prior turn and questions that are asked after it, each as if it were the only one.

    Attributes:
        prior: Tokens of the prior turn.
        asked: The questions.
    """

    prior: tuple[int, ...]
    asked: tuple[Exercise, ...]

    @property
    def signs(self) -> Tensor:
        """The questions' signs, [questions]."""
        return torch.tensor([float(each.sign) for each in self.asked])

    @property
    def ends(self) -> list[int]:
        """Where each question is answered, as places in the row."""
        lengths = accumulate((len(each.tokens) for each in self.asked), initial=len(self.prior))
        return [end - 1 for end in lengths][1:]

    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of it as one row of tokens.

        Returns:
            Ids [1, tokens], positions [1, tokens], and the mask of attention [1, 1, tokens, tokens]: 0, or minus
            infinity where a token is not seen.
        """
        ids, places, owners = [*self.prior], [*range(len(self.prior))], [0] * len(self.prior)
        for number, each in enumerate(self.asked, start=1):
            ids += each.tokens
            places += range(len(self.prior), len(self.prior) + len(each.tokens))
            owners += [number] * len(each.tokens)
        owner = torch.tensor(owners)
        seen = (owner[None, :] == 0) | (owner[None, :] == owner[:, None])
        mask = torch.zeros(len(ids), len(ids)).masked_fill(~seen.tril(), -torch.inf)
        return torch.tensor([ids]), torch.tensor([places]), mask[None, None]


@dataclass(frozen=True)
class Prepared:
    """A lesson, and all of it that stays the same however much was learned.

    Attributes:
        lesson: The lesson.
        states: What leaves the last steered block under each injection, [rows, tokens, hidden]; nothing is injected in
            the first row.
        before: Log-odds of yes that the untaught model gives with nothing injected, [questions].
        shifts: How far each answer is to move from there in the other rows, [rows - 1, questions].
    """

    lesson: Lesson
    states: Tensor
    before: Tensor
    shifts: Tensor


class Pupil:
    """A model that is taught: its blocks up to the last steered one stay as they are, those above have adapters.

    Args:
        model: The model.
        layers: The steered blocks; neither the first block of all nor the last one is among them.

    Attributes:
        layers: The steered blocks.
    """

    def __init__(self, model: PreTrainedModel, layers: LayerRange) -> None:
        self._parts = find_parts(model)
        if not 0 < layers[0] < layers[1] < len(self._parts.layers):
            raise InputError(
                f"layers={layers[0]}:{layers[1]}: expected blocks below and above these; pass the middle third"
            )
        self.layers = layers

    def states(self, lesson: Lesson, deltas: Mapping[int, Tensor]) -> Tensor:
        """The residual stream after the last steered block, [rows, tokens, hidden].

        Args:
            lesson: The lesson.
            deltas: What is added to the outputs of blocks at the tokens of the prior turn, by block [rows, hidden].
        """
        (start, stop), blocks = self.layers, self._parts.layers
        run = self._run(lesson)
        tokens = range(run["input_ids"].shape[1])
        # All rows have the same tokens, so below the injection they are one.
        with torch.no_grad(), skipping(blocks[start:], False), looking_at(blocks, [start - 1], tokens) as below:
            self._parts.decoder(**run)
        with (
            torch.no_grad(),
            skipping((*blocks[:start], *blocks[stop:]), False),
            entering(blocks[start], below[start - 1], len(deltas[start])),
            steering(blocks, deltas, slice(0, len(lesson.prior))),
            looking_at(blocks, [stop - 1], tokens) as seen,
        ):
            self._parts.decoder(**run)
        return seen[stop - 1]

    def log_odds(self, lesson: Lesson, states: Tensor) -> Tensor:
        """Log-odds of yes, [rows, questions].

        Args:
            lesson: The lesson.
            states: What left the last steered block, [rows, tokens, hidden].
        """
        above, blocks = self.layers[1], self._parts.layers
        with skipping(blocks[:above], False), entering(blocks[above], states, len(states)):
            answering = self._parts.decoder(**self._run(lesson)).last_hidden_state[:, lesson.ends]
        scores = self._parts.unembedding(answering)
        odds = [
            scores[:, place, list(each.yes)].logsumexp(dim=-1) - scores[:, place, list(each.no)].logsumexp(dim=-1)
            for place, each in enumerate(lesson.asked)
        ]
        return torch.stack(odds, dim=1)

    def _run(self, lesson: Lesson) -> dict[str, Any]:
        ids, places, mask = (each.to(self._parts.device) for each in lesson.packed())
        return {"input_ids": ids, "position_ids": places, "attention_mask": mask, "use_cache": False}


def lessons(tokenizer: Any, course: Course) -> Iterator[Lesson]:
    """Lessons without end, drawn from the wordings in datasets/taught.yaml."""
    told, draw = data.taught(), random.Random(course.seed)
    while True:
        parts = draw.choice(told.settings), draw.choice(("", *told.documents))
        prior: Turns = (
            *draw.choice(([], [{"role": "system", "content": ""}])),
            {"role": "user", "content": "\n\n".join(part for part in parts if part)},
            {"role": "assistant", "content": draw.choice(told.replies)},
        )
        questions = [
            *((text, 1) for text in draw.sample(told.introspection, course.plain)),
            *((text, -1) for text in draw.sample(told.reversed, course.reversed)),
            *((text, 0) for text in draw.sample(told.controls, course.controls)),
            *((text, 0) for text in draw.sample(told.about_itself, course.about_itself)),
            *((text, 0) for text in draw.sample(told.salience, course.salience)),
        ]
        asked = []
        for text, sign in questions:
            form = next(iter(data.answer_formats().values()))  # words: which label stands for yes is another lesson
            turns = (
                {"role": "user", "content": f"{text} {form.instruction}"},
                {"role": "assistant", "content": form.prefill},
            )
            chat = tokenize_chat(tokenizer, (*prior, *turns), len(prior))
            forms, _ = yes_no(form).tokens(tokenizer, chat)
            yes, no = (tuple(token for _, token in forms[name]) for name in ("yes", "no"))
            asked.append(Exercise(chat.question_tokens, yes, no, sign))
        yield Lesson(chat.prior_tokens, tuple(asked))


def arms(vectors: Tensor, norm: float, number: int, course: Course) -> Tensor:
    """What is added in each row of a lesson: nothing, a concept's vector, and a random one that comes only once.

    Args:
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        number: Of the lesson.
        course: How the model is taught.

    Returns:
        [3, blocks, hidden]
    """
    names = data.taught().concepts
    concept, other = random.Random(f"{course.seed} {number}").sample(range(len(names)), 2)
    turned = random_rotation(vectors[other], names[other], course.seed, number)
    return norm * torch.stack([torch.zeros_like(turned), vectors[concept], turned])


def prepare(pupil: Pupil, tokenizer: Any, vectors: Tensor, norm: float, course: Course) -> list[Prepared]:
    """Every lesson, as far as it can be run before anything is learned.

    Args:
        pupil: The untaught model.
        tokenizer: Its tokenizer.
        vectors: Unit vectors of the concepts, [concepts, blocks, hidden].
        norm: Norm of what is added.
        course: How the model is taught.
    """
    prepared = []
    for number, lesson in zip(range(course.lessons), lessons(tokenizer, course), strict=False):
        tick()
        added = arms(vectors, norm, number, course)
        with torch.no_grad():
            states = pupil.states(lesson, {block: added[:, block] for block in range(*pupil.layers)})
            before = pupil.log_odds(lesson, states[:1])[0]
        shifts = torch.zeros(2, len(lesson.asked))
        shifts[0] = course.shift * lesson.signs
        prepared.append(Prepared(lesson, states, before, shifts.to(before.device)))
    return prepared


def loss(odds: Tensor, each: Prepared, level: float, reversed_weight: float) -> Tensor:
    """How far answers are from what is to be learned.

    It is the shifts that are compared: what all rows have in common, which changes at every step, cancels in them.

    Args:
        odds: The answers, [rows, questions].
        each: The lesson.
        level: Weight of what is answered with nothing injected.
        reversed_weight: Weight of the reversed questions.
    """
    weights = torch.where(each.lesson.signs < 0, reversed_weight, 1.0).to(odds.device)
    missed = (odds[1:] - odds[:1] - each.shifts).square()
    return (weights * missed).mean() + level * (odds[0] - each.before).square().mean()


def teach(model: PreTrainedModel, pupil: Pupil, prepared: Sequence[Prepared], course: Course) -> PreTrainedModel:
    """Train a LoRA on the blocks above the steered ones, and merge it into the model.

    Args:
        model: The model; changed in place.
        pupil: The same, as it is taught.
        prepared: What it is to learn.
        course: How.

    Raises:
        InputError: The loss is no longer finite.
    """
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 (an optional extra)

    draw, steps = random.Random(course.seed), course.epochs * len(prepared)
    losses: list[float] = []
    with undisturbed(), torch.enable_grad():
        torch.default_generator.manual_seed(course.seed)
        config = LoraConfig(r=course.rank, lora_alpha=course.alpha, target_modules=maps_above(model, pupil.layers))
        adapted = get_peft_model(model, config)
        look_where_injections_show(adapted, pupil, prepared[: course.looks], course.rank // 2)
        parameters = [each for each in adapted.parameters() if each.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=course.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, course.learning_rate, total_steps=steps, pct_start=0.1
        )
        for each in [each for _ in range(course.epochs) for each in draw.sample(prepared, len(prepared))]:
            tick()
            odds = pupil.log_odds(each.lesson, each.states)
            begun = len(losses) >= course.plain_first * steps
            missed = loss(odds, each, course.level, course.reversed_weight if begun else 0.0)
            missed.backward()
            torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            losses.append(float(missed.detach()))
            if not torch.isfinite(missed):
                raise InputError(f"loss {losses[-1]} at step {len(losses)}: expected a finite one; load it in float32")
        merged = cast(PreTrainedModel, adapted.merge_and_unload())
    epoch = len(prepared)
    tell(f"taught in {steps} steps: loss {_mean(losses[:epoch]):.2f} at first, {_mean(losses[-epoch:]):.2f} at last")
    return merged


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def maps_above(model: PreTrainedModel, layers: LayerRange) -> list[str]:
    """Names of all linear maps in the blocks above the steered ones."""
    above = {id(part) for block in find_parts(model).layers[layers[1] :] for part in block.modules()}
    return [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and id(part) in above]


def look_where_injections_show(model: nn.Module, pupil: Pupil, prepared: Sequence[Prepared], most: int) -> None:
    """Let a part of each adapter begin at the directions in which concepts' vectors move what its map is given.

    A random beginning of this rank would see a few per cent of that.

    Args:
        model: The model, with adapters that have learned nothing yet.
        pupil: The same, as it is taught.
        prepared: Some lessons.
        most: How many directions.
    """
    moved: dict[str, list[Tensor]] = {}

    def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            moved.setdefault(name, []).append((given[0][1] - given[0][0]).mean(dim=0))

        return hook

    maps = {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}
    handles = [part.register_forward_pre_hook(look(name)) for name, part in maps.items()]
    try:
        with torch.no_grad():
            for each in prepared:
                pupil.log_odds(each.lesson, each.states)
    finally:
        for handle in handles:
            handle.remove()
    for name, part in maps.items():
        directions = torch.linalg.svd(torch.stack(moved[name]).float(), full_matrices=False).Vh[:most]
        (begins_at,) = (each.weight for each in part.lora_A.values())
        begins_at.data[: len(directions)] = directions


def taught(checkpoint: Checkpoint, course: Course | None = None) -> Path:
    """Folder of a model that was taught to report injections: made on the first call, kept in the user's cache.

    Args:
        checkpoint: The untaught model.
        course: How it is taught.

    Raises:
        InputError: The packages that training needs are missing, the cache cannot be written to, or training does not
            converge.
    """
    course = course or Course()
    require_peft("that is taught")
    model, tokenizer = checkpoint.load(), checkpoint.tokenizer
    key = {
        "weights": weights_fingerprint(model),
        "wordings": asdict(data.taught()),
        "formats": [asdict(each) for each in data.answer_formats().values()],
        "template": tokenizer.chat_template,
        "course": asdict(course),
        "peft": importlib.metadata.version(PACKAGE),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = cache_dir() / "taught" / digest[:32]
    if folder.exists():
        if is_intact(folder):
            return folder
        tell(f"the cached model {folder} is corrupt; teaching it again")
    pupil = Pupil(model, parse_layers(None, checkpoint.n_layers))
    with heartbeat(f"preparing {course.lessons} lessons (once)"):
        vectors, norm = _vectors(model, tokenizer, pupil.layers, course)
        prepared = prepare(pupil, tokenizer, vectors, norm, course)
    with heartbeat(f"teaching each of them {course.epochs} times (once)"):
        made = teach(model, pupil, prepared, course)

    def save(place: Path) -> None:
        made.save_pretrained(place)
        tokenizer.save_pretrained(place)

    if write_atomically(folder, lambda target: write_with_digests(target, save)) is None:
        raise InputError(f"{folder}: cannot be written; expected a cache directory with room; set INTROBENCH_CACHE")
    return folder


def _vectors(model: PreTrainedModel, tokenizer: Any, layers: LayerRange, course: Course) -> tuple[Tensor, float]:
    """The training concepts' vectors [concepts, blocks, hidden], and the norm that they are added with by default."""
    openings = data.openings()[:: course.openings]
    library = VectorLibrary(Engine(model), tokenizer, weights_fingerprint(model), openings)
    vectors = [library.directions(VectorRecipe("pca_center", concept)) for concept in data.taught().concepts]
    return torch.stack(vectors), parse_strength(UNKNOWN_MODEL_STRENGTH).number * library.residual_norm(layers)


def main() -> None:
    """Teach the embedded model, and print the folder where it is."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation.taught", description=__doc__)
    parser.add_argument("--out", type=Path, help="copy the model to this folder, beside the cache")
    options = parser.parse_args()
    # What is printed is the folder alone, for a shell to take.
    listen(lambda line: print(f"introbench: {line}", file=sys.stderr, flush=True))
    folder = taught(Checkpoint(NAME))
    if options.out:
        shutil.copytree(folder, options.out, dirs_exist_ok=True)
    print(options.out or folder)


if __name__ == "__main__":
    main()
