"""Compares the readout and every path with uncached forward passes when a model loads, and gives up what disagrees.

The comparison is made on a handful of short conversations whose shapes cover what a path can get wrong: arms,
positions, a common beginning, a trie that forks, a question that other questions begin with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.architecture import CHUNKED
from introbench.engine.kernels import Kernels
from introbench.engine.packed_path import FastPath
from introbench.engine.plain_path import PlainPath, one_forward
from introbench.engine.plan import EndStates, Job
from introbench.engine.readout import Readout
from introbench.engine.requests import Arms, Tokens
from introbench.engine.weights import Weights
from introbench.errors import InputError, first_line

PASS_TOKENS = 12
"""Tokens of all rows in a pass during a proof: few, so that more than one pass is needed."""

_READOUT_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest difference from the model's own logits to tolerate, as a share of their range."""

_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.3}
"""See `tolerance`; in half precision, different ways to compute the same number round differently."""

_QUESTIONS: tuple[Tokens, ...] = ((6, 5), (6, 5, 3, 8), (6, 5, 4), (6, 2, 7))


@dataclass(frozen=True)
class ProofCase:
    """A few short conversations under two arms, and the log-probabilities that they must give.

    Attributes:
        job: The conversations.
        expected: By question, log-probabilities of the next token, float32 [rows, vocabulary].
        dtype: The model's dtype.
    """

    job: Job
    expected: dict[Tokens, Tensor]
    dtype: torch.dtype

    @classmethod
    def of(cls, weights: Weights) -> "ProofCase":
        """Run every conversation by itself, without a cache, steered on the prior turn alone."""
        model = weights.model
        n_layers, hidden = len(weights.parts.layers), model.config.get_text_config().hidden_size
        draw = torch.Generator().manual_seed(0)
        deltas = {
            block: torch.cat([torch.zeros(1, hidden), torch.randn(1, hidden, generator=draw)])
            for block in range(n_layers // 2, min(n_layers // 2 + 2, n_layers))
        }
        prior = _probe(model, 10)
        expected = {question: one_forward(weights, prior + question, len(prior), deltas) for question in _QUESTIONS}
        return cls(Job(prior, _QUESTIONS, (Arms.steered(deltas),), every_block=False), expected, model.dtype)

    def disagreement(self, path: PlainPath | FastPath, logits: Callable[[EndStates], Tensor]) -> str:
        """How a path disagrees, in a few words; empty if it agrees.

        Args:
            path: The path.
            logits: Turns the path's states into logits, [rows, questions, vocabulary].
        """
        worst = 0.0
        try:
            for states in path.run(self.job):
                logprobs = torch.log_softmax(logits(states).float().cpu(), dim=-1)
                for index, question in enumerate(states.questions):
                    squared = (logprobs[:, index] - self.expected[question]).square().mean(dim=-1)
                    worst = max(worst, float(squared.max().nan_to_num(nan=torch.inf).sqrt()))
        except Exception as error:
            return f"{type(error).__name__}: {first_line(error)}"
        return "" if worst <= tolerance(self.dtype) else f"moves log-probabilities by {worst:.2g}"


def tolerance(dtype: torch.dtype) -> float:
    """Largest root mean square difference, in nats, between two ways to compute the same log-probabilities."""
    return _TOLERANCE.get(dtype, 0.3)


def proven_readout(weights: Weights) -> tuple[Readout | None, str]:
    """The float32 readout, or None where it disagrees with the model's own logits; and a line that says which."""
    model, parts = weights.model, weights.parts
    tokens = _probe(model, 8)
    expected = one_forward(weights, tokens, 0, {})[0]
    most = _READOUT_TOLERANCE.get(model.dtype, 0.05) * float(expected.max() - expected.min())
    try:
        readout = Readout(model, parts)
        (states,) = PlainPath(weights).run(Job(tokens[:1], (tokens[1:],), (None,), every_block=False))
        logprobs = torch.log_softmax(readout(states.residuals[len(parts.layers) - 1])[0, 0], dim=-1)
        difference = float((logprobs.cpu() - expected).abs().max())
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
    else:
        if difference <= most:
            return readout, f"float32 norm and unembedding (within {difference:.1e} of the model's own logits)"
        reason = f"differs from the model's own logits by {difference:.2g}"
    return None, f"the model's own logits, upcast to float32 ({reason})"


def proven_path(
    weights: Weights,
    readout: Readout | None,
    fast_path: Callable[[int | None, Kernels], FastPath] | None,
    kernels: Sequence[Kernels],
) -> tuple[PlainPath | FastPath, str]:
    """The fastest path that agrees with uncached forward passes, and a line that says which and why not a faster one.

    Args:
        weights: The model.
        readout: The float32 readout, or None to read the model's own logits.
        fast_path: Makes the fast path from the number of tokens in a pass (None for as many as are fast) and kernels;
            None to do without.
        kernels: The kernels to try, the fastest first.

    Raises:
        InputError: Even the plain path disagrees, so the model's cache cannot be trusted.
    """
    model, parts = weights.model, weights.parts
    last = len(parts.layers) - 1

    def logits(states: EndStates) -> Tensor:
        if states.logits is not None:
            return states.logits
        assert readout is not None
        return readout(states.residuals[last])

    case = ProofCase.of(weights)
    plain = PlainPath(weights, own_logits=readout is None)
    if reason := case.disagreement(plain, logits):
        raise InputError(
            f"model type {model.config.model_type}: a cache fill and a question do not give what one forward pass "
            f"gives ({reason}); expected the same; choose another model or -M attn_implementation"
        )
    plain.release()
    one_by_one = "plain: question by question"
    if fast_path is None:
        return plain, f"{one_by_one} (as asked)"
    if readout is None:
        return plain, f"{one_by_one} (the fast path needs the float32 readout)"
    if CHUNKED in (getattr(model.config.get_text_config(), "layer_types", None) or ()):
        return plain, f"{one_by_one} (the fast path does not cut attention into chunks)"
    given_up: list[str] = []
    for tried in kernels:
        candidate = fast_path(PASS_TOKENS, tried)
        if not (reason := case.disagreement(candidate, logits)):
            return fast_path(None, tried), "; ".join([f"fast: shared prior turns, token tries, {tried}", *given_up])
        if not candidate.attended:
            return plain, f"{one_by_one} (this model's attention does not go through transformers' attention interface)"
        given_up.append(f"not with {tried}: {reason}")
    return plain, "; ".join([one_by_one, *given_up[-1:]])


def _probe(model: PreTrainedModel, length: int) -> Tokens:
    """Some token ids."""
    vocabulary = model.config.get_text_config().vocab_size
    return tuple((37 * position + 11) % vocabulary for position in range(length))
