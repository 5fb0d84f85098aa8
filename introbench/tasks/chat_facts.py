"""What a log says of how its chats were rendered and tokenised."""

import hashlib
from collections.abc import Sequence
from typing import Any

from introbench.models.checkpoint import Checkpoint
from introbench.prompts.battery import unreadable_formats
from introbench.prompts.chat import Chat, tokenize_chat
from introbench.prompts.conversation import Conversation, Turns
from introbench.prompts.prior_turn import own_text
from introbench.prompts.readable import read_chat

_SHOWN = 120


def chat_facts(checkpoint: Checkpoint, conversations: Sequence[Conversation], formats: object = ()) -> dict[str, Any]:
    """What a log says of how the conversations of a run were rendered and tokenised.

    Args:
        checkpoint: The model.
        conversations: What is asked.
        formats: The answer formats that the user chose; None where one of each kind that can be read was to be asked.

    Returns:
        `vocabulary`, a digest; `template_date`, if the chat template writes a date; `prior_turns`, each of them as it
        is rendered, with its marks; and `notes`, sentences on what a reader of the results has to know.
    """
    tokenizer = checkpoint.tokenizer
    first = conversations[0]
    left_out = unreadable_formats(tokenizer, first.messages[: first.prior_messages]) if formats is None else {}
    reasons = [f"{name} ({reason.partition(' after ')[0]})" for name, reason in left_out.items()]
    notes = [f"Answer formats that are left out: {', '.join(reasons)}."] if reasons else []
    chats = [(each.messages, _chat(tokenizer, each)) for each in conversations]
    return _facts(checkpoint, chats, notes)


def facts_of_chat(checkpoint: Checkpoint, messages: Turns) -> dict[str, Any]:
    """What a log says of the one chat that a run continues; see `chat_facts`."""
    return _facts(checkpoint, [(messages, tokenize_chat(checkpoint.tokenizer, messages, 0))], [])


def _chat(tokenizer: Any, conversation: Conversation) -> Chat:
    turns = tuple((message["role"], message["content"]) for message in conversation.messages)
    return read_chat(tokenizer, turns, conversation.prior_messages, conversation.answers).chat


def _facts(checkpoint: Checkpoint, chats: Sequence[tuple[Turns, Chat]], notes: Sequence[str]) -> dict[str, Any]:
    prepared = checkpoint.prepared
    vocabulary = sorted(prepared.tokenizer.get_vocab().items())
    rendered = {chat.prior_text or chat.text: (messages, chat) for messages, chat in reversed(chats)}
    found = [*prepared.notes, *notes]
    normalised = dict.fromkeys(name for _, chat in chats for name in chat.normalised)
    if normalised:
        found.append(f"The tokenizer normalises what it reads: {', '.join(normalised)}.")
    for text in dict.fromkeys(own_text(prepared.tokenizer, chat.text, turns) for turns, chat in rendered.values()):
        if text:
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
            found.append(f"The chat template writes a text of its own before the first turn: {shown!r}.")
    return {
        "vocabulary": hashlib.sha256(repr(vocabulary).encode()).hexdigest()[:16],
        **({"template_date": prepared.date} if prepared.date else {}),
        "prior_turns": list(rendered)[::-1],
        **({"notes": found} if found else {}),
    }
