"""What the benchmarks run: many questions on one long prior turn, on the embedded model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Arms, Request, Want
from introbench.engine.requests import Tokens
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.chat import Chat, tokenize_chat
from introbench.prompts.conversation import opening
from introbench.prompts.documents import fitted_texts

LAYERS = (10, 20)
STRENGTH = 8.0
FORMATS = ("yes-no", "one-zero")


def conversations(checkpoint: Checkpoint, questions: int, prior: int) -> list[Chat]:
    """Chats that share a prior turn.

    Args:
        checkpoint: Whose tokenizer and template.
        questions: How many; at most every question of the battery in every answer format.
        prior: Tokens of the prior turn: the document is filled up, or cut, until it has about as many.
    """
    texts = fitted_texts(data.documents(), checkpoint.tokenizer)
    words = " ".join([texts["info"], *[texts["lorem"]] * (1 + prior // 200)]).split()
    asked = [
        (
            {"role": "user", "content": f"{question.text} {form.instruction}"},
            {"role": "assistant", "content": form.prefill},
        )
        for question in data.questions()
        for form in (data.answer_formats()[name] for name in FORMATS)
    ]
    if questions > len(asked):
        raise ValueError(f"questions={questions}: expected at most {len(asked)}")

    def chats(n_words: int, some: Sequence[tuple[dict[str, str], dict[str, str]]]) -> list[Chat]:
        prior_turn = opening(" ".join(words[:n_words]), data.documents()["info"].location, "")
        return [tokenize_chat(checkpoint.tokenizer, (*prior_turn, *pair), len(prior_turn)) for pair in some]

    fewest, most = 0, len(words)
    while most - fewest > 1:
        middle = (fewest + most) // 2
        if chats(middle, asked[:1])[0].prior <= prior:
            fewest = middle
        else:
            most = middle
    return chats(fewest, asked[:questions])


def random_arms(model: PreTrainedModel, rows: int, layers: tuple[int, int] = LAYERS, seed: int = 0) -> Arms:
    """A sham and random unit vectors at the usual strength."""
    draw = torch.Generator().manual_seed(seed)
    hidden = model.config.get_text_config().hidden_size

    def delta() -> Tensor:
        vectors = torch.randn(rows, hidden, generator=draw)
        vectors[0] = 0
        return STRENGTH * vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-9)

    return Arms.steered({layer: delta() for layer in range(*layers)})


def requests(chats: Sequence[Chat], arms: Arms, forms: Tokens) -> list[Request]:
    """Every chat under the arms, read as a battery reads it."""
    return [Request(tuple(chat.tokens), chat.prior, Want(forms, top=8), arms) for chat in chats]
