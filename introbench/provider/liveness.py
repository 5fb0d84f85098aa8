"""Whether a vector does anything: does it bring its concept to mind while it is on?"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from introbench.analysis.top_of_mind import is_live
from introbench.engine import Arms, Engine, Request, Want
from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.chat import Chat, next_token, tokenize_chat
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import MODEL_CONTRAST, Injection
from introbench.steering.strength import Strengths


def live_vectors(engine: Engine, tokenizer: Any, strengths: Strengths, batch: ArmBatch) -> list[bool | None]:
    """Find out which concepts' vectors of a batch bring their concept to mind.

    Under active steering a chat stops at "I'm thinking about". A vector is live if it makes its concept's word more
    likely there than the sham and every random vector of the batch make it.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        strengths: Resolves the strengths of the injections.
        batch: The injections.

    Returns:
        For each row whether its vector is live; None if that does not apply.
    """
    live: list[bool | None] = [None] * len(batch)
    concepts = {
        row: injection.vector.concept
        for row, injection in enumerate(batch)
        # An opposite is meant to keep its concept from mind, and a contrast of models has no word.
        if injection.vector
        and injection.strength.number > 0
        and not injection.vector.is_random
        and injection.vector.method != MODEL_CONTRAST
    }
    # Of the many cells of a sweep, each with a batch of its own, nobody asks.
    if not concepts or any(injection.batch for injection in batch):
        return live
    try:
        prompt = tokenize_chat(tokenizer, data.top_of_mind(), 0)
    except InputError:  # a template that refuses a chat without a system turn, say: then nothing is known
        return live
    # Rotations alone: whether a vector is live must not depend on which other control vectors stand beside it.
    beside = [
        row
        for row, injection in enumerate(batch)
        if not injection.vector or (injection.vector.is_random and injection.vector.control == "rotation")
    ]
    unfilled = [replace(injection, filler=None) for injection in batch]
    words = word_logprobs(engine, tokenizer, strengths, prompt, unfilled, tuple(concepts.values()))
    for row, concept in concepts.items():
        live[row] = is_live(words[concept][row], [words[concept][other] for other in beside])
    return live


def word_logprobs(
    engine: Engine,
    tokenizer: Any,
    strengths: Strengths,
    chat: Chat,
    injections: Sequence[Injection],
    concepts: Sequence[str],
) -> dict[str, list[float]]:
    """How likely concepts' words are right after a chat, under injections that are on throughout.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        strengths: Resolves the strengths of the injections.
        chat: A chat that goes on.
        injections: Row by row.
        concepts: Of a concept of several tokens, the first counts.

    Returns:
        For each concept a log-probability per injection, in nats; NaN where it is not finite, or the word has no token.
    """
    tokens = {concept: next_token(tokenizer, chat, f" {concept}") for concept in concepts}
    forms = tuple({token for token in tokens.values() if token is not None})
    unknown = [math.nan] * len(injections)
    if not forms:
        return dict.fromkeys(concepts, unknown)
    deltas = strengths.arms(strengths.resolve(injections)).deltas
    request = Request(chat.tokens, len(chat.tokens) - 1, Want(forms), Arms.steered(deltas, deltas))
    (reading,) = engine.read([request])
    finite = [reading.logprobs[row].tolist() if reading.finite[row] else None for row in range(len(injections))]
    return {
        concept: [logprobs[forms.index(token)] if logprobs else math.nan for logprobs in finite]
        if token is not None
        else unknown
        for concept, token in tokens.items()
    }
