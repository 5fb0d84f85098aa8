"""A concept's direction at every layer, from the residual streams of contrasting prompts.

Each concept's prompt and one neutral prompt are followed by the same short reply openings; the residual stream at
the opening's last token is compared pair by pair. The contrast is that of repeng's control vectors.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from introbench.engine import Engine, Request, Want
from introbench.engine.trie import common_beginning
from introbench.errors import InputError
from introbench.prompts.chat import tokenize_chat, tokenize_open_chat

PROMPT = "Please talk about {concept}."
"""repeng's contrast prompt, as the field uses it."""

REQUEST = "Tell me about {concept}"
"""The request of `tell_me_about` vectors, as Lindsey (arXiv 2601.01828) makes it."""

NEUTRAL = "anything"
"""What stands in the concept's place on the other side of the contrast."""


def opening_residuals(engine: Engine, tokenizer: Any, concept: str, openings: Sequence[str]) -> Tensor:
    """Residual streams at the last token of every reply opening to a prompt about `concept`.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        concept: What the prompt asks to talk about.
        openings: Beginnings of the assistant's reply.

    Returns:
        float32 [openings, layers, hidden].

    Raises:
        InputError: The chat template or the tokenizer does not carry the prompt as it is written.
    """
    prompt = {"role": "user", "content": PROMPT.format(concept=concept)}
    replies = [
        tokenize_chat(tokenizer, [prompt, {"role": "assistant", "content": opening}], 0).tokens for opening in openings
    ]
    shared = max(1, common_beginning(replies, most=len(replies[0])))
    readings = engine.read([Request(reply, shared, Want(residuals=True)) for reply in replies])
    return torch.stack([reading.residuals[:, 0] for reading in readings])


def asked_residuals(engine: Engine, tokenizer: Any, words: Sequence[str]) -> Tensor:
    """Residual streams at the last token of a request to tell about a word, where the answer would begin.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        words: What is asked about, each by itself.

    Returns:
        float32 [words, layers, hidden].

    Raises:
        InputError: The chat template or the tokenizer does not carry the request as it is written.
    """
    chats = [
        tokenize_open_chat(tokenizer, [{"role": "user", "content": REQUEST.format(concept=word)}], 0).tokens
        for word in words
    ]
    shared = max(1, common_beginning(chats, most=min(map(len, chats)) - 1))
    readings = engine.read([Request(chat, shared, Want(residuals=True)) for chat in chats])
    return torch.stack([reading.residuals[:, 0] for reading in readings])


def mean_diff(differences: Tensor) -> Tensor:
    """Contrastive activation addition (Rimsky et al. 2024): the mean difference, per layer, at unit norm.

    Args:
        differences: Concept minus neutral residuals, [pairs, layers, hidden].

    Returns:
        float32 [layers, hidden], rows of unit norm.
    """
    return _unit(differences.double().mean(dim=0))


def pca_center(differences: Tensor) -> Tensor:
    """Repeng's `pca_center`: the first principal component of both sides after centring each pair, per layer.

    Centring a pair leaves plus and minus half its difference, whose mean is zero, so the component is exactly the
    top right singular vector of the difference matrix. It is computed in float64 from the pairs' Gram matrix; no
    randomised solver and no seed. The sign is the one along which most pairs' differences point.

    Args:
        differences: Concept minus neutral residuals, [pairs, layers, hidden].

    Returns:
        float32 [layers, hidden], rows of unit norm.
    """
    by_layer = differences.double().transpose(0, 1)
    _, left = torch.linalg.eigh(by_layer @ by_layer.transpose(1, 2))
    directions = (by_layer.transpose(1, 2) @ left[:, :, -1:]).squeeze(-1)
    projections = torch.einsum("lph,lh->lp", by_layer, directions)
    majority = projections.sign().sum(dim=1)
    sign = torch.where(majority == 0, projections.sum(dim=1), majority).sign()
    return _unit(directions * sign[:, None])


def _unit(directions: Tensor) -> Tensor:
    norms = directions.norm(dim=-1, keepdim=True)
    if not bool(torch.isfinite(norms).all()) or bool((norms == 0).any()):
        layer = int((~torch.isfinite(norms) | (norms == 0)).flatten().nonzero()[0])
        raise InputError(
            f"vector at layer {layer}: norm {float(norms[layer]):g}; expected a contrast that differs and is finite; "
            f"choose another concept, or load the model with -M dtype=float32"
        )
    return (directions / norms).float()
