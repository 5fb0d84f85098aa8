"""The workload of the benchmarks: many questions on one long prior turn, on the embedded model."""

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
    """Tokenised conversations that share a prior turn.

    Args:
        checkpoint: The model, whose tokenizer and template are used.
        questions: Number of conversations; at most one for every question of the battery in every format of `FORMATS`.
        prior: Tokens of the prior turn; the document is lengthened, or cut, until it has about as many.
    """
    texts = fitted_texts(data.documents(), checkpoint.tokenizer)
    words = " ".join([texts["info"], *[texts["lorem"]] * (1 + prior // 200)]).split()
    endings = [
        (
            {"role": "user", "content": f"{question.text} {form.instruction}"},
            {"role": "assistant", "content": form.prefill},
        )
        for question in data.questions()
        for form in (data.answer_formats()[name] for name in FORMATS)
    ]
    if questions > len(endings):
        raise ValueError(f"questions={questions}: expected at most {len(endings)}")

    def chats(n_words: int, pairs: Sequence[tuple[dict[str, str], dict[str, str]]]) -> list[Chat]:
        prior_turn = opening(" ".join(words[:n_words]), data.documents()["info"].location, "")
        return [tokenize_chat(checkpoint.tokenizer, (*prior_turn, *pair), len(prior_turn)) for pair in pairs]

    fewest, most = 0, len(words)
    while most - fewest > 1:
        middle = (fewest + most) // 2
        if chats(middle, endings[:1])[0].prior <= prior:
            fewest = middle
        else:
            most = middle
    return chats(fewest, endings[:questions])


def layers_to_steer(model: PreTrainedModel) -> tuple[int, int]:
    """The layers that are steered: the usual ones, or the middle third of a model that is too small for them."""
    count = int(model.config.num_hidden_layers)
    return LAYERS if count >= LAYERS[1] else (count // 3, max(count // 3 + 1, 2 * count // 3))


def random_arms(model: PreTrainedModel, rows: int, layers: tuple[int, int] = LAYERS, seed: int = 0) -> Arms:
    """A sham and random vectors of norm `STRENGTH`."""
    draw = torch.Generator().manual_seed(seed)
    hidden = model.config.get_text_config().hidden_size

    def delta() -> Tensor:
        vectors = torch.randn(rows, hidden, generator=draw)
        vectors[0] = 0
        return STRENGTH * vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-9)

    return Arms.steered({layer: delta() for layer in range(*layers)})


def requests(chats: Sequence[Chat], arms: Arms, tokens: Tokens) -> list[Request]:
    """Every chat under the arms, with the log-probabilities of some tokens to be read, and the 8 most likely."""
    return [Request(tuple(chat.tokens), chat.prior, Want(tokens, top=8), arms) for chat in chats]
