"""Continues a chat while a vector is added at its tokens, and measures how likely the clean model finds the texts.

Vectors are added at a window of the chat's tokens, by default at all, and at those that follow if the window is open.
Then the texts are run once more with nothing added, which gives every token's probability under the clean model. Both
distributions are read in float32 through the same readout.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from introbench.engine.hooks import before_each, looking_at, steering
from introbench.engine.memory import default_budget, free_memory, is_out_of_memory, token_bytes
from introbench.engine.readout import LOGITS_BYTES, Readout, in_float64
from introbench.engine.requests import NO_DELTAS, Deltas, Tokens
from introbench.engine.sampler import Sampler
from introbench.engine.shared_steps import SharedSteps, StepKernels
from introbench.engine.weights import Weights
from introbench.engine.windows import EVERYWHERE, Window
from introbench.errors import InputError
from introbench.progress import tell, tick

_T = TypeVar("_T")


@dataclass(frozen=True)
class Continuation:
    """The text that one row wrote.

    Attributes:
        tokens: Token ids, without the end token.
        mean_logprob: Mean log-probability of the tokens under the clean model, in nats per token; NaN without tokens,
            and where it was not measured.
        finite: Whether every distribution was finite; if not, the text ends before the first that was not.
    """

    tokens: Tokens
    mean_logprob: float
    finite: bool = True


@torch.inference_mode()
def continue_chat(
    weights: Weights,
    readout: Readout | None,
    prompt: Tokens,
    deltas: Mapping[int, Tensor],
    seeds: Sequence[int],
    *,
    length: int,
    temperature: float,
    end: Collection[int],
    memory: int | None = None,
    window: Window = EVERYWHERE,
    scored: bool = True,
    fast: StepKernels | None = None,
) -> list[Continuation]:
    """Continue a chat under injections, one text per row.

    A row's text does not depend on the rows beside it (`introbench.engine.sampler`). In half precision, products round
    differently in batches of different sizes, so that a text may take another turn where two tokens are nearly equally
    likely.

    Args:
        weights: The model.
        readout: Reads logits in float32; None for the model's own logits.
        prompt: Token ids of the chat.
        deltas: Block index to what is added to its output at the steered tokens, float32 [rows, hidden].
        seeds: One seed per row, 0 or more.
        length: Most tokens to write.
        temperature: 0 for the most likely token.
        end: Ids of tokens that end a text.
        memory: Bytes that rows may take at a time; by default half of the device's memory.
        window: The tokens that are steered; by default all, those that are written too.
        scored: Whether to measure how likely the clean model finds the texts.
        fast: What shared steps are computed by (`introbench.engine.shared_steps`); None to leave all to transformers.

    Returns:
        One continuation per row, in their order.

    Raises:
        InputError: The length is below 1, or the temperature is negative or not finite.
    """
    refuse_options(length, temperature)
    for block, delta in deltas.items():
        if delta.dim() != 2 or delta.shape[0] != len(seeds):
            raise ValueError(f"delta of shape {tuple(delta.shape)} at block {block}: expected [{len(seeds)}, hidden]")
    window.check(len(prompt))
    budget = memory or default_budget(weights.parts.device)
    at_once = budget // _row_bytes(weights.model, len(prompt), length, own_logits=readout is None)

    def write(first: int, last: int) -> list[tuple[Tokens, bool]]:
        of_rows = {block: delta[first:last] for block, delta in deltas.items()}
        steps: Steps
        if fast is None or readout is None:
            steps = PlainSteps(weights, readout, prompt, window, of_rows, last - first)
        else:
            steps = SharedSteps(weights, readout, fast, prompt, window, of_rows, last - first, length)
        return _write(steps, seeds[first:last], length, temperature, end)

    written = _in_batches(len(seeds), at_once, write)
    if not scored:
        return [Continuation(tokens, math.nan, finite) for tokens, finite in written]
    texts = [tokens for tokens, _ in written]

    def score(first: int, last: int) -> list[float]:
        return _mean_logprobs(weights, readout, prompt, texts[first:last])

    scores = _in_batches(len(seeds), at_once, score)
    return [Continuation(tokens, score, finite) for (tokens, finite), score in zip(written, scores, strict=True)]


def refuse_options(length: int, temperature: float) -> None:
    """Refuse a length or a temperature of texts that there is not.

    Raises:
        InputError: The length is below 1, or the temperature is negative or not finite.
    """
    if length < 1:
        raise InputError(f"length={length}: expected at least 1 token; pass e.g. 30")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature={temperature}: expected 0 (most likely token) or more; pass e.g. 1")


def _row_bytes(model: PreTrainedModel, prompt: int, length: int, own_logits: bool) -> int:
    """An estimate of the bytes that one row takes: a pass over all of its tokens, their keys and values, its logits."""
    config = model.config.get_text_config()
    keys = 2 * config.num_hidden_layers * config.hidden_size * model.dtype.itemsize
    logits = config.vocab_size * (4 * 4 + (length * model.dtype.itemsize if own_logits else 0))
    return int((prompt + length) * (token_bytes(model) + keys) + logits)


def _in_batches(rows: int, at_once: int, run: Callable[[int, int], Sequence[_T]]) -> list[_T]:
    """Run rows in batches of `at_once`; where memory runs out, the batch is halved, and so are those after it.

    Args:
        rows: Number of rows.
        at_once: Number of rows in a batch, taken as at least 1.
        run: Gives a result for each of the rows `first` to `last`, both of which it is given.
    """
    done: list[_T] = []
    size = max(1, at_once)
    while len(done) < rows:
        size = min(size, rows - len(done))
        try:
            done += run(len(done), len(done) + size)
            continue
        except Exception as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        size //= 2
        free_memory()  # outside the handler: the error holds the frames that hold the memory
        tell(f"memory ran out: {size} continuations at a time from now on")
    return done


class Steps(Protocol):
    """Writes some texts after a prompt, token by token."""

    def begin(self) -> Tensor:
        """Read the prompt; returns the logits of every text's first token, float32 [rows, vocabulary]."""
        ...

    def go_on(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Take one more token of each text that goes on; returns logits of the next, float32 [texts, vocabulary]."""
        ...


def _write(
    steps: Steps, seeds: Sequence[int], length: int, temperature: float, end: Collection[int]
) -> list[tuple[Tokens, bool]]:
    """Each row's tokens, and whether all of its distributions were finite."""
    sampler = Sampler(seeds, temperature, end)
    logits = steps.begin()
    rows = sampler.unfinished
    tokens = sampler.add(rows, logits)
    for _ in range(length - 1):
        token_of = dict(zip(rows, tokens, strict=True))
        rows = sampler.unfinished
        if not rows:
            break
        tokens = sampler.add(rows, steps.go_on(rows, [token_of[row] for row in rows]))
    return list(zip(sampler.texts, sampler.finite, strict=True))


class PlainSteps:
    """Steps that leave attention and cache to transformers, for every model that it runs.

    Args:
        weights: The model.
        readout: Reads logits in float32; None for the model's own logits.
        prompt: Token ids of the chat.
        window: The tokens that are steered.
        deltas: Block index to what is added to its output there, float32 [rows, hidden].
        rows: Number of texts.
    """

    def __init__(
        self, weights: Weights, readout: Readout | None, prompt: Tokens, window: Window, deltas: Deltas, rows: int
    ) -> None:
        self._weights, self._readout = weights, readout
        self._prompt, self._window, self._deltas, self._rows = prompt, window, deltas, rows
        self._cache = DynamicCache()

    def begin(self) -> Tensor:
        """Read the prompt; see `Steps`."""
        for begin, end, is_steered in self._window.parts(len(self._prompt)):
            logits = self._run([self._prompt[begin:end]] * self._rows, is_steered)
        return logits

    def go_on(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Take one more token of some texts; see `Steps`.

        A text that is finished goes on beside the others: nothing it computes is read any more.
        """
        ids = [[0]] * self._rows
        for text, token in zip(texts, tokens, strict=True):
            ids[text] = [token]
        return self._run(ids, self._window.end is None)[list(texts)]

    def _run(self, ids: Sequence[Sequence[int]], is_steered: bool) -> Tensor:
        with steering(self._weights.parts.layers, self._deltas if is_steered else NO_DELTAS):
            read = _run(self._weights, self._readout, torch.tensor(ids), 1, self._cache)
        return _logits(self._readout, read[:, 0])


def _mean_logprobs(weights: Weights, readout: Readout | None, prompt: Tokens, texts: Sequence[Tokens]) -> list[float]:
    """Each text's mean log-probability after the prompt, nothing added: one uncached pass over all texts."""
    lengths = torch.tensor([len(text) for text in texts])
    longest = int(lengths.max())
    if not longest:
        return [math.nan] * len(texts)
    # Shorter texts are filled up at their end, so no text attends to the padding.
    filled = torch.tensor([[*prompt, *text, *[0] * (longest - len(text))] for text in texts])
    read = _run(weights, readout, filled[:, :-1], longest)
    is_text = torch.arange(longest) < lengths[:, None]
    targets = filled[:, len(prompt) :][is_text].to(read.device)
    read = read[is_text.to(read.device)]
    logprobs = torch.zeros(is_text.shape)
    at_once = max(1, LOGITS_BYTES // (4 * weights.model.config.get_text_config().vocab_size))
    logprobs[is_text] = torch.cat(
        [
            token_logprobs(_logits(readout, part), expected)
            for part, expected in zip(read.split(at_once), targets.split(at_once), strict=True)
        ]
    )
    return (in_float64(logprobs).sum(dim=1) / lengths).tolist()  # NaN for an empty text


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities of one token per row of logits, float32 on the CPU."""
    tokens = tokens.to(logits.device)
    return (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)).cpu()


def _logits(readout: Readout | None, read: Tensor) -> Tensor:
    """Logits, float32 [positions, vocabulary], from what `_run` read, [positions, hidden or vocabulary]."""
    return read.float() if readout is None else readout(read)


def _run(
    weights: Weights, readout: Readout | None, ids: Tensor, last: int, cache: DynamicCache | None = None
) -> Tensor:
    """One forward pass of ids [rows, tokens], which follow the cached tokens.

    Returns:
        At the last tokens of each row, the residual stream after the last block, or the model's own logits if there is
        no readout: [rows, last, hidden or vocabulary].
    """
    parts = weights.parts
    rows, size = ids.shape
    start = cache.get_seq_length() if cache is not None else 0
    arguments = {
        "input_ids": ids.to(parts.device),
        "position_ids": torch.arange(start, start + size, device=parts.device).expand(rows, -1),
        "past_key_values": cache,
        "use_cache": cache is not None,
    }
    block = len(parts.layers) - 1
    with ExitStack() as stack:
        stack.enter_context(weights.switched())
        stack.enter_context(before_each(parts.layers, tick))
        if readout is None:
            return weights.model(**arguments, logits_to_keep=last).logits
        seen = stack.enter_context(looking_at(parts.layers, [block], range(size - last, size)))
        parts.decoder(**arguments)
    return seen[block]
