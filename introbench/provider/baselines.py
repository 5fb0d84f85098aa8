"""What the model answers with nothing injected, for choosing questions before a run reads any arm."""

import math
from collections.abc import Sequence

from introbench.analysis.arm_reading import log_odds
from introbench.engine import Request
from introbench.models.checkpoint import Checkpoint
from introbench.progress import tell
from introbench.prompts.conversation import Conversation
from introbench.provider.questions import Questions
from introbench.provider.resident import resident


def read_baselines(checkpoint: Checkpoint, conversations: Sequence[Conversation]) -> dict[str, float]:
    """Log-odds of yes after each conversation with nothing injected, in nats; loads the model.

    Args:
        checkpoint: The model.
        conversations: What is asked, with answers yes and no.

    Returns:
        Log-odds by the conversation's id; NaN where they are not finite.

    Raises:
        InputError: The model cannot be loaded.
    """
    tell(f"choosing control questions: loading the model to ask {len(conversations)} questions with nothing injected")
    model = resident(checkpoint)
    questions = Questions(checkpoint.tokenizer)
    readable = [
        questions.of(
            (tuple((turn["role"], turn["content"]) for turn in conversation.messages), conversation.answers),
            conversation.prior_messages,
        )
        for conversation in conversations
    ]
    readings = model.engine.read(
        [
            Request(question.tokenized.chat.tokens, question.tokenized.chat.prior, question.tokenized.want)
            for question in readable
        ]
    )
    model.begin_run()  # the run itself reads everything anew
    baselines: dict[str, float] = {}
    for conversation, question, reading in zip(conversations, readable, readings, strict=True):
        by_answer = question.by_answer(reading.logprobs[0, :, None])
        answers = {name: logprob for name, (logprob,) in by_answer.items()}
        baselines[conversation.id] = log_odds(answers) if reading.finite[0] else math.nan
    return baselines
