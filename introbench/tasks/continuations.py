"""Trials that continue a chat under active steering: one for each concept, all strengths side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inspect_ai import Task
from inspect_ai._util.registry import registry_unqualified_name
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.published_files import read_published
from introbench.solvers.continue_steered import continue_steered
from introbench.steering.arms import Bank, bank_text
from introbench.steering.injection import Injection, Strength, parse_strength, sham
from introbench.tasks.trials import TRIALS_IN_FLIGHT, chat_messages, facts
from introbench.tasks.viewer import samples_view

ROTATIONS = 19
"""Random vectors beside which a vector must be the best: one that does nothing of its own is so once in 20 times."""

ONLY_READ = "rotation"
"""Begins the names of random vectors under which no texts are written."""

_COLUMNS = {
    "gain": "Gain of the word (nats)",
    "random_gain": "Random vectors, at most",
    "live": "Live",
    "coherent_to": "Coherent to strength no.",
    "share": "Concept words, at most",
}


def texts_task(
    name: str,
    checkpoint: Checkpoint,
    bank: Bank,
    messages: Sequence[Mapping[str, str]],
    tried: Mapping[str, Strength],
    scorer: Scorer,
    *,
    samples: int,
    length: int,
    temperature: float,
    **options: Any,
) -> Task:
    """A task that lets the model go on from a chat under every concept's vector at every strength.

    Args:
        name: Of the task.
        checkpoint: The model.
        bank: The concepts, and how many random vectors write texts.
        messages: The chat that is continued.
        tried: The strengths, by what they are called.
        scorer: What scores a concept's texts.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        temperature: Of sampling; 0 for the most likely token.
        **options: What else samples' metadata are to say.
    """
    arms = [_injections(bank, concept, tried) for concept in bank.concepts]
    names = list(arms[0])
    factors = {
        "arms": {arm: row for row, arm in enumerate(names) if not arm.startswith(ONLY_READ)},
        "rows": {each: [row for row, arm in enumerate(names) if arm.endswith(f" at {each}")] for each in tried},
        "strengths": {
            each: [arm for arm in names if arm.endswith(f" at {each}") and not arm.startswith(ONLY_READ)]
            for each in tried
        },
        "reference": next((each for each, value in tried.items() if value == bank.strength), [*tried][-1]),
        **options,
    }
    return Task(
        dataset=MemoryDataset(
            [
                Sample(
                    id=concept.replace(" ", "_"),
                    input=chat_messages(messages),
                    target=concept,
                    metadata={"concept": concept, "bank": number, **factors},
                )
                for number, concept in enumerate(bank.concepts)
            ],
            name=name,
        ),
        solver=continue_steered(
            [bank_text(list(each.values())) for each in arms],
            [1000 * bank.seed + index for index in range(samples)],
            length,
            temperature,
        ),
        scorer=scorer,
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Texts", registry_unqualified_name(scorer), _COLUMNS),
        version=1,
        metadata=facts(checkpoint, bank) | {"strength": ", ".join(tried)},
    )


def choose_strengths(value: object, default: Sequence[Strength]) -> dict[str, Strength]:
    """The strengths to try, by what they are called.

    Raises:
        InputError: One is none, or stands twice.
    """
    several = (
        default if value is None else [parse_strength(each) for each in (value if isinstance(value, list) else [value])]
    )
    named = {str(each): each for each in several}
    if len(named) < len(several) or not named:
        raise InputError(f"strengths={value!r}: expected each once; pass e.g. -T strengths=4,8,16")
    return named


def chat_to_continue(checkpoint: Checkpoint, prompts: str | None) -> tuple[dict[str, str], ...]:
    """The chat that is continued, which the model's template must carry as it is written."""
    messages = data.top_of_mind()
    if prompts:
        found = read_published(prompts)
        if len(found) != 1 or found[0].prior_messages:
            raise InputError(
                f"prompts {prompts}: {len(found)} conversations, or marked messages (add_injection); expected one "
                f"conversation without marks, which is continued; choose a file of this experiment"
            )
        messages = found[0].messages
    tokenize_chat(checkpoint.tokenizer, messages, 0)
    return messages


def _injections(bank: Bank, concept: str, tried: Mapping[str, Strength]) -> dict[str, Injection]:
    """The arms of one concept: the sham, and at every strength its vector and random ones."""
    own = tuple(vector for vector in bank.vectors if vector.concept == concept)
    arms = {"sham": sham(bank.layers)}
    for name, each in tried.items():
        whole = replace(bank, vectors=own, strength=each, random_arms=max(ROTATIONS, bank.random_arms))
        for index, injection in enumerate(whole.injections[1:]):
            random = f"random {index}" if index <= bank.random_arms else f"{ONLY_READ} {index}"
            arms[f"{'concept' if index == 0 else random} at {name}"] = injection
    return arms
