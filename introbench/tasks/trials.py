"""From conversations and arms to Inspect samples: one trial is one conversation under the arms of one concept."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from introbench.models.checkpoint import Checkpoint, software_versions
from introbench.prompts import data
from introbench.prompts.conversation import Conversation
from introbench.records.arm import Arm
from introbench.records.factors import PlaceFactors, Plan, QuestionFactors, TrialFactors, id_of_concept
from introbench.steering.arms import ArmPlan

TRIALS_IN_FLIGHT = 600
"""How many trials of a run Inspect begins at once. The model can begin when these have begun, which takes seconds; and
the first of the next trials have to wait in line when some hundreds have been read together."""

Questions = dict[str, list[dict[str, Any]]]
"""What is asked after each prior turn: messages and answers, by the name of the group that is run as one."""

_MAKERS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


@dataclass(frozen=True)
class Trials:
    """What a task runs, and what its solver needs to run it.

    Attributes:
        dataset: One sample for each trial.
        arm_batches: The arm batches as text; a sample's metadata say which of them is its own.
        questions: What is asked after each prior turn.
    """

    dataset: MemoryDataset
    arm_batches: list[str]
    questions: Questions


def concept_trials(
    name: str,
    conversations: Sequence[Conversation],
    arms: ArmPlan,
    plan: Plan,
    *,
    elsewhere: ArmPlan | None = None,
) -> Trials:
    """Every conversation about every concept, in the order that lets an engine reuse most: by prior turn, then batch.

    What the headline rests on comes first.

    Args:
        name: Of the dataset.
        conversations: What is asked.
        arms: All concepts with their random vectors and control vectors.
        plan: What the run sets out to ask.
        elsewhere: The concepts that are injected under documents other than the reference; all of them by default.
    """
    everywhere, fewer = arms.split(), (elsewhere or arms).split()
    parts = everywhere if fewer == everywhere else [*everywhere, *fewer]
    questions, groups = question_groups(conversations)
    samples = [
        trial(conversation, groups, concept, parts.index(part), part.arms(concept), plan)
        for asked in sorted(_by_prior(conversations), key=lambda asked: not _is_under_reference(asked, plan))
        for part in (everywhere if _is_under_reference(asked, plan) else fewer)
        for conversation in asked
        for concept in part.concepts
    ]
    return Trials(MemoryDataset(samples, name=name), [part.batch.to_text() for part in parts], questions)


def _is_under_reference(conversations: Sequence[Conversation], plan: Plan) -> bool:
    """Whether conversations of one prior turn are under the reference document, or belong to none."""
    document = conversations[0].factors.get("document")
    return document is None or document == plan.ordered_documents[0]


def trial(
    conversation: Conversation,
    groups: Mapping[str, str],
    concept: str,
    arm_batch: int,
    arms: Mapping[str, Arm],
    plan: Plan,
    *,
    silent: bool = False,
) -> Sample:
    """One trial.

    Args:
        conversation: What is asked.
        groups: For every conversation, the questions that are run as one with its own; see `question_groups`.
        concept: What is injected; empty if a trial is about all concepts.
        arm_batch: Index of the arm batch whose rows the arms are.
        arms: The arms by name.
        plan: What the run sets out to ask.
        silent: Whether the output leaves out the likely tokens of all arms but the first.
    """
    factors = TrialFactors(
        asked=factors_of(conversation),
        concept=concept,
        arms=arms,
        plan=plan,
        arm_batch=arm_batch,
        asked_with=groups[conversation.id],
        prior_messages=conversation.prior_messages,
        answers=conversation.answers.to_json(),
        silent=silent,
    )
    return Sample(
        id=f"{conversation.id}.{id_of_concept(concept)}" if concept else conversation.id,
        input=chat_messages(conversation.messages),
        target=factors.asked.expected,
        metadata=factors.to_json(),
    )


def factors_of(conversation: Conversation) -> QuestionFactors | PlaceFactors:
    """The factors of a conversation's question."""
    values = conversation.factors
    return PlaceFactors.from_json(values) if "part" in values else QuestionFactors.from_json(values)


def plan_of(conversations: Iterable[Conversation], *, margin: float | None = None, **more: Any) -> Plan:
    """What a run sets out to ask: documents and question families, in the order of its conversations.

    Args:
        conversations: What is asked.
        margin: Smallest effect that matters to the user, in nats, if the task draws a verdict.
        **more: What else the results of the experiment need.
    """
    questions = [
        factors for conversation in conversations if isinstance(factors := factors_of(conversation), QuestionFactors)
    ]
    documents = list(dict.fromkeys(question.document for question in questions))
    families = list(dict.fromkeys(question.family for question in questions))
    reference_only = {question.family for question in data.questions() if question.reference_only}
    return Plan(documents, families, margin, [family for family in families if family in reference_only], more)


def run_facts(checkpoint: Checkpoint, arms: ArmPlan) -> dict[str, Any]:
    """What a log says about its run as a whole."""
    files: dict[str, Any] = {}
    if arms.vector_files:
        norms = [norm for file in arms.vector_files.values() for norm in file["norms"]]
        ends = dict.fromkeys([f"{min(norms):.3g}", f"{max(norms):.3g}"])
        files = {"vector_norms": " to ".join(ends), "vector_files": dict(arms.vector_files)}
    return files | {
        "layers": f"{arms.layers[0]}:{arms.layers[1]} of {checkpoint.n_layers}",
        "strength": str(arms.strength),
        "method": ", ".join(dict.fromkeys(vector.method for vector in arms.vectors)),
        "steering": " and ".join(arms.steerings),
        "seed": arms.seed,
        "model_revision": checkpoint.revision_digest,
        "versions": software_versions(),
    }


def system_turn(system: str | None) -> str | None:
    """A task's `system` argument: "none" is no system turn."""
    return None if system in (None, "none") else system


def chat_messages(messages: Iterable[Mapping[str, str]]) -> list[ChatMessage]:
    """Inspect's messages; a message that stands in the same place in many chats has the same id in all of them."""
    made: list[ChatMessage] = []
    for number, message in enumerate(messages, 1):
        digest = hashlib.sha256(f"{message['role']}: {message['content']}".encode()).hexdigest()[:8]
        made.append(_MAKERS[message["role"]](id=f"{number}-{digest}", content=message["content"]))
    return made


def question_groups(conversations: Sequence[Conversation], named: str = "group") -> tuple[Questions, dict[str, str]]:
    """What is asked after each prior turn, so that it is run as one, and nothing that is asked after others alone.

    Args:
        conversations: All that are run under the same arm batches.
        named: What the groups are called, with a number.

    Returns:
        The groups of questions by name, as `inject_prior_turn` takes them, and for every conversation, by its id, the
        name of its group. Prior turns with the same questions have the same group.
    """
    groups: Questions = {}
    names: dict[str, str] = {}
    for asked in _by_prior(conversations):
        distinct: dict[tuple[Any, ...], dict[str, Any]] = {}
        for conversation in asked:
            key = (*((m["role"], m["content"]) for m in conversation.question), conversation.answers)
            distinct[key] = {"messages": list(conversation.question), "answers": conversation.answers.to_json()}
        questions = list(distinct.values())
        known = (name for name, group in groups.items() if group == questions)
        name = next(known, f"{named} {len(groups) + 1}")
        groups[name] = questions
        names |= dict.fromkeys((conversation.id for conversation in asked), name)
    return groups, names


def _by_prior(conversations: Sequence[Conversation]) -> Iterator[list[Conversation]]:
    grouped: dict[Any, list[Conversation]] = {}
    for conversation in conversations:
        prior = tuple((m["role"], m["content"]) for m in conversation.messages[: conversation.prior_messages])
        grouped.setdefault(prior, []).append(conversation)
    yield from grouped.values()
