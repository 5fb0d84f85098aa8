"""Choose the control questions whose baselines are nearest to those of introspection questions.

The rule rests on what the model answers with nothing injected under the reference document, and on nothing else. In a
kind of answers, a question's baseline is its mean over the kind's formats; the distance of a control question is that
from its baseline to the nearest one of an introspection question in that kind, averaged over the kinds in which it is
asked. The `FEWEST_PER_KIND` nearest of each kind are kept, then the nearest of all others.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from introbench.errors import InputError
from introbench.prompts.conversation import Conversation
from introbench.prompts.schema import SALIENCE, reference_document
from introbench.tasks.arguments import parse_count

FEWEST_PER_KIND = 3
"""Control questions that each kind of answers keeps at least: with fewer, no line is fitted to them."""


@dataclass(frozen=True)
class NearControls:
    """The control questions that were chosen.

    Attributes:
        conversations: All conversations but those that ask other control questions.
        kept: Distance of each control question that is asked, in nats, by its name; the nearest first.
        left_out: Likewise for those that are not asked.
    """

    conversations: list[Conversation]
    kept: Mapping[str, float]
    left_out: Mapping[str, float]

    @property
    def facts(self) -> dict[str, Any]:
        """What a log says about the choice."""
        kept, left_out = (
            {name: round(distance, 3) if math.isfinite(distance) else None for name, distance in distances.items()}
            for distances in (self.kept, self.left_out)
        )
        return {"controls_near": {"kept": kept, "left_out": left_out}}


def near_controls(
    conversations: Sequence[Conversation],
    number: object,
    read_baselines: Callable[[Sequence[Conversation]], Mapping[str, float]],
) -> NearControls:
    """Keep the control questions that are nearest to introspection, under every document.

    Args:
        conversations: Everything that might be asked.
        number: How many control questions to keep, as a user gave it.
        read_baselines: Returns the log-odds of yes with nothing injected, by the conversation's id; called once, after
            all arguments have been checked.

    Raises:
        InputError: The number is no whole number, or too small; or no introspection questions are asked.
    """
    reference = reference_document([str(conversation.factors["document"]) for conversation in conversations])
    under_reference = [
        conversation
        for conversation in conversations
        if conversation.factors["document"] == reference and conversation.factors["family"] != SALIENCE
    ]
    controls = {_question(conversation) for conversation in under_reference if not _is_introspective(conversation)}
    least = FEWEST_PER_KIND * len({conversation.factors["answer_kind"] for conversation in under_reference})
    keep = parse_count(number, "controls_near", most=max(least, len(controls)), least=least)
    if not any(_is_introspective(conversation) for conversation in under_reference):
        raise InputError(
            "controls_near: no introspection questions are asked; expected some, to choose control questions near "
            "them; add introspection to -T families"
        )
    distances = _distances(under_reference, read_baselines(under_reference))
    kinds = defaultdict(list)
    for question, by_kind in distances.items():
        for kind in by_kind:
            kinds[kind].append(question)
    mean = {question: float(np.mean([*by_kind.values()])) for question, by_kind in distances.items()}
    nearest_first = sorted(mean, key=lambda question: mean[question])
    first = {
        question
        for of_kind in kinds.values()
        for question in sorted(of_kind, key=lambda question: mean[question])[:FEWEST_PER_KIND]
    }
    others = [question for question in nearest_first if question not in first]
    kept = first | {*others[: keep - len(first)]}
    return NearControls(
        [
            conversation
            for conversation in conversations
            if _question(conversation) in kept or _question(conversation) not in mean
        ],
        {question: mean[question] for question in nearest_first if question in kept},
        {question: mean[question] for question in nearest_first if question not in kept},
    )


def _distances(conversations: Sequence[Conversation], baselines: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """For each control question and kind of answers, how far the nearest introspection question is, in nats."""
    formats: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for conversation in conversations:
        kind = str(conversation.factors["answer_kind"])
        formats[kind, _question(conversation), _is_introspective(conversation)].append(baselines[conversation.id])
    introspection: dict[str, list[float]] = defaultdict(list)
    for (kind, _, is_introspective), values in formats.items():
        if is_introspective and math.isfinite(mean := float(np.mean(values))):
            introspection[kind].append(mean)
    distances: dict[str, dict[str, float]] = defaultdict(dict)
    for (kind, question, is_introspective), values in formats.items():
        if not is_introspective:
            away = [abs(float(np.mean(values)) - baseline) for baseline in introspection[kind]]
            nearest = min(away, default=math.inf)
            distances[question][kind] = nearest if math.isfinite(nearest) else math.inf
    return dict(distances)


def _question(conversation: Conversation) -> str:
    return str(conversation.factors["question"])


def _is_introspective(conversation: Conversation) -> bool:
    return bool(conversation.factors["family"] == "introspection")
