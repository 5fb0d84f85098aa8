"""What a model is held against when it loads, and what is given up where it does not agree.

Every path has to give what one uncached forward pass per conversation gives, on a handful of short ones whose shapes
cover what a path can get wrong: arms, positions, a common beginning, branches, a question that begins others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.architecture import CHUNKED
from introbench.engine.kernels import Kernels, candidates
from introbench.engine.packed_path import Packed
from introbench.engine.pieces import Seen
from introbench.engine.plain_path import Plain, one_forward
from introbench.engine.plan import Job
from introbench.engine.readout import Readout
from introbench.engine.requests import Arms, Tokens
from introbench.engine.weights import Weights
from introbench.errors import InputError, first_line

PASS_TOKENS = 12
"""Tokens of all rows that a pass takes in a proof: few, so that several passes are needed."""

_READOUT_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest accepted difference from the model's own logits, as a share of their range."""
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.3}
"""See `tolerated`; half precision rounds them differently."""
_QUESTIONS: tuple[Tokens, ...] = ((6, 5), (6, 5, 3, 8), (6, 5, 4), (6, 2, 7))


@dataclass(frozen=True)
class Trial:
    """A few short conversations under two arms, and what they must give.

    Attributes:
        job: The conversations.
        expected: Log-probabilities [rows, vocabulary] by question.
        dtype: Of the model.
    """

    job: Job
    expected: dict[Tokens, Tensor]
    dtype: torch.dtype

    @classmethod
    def of(cls, weights: Weights) -> "Trial":
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

    def disagreement(self, path: Plain | Packed, logits: Callable[[Seen], Tensor]) -> str:
        """In what a path differs; empty if it does not.

        Args:
            path: What runs the conversations.
            logits: Gets [rows, questions, vocabulary] from what it saw.
        """
        worst = 0.0
        try:
            for seen in path.run(self.job):
                found = torch.log_softmax(logits(seen).float().cpu(), dim=-1)
                for index, question in enumerate(seen.questions):
                    squared = (found[:, index] - self.expected[question]).square().mean(dim=-1)
                    worst = max(worst, float(squared.max().nan_to_num(nan=torch.inf).sqrt()))
        except Exception as error:
            return f"{type(error).__name__}: {first_line(error)}"
        return "" if worst <= tolerated(self.dtype) else f"moves log-probabilities by {worst:.2g}"


def tolerated(dtype: torch.dtype) -> float:
    """How far two ways to compute the same log-probabilities may differ, as a root mean square in nats."""
    return _TOLERANCE.get(dtype, 0.3)


def proven_readout(weights: Weights) -> tuple[Readout | None, str]:
    """The float32 readout, or None where it does not agree with the model's own logits, and a line that says so."""
    model, parts = weights.model, weights.parts
    tokens = _probe(model, 8)
    own = one_forward(weights, tokens, 0, {})[0]
    tolerance = _READOUT_TOLERANCE.get(model.dtype, 0.05) * float(own.max() - own.min())
    try:
        readout = Readout(model, parts)
        (seen,) = Plain(weights).run(Job(tokens[:1], (tokens[1:],), (None,), every_block=False))
        found = torch.log_softmax(readout(seen.residuals[len(parts.layers) - 1])[0, 0], dim=-1)
        difference = float((found.cpu() - own).abs().max())
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
    else:
        if difference <= tolerance:
            return readout, f"float32 norm and unembedding (within {difference:.1e} of the model's own logits)"
        reason = f"differs from the model's own logits by {difference:.2g}"
    return None, f"the model's own logits, upcast to float32 ({reason})"


def proven_path(
    weights: Weights,
    readout: Readout | None,
    packed: Callable[[int | None, Kernels], Packed] | None,
) -> tuple[Plain | Packed, str]:
    """The fastest path that agrees with one forward pass, and a line that says which and why not a faster one.

    Args:
        weights: The model.
        readout: The float32 readout, or None to read the model's own logits.
        packed: Makes the fast path, of passes of so many tokens, or None as many as are fast, and with some kernels;
            None to do without.

    Raises:
        InputError: Not even the plain path agrees, so the model's cache cannot be trusted.
    """
    model, parts = weights.model, weights.parts
    last = len(parts.layers) - 1

    def logits(seen: Seen) -> Tensor:
        if seen.logits is not None:
            return seen.logits
        assert readout is not None
        return readout(seen.residuals[last])

    trial = Trial.of(weights)
    plain = Plain(weights, own_logits=readout is None)
    if reason := trial.disagreement(plain, logits):
        raise InputError(
            f"model type {model.config.model_type}: a cache fill and a question do not give what one forward pass "
            f"gives ({reason}); expected the same; choose another model or -M attn_implementation"
        )
    plain.release()
    one_by_one = "plain: question by question"
    if packed is None:
        return plain, f"{one_by_one} (as asked)"
    if readout is None:
        return plain, f"{one_by_one} (the fast path needs the float32 readout)"
    if CHUNKED in (getattr(model.config.get_text_config(), "layer_types", None) or ()):
        return plain, f"{one_by_one} (the fast path does not cut attention into chunks)"
    given_up: list[str] = []
    for kernels in candidates(parts.device, model.dtype):
        candidate = packed(PASS_TOKENS, kernels)
        if not (reason := trial.disagreement(candidate, logits)):
            return packed(None, kernels), "; ".join([f"fast: shared prior turns, token tries, {kernels}", *given_up])
        if not candidate.attended:
            return plain, f"{one_by_one} (this model's attention does not go through transformers' attention interface)"
        given_up.append(f"not with {kernels}: {reason}")
    return plain, "; ".join([one_by_one, *given_up[-1:]])


def _probe(model: PreTrainedModel, length: int) -> Tokens:
    vocabulary = model.config.get_text_config().vocab_size
    return tuple((37 * position + 11) % vocabulary for position in range(length))
