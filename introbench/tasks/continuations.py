"""Trials that continue a chat under active steering: one for each concept, all strengths side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from inspect_ai.dataset import MemoryDataset, Sample

from introbench.errors import InputError, shown
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.published_files import read_published
from introbench.records.arm import CONCEPT, NEGATED, RANDOM, READ_ONLY_RANDOM, SHAM, Arm
from introbench.records.factors import ContinuationFactors, id_of_concept
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import MODEL_CONTRAST, Injection, Strength, parse_strength, sham
from introbench.tasks.arguments import user_path
from introbench.tasks.trials import chat_messages

ROTATIONS = 19
"""Random vectors beside which a vector must be the best: one that does nothing of its own is so once in 20 times."""

TEXT_COLUMNS = {
    "gain": "Gain of the word (nats)",
    "random_gain": "Random vectors, at most",
    "live": "Live",
    "coherent_to": "Coherent to strength no.",
    "share": "Concept words, at most",
}
"""What the log viewer shows of a concept's texts: values of the score, and what a person reads above them."""


@dataclass(frozen=True)
class ContinuationTrials:
    """What a task continues, and what its solver needs.

    Attributes:
        dataset: One sample for each concept.
        arm_batches: The arm batch of each sample, as text.
        seeds: Seeds of the texts under each arm.
    """

    dataset: MemoryDataset
    arm_batches: list[str]
    seeds: list[int]


def continuation_trials(
    name: str,
    arms: ArmPlan,
    messages: Sequence[Mapping[str, str]],
    strengths: Mapping[str, Strength],
    samples: int,
    descriptions: Mapping[str, str],
    *,
    opposites: bool = False,
) -> ContinuationTrials:
    """A chat that goes on under every concept's vector at every strength.

    Args:
        name: Of the dataset.
        arms: The concepts, and how many random vectors write texts.
        messages: The chat that is continued.
        strengths: The strengths, by what they are called.
        samples: Texts for each vector and strength.
        descriptions: What is looked for in the texts, for concepts whose name it is not.
        opposites: Whether texts are written under the opposite of vectors that lead to a fine-tune, too.
    """
    reference = next((label for label, strength in strengths.items() if strength == arms.strength), [*strengths][-1])
    trials, batches = [], []
    for number, concept in enumerate(arms.concepts):
        by_name, batch = _arms_of(arms, concept, strengths, opposites)
        batches.append(batch.to_text())
        factors = ContinuationFactors(
            concept=concept,
            arms={arm_name: arm for arm_name, arm in by_name.items() if arm.kind != READ_ONLY_RANDOM},
            arm_batch=number,
            rows={
                label: [arm.row for arm in by_name.values() if arm.place == label and arm.kind != NEGATED]
                for label in strengths
            },
            strengths={
                label: [
                    arm_name
                    for arm_name, arm in by_name.items()
                    if arm.place == label and arm.kind in (CONCEPT, RANDOM)
                ]
                for label in strengths
            },
            reference=reference,
            description=descriptions.get(concept, ""),
        )
        trials.append(
            Sample(
                id=id_of_concept(concept),
                input=chat_messages(messages),
                target=concept,
                metadata=factors.to_json(),
            )
        )
    seeds = [1000 * arms.seed + index for index in range(samples)]
    return ContinuationTrials(MemoryDataset(trials, name=name), batches, seeds)


def choose_strengths(value: object, default: Sequence[Strength]) -> dict[str, Strength]:
    """The strengths to try, by what they are called.

    Raises:
        InputError: One is none, or stands twice.
    """
    given = value if isinstance(value, list | tuple) else [value]
    strengths = default if value is None else [parse_strength(strength) for strength in given]
    named = {str(strength): strength for strength in strengths}
    if len(named) < len(strengths) or not named:
        raise InputError(f"strengths={shown(value)}: expected each once; pass e.g. -T strengths=4,8,16")
    return named


def chat_to_continue(checkpoint: Checkpoint, prompts: str | None) -> tuple[dict[str, str], ...]:
    """The chat that is continued, which the model's template must carry as it is written."""
    messages = data.top_of_mind()
    if prompts:
        published = read_published(user_path(prompts))
        if len(published) != 1 or published[0].prior_messages:
            raise InputError(
                f"prompts {prompts}: {len(published)} conversations, or marked messages (add_injection); expected one "
                f"conversation without marks, which is continued; choose a file of this experiment"
            )
        messages = published[0].messages
    tokenize_chat(checkpoint.tokenizer, messages, 0)
    return messages


def _arms_of(
    arms: ArmPlan, concept: str, strengths: Mapping[str, Strength], opposites: bool
) -> tuple[dict[str, Arm], ArmBatch]:
    """The arms of one concept: the sham, and at every strength its vector and random ones.

    Beside a vector that leads to a fine-tune, its opposite, if wanted: it leads away from the fine-tune.
    """
    (vector,) = (vector for vector in arms.vectors if vector.concept == concept)
    rotations = max(ROTATIONS, arms.random_arms)
    vectors = [vector, *(replace(vector, seed=arms.seed, draw=draw) for draw in range(rotations))]
    named, injections = {"sham": Arm(SHAM, 0)}, [sham(arms.layers)]
    for label, strength in strengths.items():
        for index, injected in enumerate(vectors):
            kind = CONCEPT if index == 0 else RANDOM if index <= arms.random_arms else READ_ONLY_RANDOM
            name = CONCEPT if index == 0 else f"{kind} {index}"
            named[f"{name} at {label}"] = Arm(kind, len(injections), index, place=label)
            injections.append(Injection(injected, arms.layers, strength, arms.steerings[0]))
        if opposites and vector.method == MODEL_CONTRAST:
            named[f"{NEGATED} at {label}"] = Arm(NEGATED, len(injections), place=label)
            injections.append(Injection(vector, arms.layers, strength.times(-1), arms.steerings[0]))
    return named, ArmBatch(tuple(injections))
