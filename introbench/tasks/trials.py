"""From conversations and banks to Inspect tasks: one trial is one conversation under the arms of one concept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

from introbench.models.checkpoint import Checkpoint, software_versions
from introbench.prompts.conversation import Conversation
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.steering.arms import Bank, bank_text, split_into_banks

TRIALS_IN_FLIGHT = 1000

_MAKERS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def concept_trials(
    conversations: Sequence[Conversation], banks: Sequence[Bank], plan: Mapping[str, Any]
) -> Iterator[Sample]:
    """Every conversation about every concept, in the order that lets an engine reuse most: by prior turn, then bank.

    Args:
        conversations: What is asked; those that share a prior turn stand together.
        banks: The concepts.
        plan: What the run sets out to ask, for the metrics.
    """
    _, groups = question_groups(conversations)
    for asked in _by_prior(conversations):
        for number, bank in enumerate(banks):
            for conversation in asked:
                for concept in bank.concepts:
                    yield trial(conversation, groups, concept, number, bank.arms(concept), plan)


def concept_task(
    name: str,
    conversations: Sequence[Conversation],
    bank: Bank,
    checkpoint: Checkpoint,
    plan: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Task:
    """A task that runs every conversation about every concept.

    Args:
        name: Of the task.
        conversations: What is asked.
        bank: All concepts with their random vectors.
        checkpoint: The model.
        plan: What else metrics are to know; see `introbench.analysis.contrasts.Plan`.
        **options: The task's scorer, viewer and version.
    """
    banks = split_into_banks(bank)
    trials = list(concept_trials(conversations, banks, plan_of(conversations, **plan)))
    return Task(
        dataset=MemoryDataset(trials, name=name),
        solver=inject_prior_turn([bank_text(each.injections) for each in banks], question_groups(conversations)[0]),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        metadata=facts(checkpoint, bank),
        **options,
    )


def trial(
    conversation: Conversation,
    groups: Mapping[str, str],
    concept: str,
    bank: int,
    arms: Mapping[str, int],
    plan: Mapping[str, Any],
) -> Sample:
    """One trial.

    Args:
        conversation: What is asked.
        groups: For every conversation, the questions that are run as one with its own; see `question_groups`.
        concept: What is injected.
        bank: Index of the bank whose rows the arms are.
        arms: Names of the arms and their rows.
        plan: What the run sets out to ask, for the metrics.
    """
    return Sample(
        id=f"{conversation.id}.{concept.replace(' ', '_')}",
        input=chat_messages(conversation.messages),
        target=str(conversation.factors["expected"]),
        metadata={
            **conversation.factors,
            "concept": concept,
            "bank": bank,
            "asked_with": groups[conversation.id],
            "arms": dict(arms),
            "plan": dict(plan),
            "prior_messages": conversation.prior_messages,
            "answers": conversation.answers.to_json(),
        },
    )


def plan_of(conversations: Iterable[Conversation], **options: Any) -> dict[str, Any]:
    """The documents and question families that a run sets out to ask about, in order.

    Args:
        conversations: What is asked.
        **options: What else metrics are to know; see `introbench.analysis.contrasts.Plan`.
    """
    factors = [conversation.factors for conversation in conversations]
    return {
        "documents": list(dict.fromkeys(each["document"] for each in factors)),
        "families": list(dict.fromkeys(each["family"] for each in factors)),
        **options,
    }


def facts(checkpoint: Checkpoint, bank: Bank) -> dict[str, Any]:
    """What a log says about its run as a whole."""
    return {
        "layers": f"{bank.layers[0]}:{bank.layers[1]} of {checkpoint.n_layers}",
        "strength": str(bank.strength),
        "method": ", ".join(dict.fromkeys(vector.method for vector in bank.vectors)),
        "steering": " and ".join(bank.steerings),
        "seed": bank.seed,
        "model_revision": checkpoint.revision_digest,
        "versions": software_versions(),
    }


def system_turn(system: str | None) -> str | None:
    """A task's `system` argument: "none" is no system turn."""
    return None if system in (None, "none") else system


def chat_messages(messages: Iterable[Mapping[str, str]]) -> list[ChatMessage]:
    """Inspect's messages."""
    return [_MAKERS[message["role"]](content=message["content"]) for message in messages]


def question_groups(
    conversations: Sequence[Conversation], named: str = "group"
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """What is asked after each prior turn, so that it is run as one, and nothing that is asked after others alone.

    Args:
        conversations: All that are run under the same banks.
        named: What the groups are called, with a number.

    Returns:
        The groups of questions by name, as `inject_prior_turn` takes them, and for every conversation, by its id, the
        name of its group. Prior turns with the same questions have the same group.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, str] = {}
    for asked in _by_prior(conversations):
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for conversation in asked:
            key = (*((m["role"], m["content"]) for m in conversation.question), conversation.answers)
            found[key] = {"messages": list(conversation.question), "answers": conversation.answers.to_json()}
        questions = list(found.values())
        name = next((name for name, each in groups.items() if each == questions), f"{named} {len(groups) + 1}")
        groups[name] = questions
        names |= dict.fromkeys((conversation.id for conversation in asked), name)
    return groups, names


def _by_prior(conversations: Sequence[Conversation]) -> list[list[Conversation]]:
    grouped: dict[Any, list[Conversation]] = {}
    for conversation in conversations:
        prior = tuple((m["role"], m["content"]) for m in conversation.messages[: conversation.prior_messages])
        grouped.setdefault(prior, []).append(conversation)
    return list(grouped.values())
