"""Compares shared steps with uncached forward passes before the first texts are written by them on a model."""

import torch

from introbench.engine.plain_path import one_forward
from introbench.engine.proof import tolerance
from introbench.engine.readout import Readout
from introbench.engine.requests import NO_DELTAS, Deltas, Tokens
from introbench.engine.shared_steps import SharedSteps, StepKernels
from introbench.engine.weights import Weights
from introbench.engine.windows import Window
from introbench.errors import first_line

_PROMPT = 9
_WRITTEN: tuple[Tokens, ...] = ((3, 8), (4, 2), (3, 7), (9, 9))
"""The tokens with which four texts go on; the first two have one injection, the third another, the fourth none."""

_WINDOWS = (Window(3), Window(0, 6))


def disagreement_of_steps(weights: Weights, readout: Readout, kernels: StepKernels) -> str:
    """How shared steps disagree with forward passes of whole texts, in a few words; empty if they agree."""
    n_layers, hidden = len(weights.parts.layers), weights.model.config.get_text_config().hidden_size
    vectors = torch.randn(3, hidden, generator=torch.Generator().manual_seed(0))
    vectors[2] = 0
    deltas = {n_layers // 2: vectors[[0, 0, 1, 2]]}
    try:
        worst = max(_difference(weights, readout, kernels, window, deltas) for window in _WINDOWS)
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return "" if worst <= tolerance(weights.model.dtype) else f"they move log-probabilities by {worst:.2g}"


@torch.inference_mode()
def _difference(weights: Weights, readout: Readout, kernels: StepKernels, window: Window, deltas: Deltas) -> float:
    """Root mean square difference of the texts' last log-probabilities, of the worst text; after one text has ended."""
    vocabulary = weights.model.config.get_text_config().vocab_size
    prompt = tuple((31 * position + 7) % vocabulary for position in range(_PROMPT))
    steps = SharedSteps(weights, readout, kernels, prompt, window, deltas, len(_WRITTEN), len(_WRITTEN[0]))
    steps.begin()
    texts = list(range(len(_WRITTEN)))
    steps.go_on(texts, [text[0] for text in _WRITTEN])
    go_on = texts[1:]
    logprobs = torch.log_softmax(steps.go_on(go_on, [_WRITTEN[text][1] for text in go_on]).cpu(), dim=-1)
    worst = 0.0
    for row, text in enumerate(go_on):
        of_text = {block: delta[text : text + 1] for block, delta in deltas.items()}
        in_prior, after = (NO_DELTAS, of_text) if window.end is None else (of_text, NO_DELTAS)
        split = window.begin if window.end is None else window.end
        expected = one_forward(weights, prompt + _WRITTEN[text], split, in_prior, after)
        squared = (logprobs[row] - expected[0]).square().mean()
        worst = max(worst, float(squared.nan_to_num(nan=torch.inf).sqrt()))
    return worst
