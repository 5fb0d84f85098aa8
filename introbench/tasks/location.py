"""Where a thought is placed: what is read meanwhile, which tokens and layers are steered, and what is asked about it.

Each part has some places, and an injection at every one of them: the same vector, the same tokens of question, and (but
for the strengths) the same amount of noise. Which place it was, only the model's state can tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inspect_ai.dataset import MemoryDataset, Sample

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.conversation import Conversation, checked
from introbench.prompts.location import (
    LEVELS,
    example_levels,
    exchanges,
    location_conversations,
    one_message,
    sentence_spans,
)
from introbench.prompts.schema import LOCATION_PLACES
from introbench.prompts.token_spans import Stretch
from introbench.records.arm import CONCEPT, RANDOM, SHAM, Arm
from introbench.records.factors import Plan
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import Injection, LayerRange, Span, Strength, VectorRecipe, sham
from introbench.tasks.trials import Questions, Trials, question_groups, trial

FAINTER = 0.5
"""Share of the strength that the fainter one of two sentences gets."""

FEWEST_LAYERS = 4


@dataclass(frozen=True)
class Site:
    """Where and how strongly a vector is injected.

    Attributes:
        layers: Half-open range of decoder blocks.
        strength: Scale of the unit vectors.
        spans: The steered tokens and their shares of the strength.
    """

    layers: LayerRange
    strength: Strength
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Scene:
    """One part on one passage: what is read, and where a thought may be placed in it.

    Attributes:
        part: The part's name.
        passage: The passage's name.
        conversations: What is asked: every wording in every order of the labels.
        sites: By place.
    """

    part: str
    passage: str
    conversations: tuple[Conversation, ...]
    sites: Mapping[str, Site]

    def batch(self, vectors: Sequence[VectorRecipe], seed: int) -> ArmBatch:
        """The batch, row by row: the sham; then, for each concept, its vector at every place and a random one there.

        Args:
            vectors: The concepts' vectors.
            seed: Of the random vectors.
        """
        return ArmBatch(
            (
                sham(min(site.layers for site in self.sites.values())),
                *(
                    Injection(vector, site.layers, site.strength, spans=site.spans)
                    for concept in vectors
                    for vector in (concept, replace(concept, seed=seed))
                    for site in self.sites.values()
                ),
            )
        )

    def arms(self, concept: int) -> dict[str, Arm]:
        """The arms of a trial about the n-th concept of a batch by name, with their rows."""
        places = [(kind, place) for kind in (CONCEPT, RANDOM) for place in self.sites]
        first = 1 + concept * len(places)
        placed = {f"{kind} at {place}": Arm(kind, first + n, place=place) for n, (kind, place) in enumerate(places)}
        return {"sham": Arm(SHAM, 0), **placed}


def early_and_late(n_layers: int) -> dict[str, LayerRange]:
    """Two ranges of blocks, of a third of the model each.

    Early begins at block 1, as control-vector files do: what block 0 gives is still the embedding, more or less. Late
    ends a sixth of the model before its last block: what is added to a block's output reaches the cache through the
    keys and values of later blocks only, so that the last blocks would leave no trace that a question could find.

    Raises:
        InputError: The model has too few layers.
    """
    if n_layers < FEWEST_LAYERS:
        raise InputError(
            f"parts=layers: the model has {n_layers} layers; expected {FEWEST_LAYERS} or more; choose other parts"
        )
    length, end = n_layers // 3, n_layers - max(1, n_layers // 6)
    return {"early": (1, 1 + length), "late": (end - length, end)}


def scene(
    tokenizer: Any,
    part: str,
    passage: str,
    *,
    steering: ArmPlan,
    by_depth: Mapping[str, ArmPlan],
    replicates: int,
    system: str | None,
) -> Scene:
    """One part on one passage.

    Args:
        tokenizer: The model's tokenizer; every conversation is checked with it.
        part: Name of the part.
        passage: Name of the passage.
        steering: Steered layers and strength; its seed is that of the orders.
        by_depth: The same for early and for late layers, for the part that compares them.
        replicates: How often every option stands at each label.
        system: Content of the system turn, or None for no system turn.

    Raises:
        InputError: The tokenizer or the chat template does not suit the experiment.
    """
    told = data.location_parts()[part]
    levels = example_levels(passage, steering.seed) if part == "strength" else []
    prior, texts = exchanges(told, passage, levels) if levels else one_message(told, passage)
    if system is not None:
        prior = ({"role": "system", "content": system}, *prior)
        texts = [(turn + 1, sentences) for turn, sentences in texts]
    conversations = tuple(
        checked(tokenizer, conversation)
        for conversation in location_conversations(told, passage, prior, replicates, steering.seed)
    )
    spans = sentence_spans(tokenizer, conversations[0].messages, len(prior), texts)
    sites = {
        place: _site(by_depth.get(place, steering) if part == "layers" else steering, shares)
        for place, shares in _shares(part, spans, levels).items()
    }
    return Scene(part, passage, conversations, sites)


def _shares(part: str, spans: Sequence[Stretch], levels: Sequence[str]) -> dict[str, list[Span]]:
    """Which tokens are steered, and by how much, if the thought is at each of the places."""
    places = LOCATION_PLACES[part]
    begin, end = spans[0][0], spans[-1][1]
    if part == "halves":  # as many tokens each: the middle one of an odd number is in neither
        half = (end - begin) // 2
        return {"first": [(begin, begin + half, 1.0)], "second": [(end - half, end, 1.0)]}
    if part == "layers":
        return {place: [(begin, end, 1.0)] for place in places}
    if part == "stronger":
        two = {"second": spans[1], "fourth": spans[3]}
        return {place: [(*span, 1.0 if where == place else FAINTER) for where, span in two.items()] for place in places}
    if part == "strength":
        return {
            place: [(*span, LEVELS[level]) for span, level in zip(spans, (*levels, place), strict=True)]
            for place in places
        }
    return {place: [(*span, 1.0)] for place, span in zip(places, spans, strict=True)}


def _site(steering: ArmPlan, shares: Sequence[Span]) -> Site:
    return Site(steering.layers, steering.strength, tuple(shares))


def location_trials(scenes: Sequence[Scene], arms: ArmPlan) -> Trials:
    """Every conversation of every scene about every concept, in the order that lets an engine reuse most.

    Args:
        scenes: What is asked, and where a thought may be placed.
        arms: The concepts.
    """
    samples: list[Sample] = []
    batches: list[str] = []
    questions: Questions = {}
    plan = Plan(more={"parts": {scene.part: len(scene.sites) for scene in scenes}})
    for scene in scenes:
        # Several parts have the same prior turn, but arm batches of their own: none is to run the others' questions.
        of_scene, groups = question_groups(scene.conversations, f"{scene.part}.{scene.passage}")
        questions |= of_scene
        for part in arms.split():
            samples += [
                trial(conversation, groups, concept, len(batches), scene.arms(index), plan)
                for conversation in scene.conversations
                for index, concept in enumerate(part.concepts)
            ]
            batches.append(scene.batch(part.vectors, arms.seed).to_text())
    return Trials(MemoryDataset(samples, name="location"), batches, questions)
