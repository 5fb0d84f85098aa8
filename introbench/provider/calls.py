"""What a model call carries: plain JSON in `extra_body`, and which conversations are run as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import Any

from introbench.errors import InputError
from introbench.prompts.answers import Answers
from introbench.prompts.readable import RoleAndContent


@dataclass(frozen=True)
class ProbeSpec:
    """What a call carries as `extra_body={"probe": spec.to_json()}`; its messages are the prior turn of a document.

    Attributes:
        arm_batch: The injections, as `introbench.steering.arms.ArmBatch.to_text` writes them; each part of it that
            shares a batch begins with its sham.
        questions: What is asked after the prior turn: `messages`, `answers`, and whether a no says "noticed",
            `reversed`.
        elsewhere: The prior turns of the run's other documents, as messages: states that the probe of the cache is
            trained on.
    """

    arm_batch: str
    questions: Sequence[Mapping[str, Any]]
    elsewhere: Sequence[Sequence[Mapping[str, str]]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TrialSpec:
    """What a trial's call carries as `extra_body={"injection": spec.to_json()}`: plain JSON.

    Attributes:
        prior_messages: How many leading messages are the prior turn.
        arm_batch: The injections that share a batch: their name, see `introbench.provider.arm_batches`, or their text.
        arms: Names of the trial's arms and their rows in the arm batch.
        answers: What is read after the conversation.
        silent: Whether likely tokens are left out, but for the first arm's; of a sweep's hundreds nobody looks at them.
    """

    prior_messages: int
    arm_batch: str
    arms: Mapping[str, int]
    answers: Answers
    silent: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "prior_messages": self.prior_messages,
            "arm_batch": self.arm_batch,
            "arms": dict(self.arms),
            "answers": self.answers.to_json(),
            "silent": self.silent,
        }

    @classmethod
    def from_json(cls, values: Any) -> "TrialSpec":
        """Rebuild a spec from `to_json`'s values.

        Raises:
            InputError: They are none.
        """
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise InputError(
                "inject/ models answer injection trials only (extra_body={'injection': {...}}); "
                "run an introbench task, or use its solver inject_prior_turn"
            )
        return cls(**{**values, "answers": Answers.from_json(values["answers"])})


@dataclass(frozen=True)
class ContinuationSpec:
    """What a call carries as `extra_body={"continuation": spec.to_json()}` to continue a chat under active steering.

    Attributes:
        arm_batch: The injections, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        arms: Names of the arms that write texts, and their rows in the arm batch; of the other rows only the
            concept's word is read.
        concept: The words that are looked for: the concept, or its description.
        seeds: Seeds of the texts under each arm.
        length: Most tokens of a text.
        temperature: 0 for the most likely token.
    """

    arm_batch: str
    arms: Mapping[str, int]
    concept: str
    seeds: Sequence[int]
    length: int
    temperature: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class SamplingSpec:
    """What a call carries as `extra_body={"sampling": spec.to_json()}` to sample answers to a question.

    Attributes:
        arm_batch: The injections, as `introbench.steering.arms.ArmBatch.to_text` writes them.
        arms: Names of the arms, and their rows in the arm batch.
        seeds: Seeds of the answers under each arm.
        length: Most tokens of an answer.
        temperature: 0 for the most likely token.
        prior_messages: How many leading messages are the prior turn.
        protocol: One of `introbench.records.sampled_factors.PROTOCOLS`.
        begins: What the answer begins with; empty to leave all of it to the model.
    """

    arm_batch: str
    arms: Mapping[str, int]
    seeds: Sequence[int]
    length: int
    temperature: float
    prior_messages: int
    protocol: str
    begins: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


Asking = tuple[RoleAndContent, Answers]
"""Role and content of each message, and what is read after them."""

QUESTIONS_TOGETHER = 64
"""How many of a task's questions are run as one: enough to share nearly all that can be shared."""

TOGETHER: ContextVar[Callable[[], Sequence[Asking]]] = ContextVar("introbench_together", default=lambda: ())


@contextmanager
def asked_together(conversations: Callable[[], Sequence[Asking]]) -> Iterator[None]:
    """Say which conversations are to be run as one with those that are asked for in this context.

    They have the prior turn and the arm batch in common. The engine then runs a prior turn and what its questions share
    once, and a conversation's numbers do not depend on which others happen to be in flight.

    Args:
        conversations: Called once they have to be run; most calls are answered by what others have run.
    """
    token = TOGETHER.set(conversations)
    try:
        yield
    finally:
        TOGETHER.reset(token)


def asking_of(question: Mapping[str, Any]) -> Asking:
    """A question that a task asks after its prior turns, from its `messages` and `answers`."""
    turns = tuple((message["role"], message["content"]) for message in question["messages"])
    return turns, Answers.from_json(question["answers"])


def run_as_one(prior: RoleAndContent, this: Asking, asked: Sequence[Asking]) -> list[Asking]:
    """The conversations that are run together with one: its prior turn with the questions near it.

    Args:
        prior: The prior turn.
        this: What is asked after it.
        asked: Everything that the task asks after such a prior turn.

    Returns:
        Conversations, the one itself among them; none if it is not among what is asked.
    """
    if this not in asked:
        return []
    start = asked.index(this) // QUESTIONS_TOGETHER * QUESTIONS_TOGETHER
    return [(prior + question, read) for question, read in asked[start : start + QUESTIONS_TOGETHER]]
