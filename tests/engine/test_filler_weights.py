"""Prior turns whose cache is filled by other weights, against two forward passes of transformers alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from introbench.engine import Arms, Engine, Reading, Request, TransformersEngine, Want, Weights
from introbench.validation.tiny_models import OWN_ATTENTION, VOCABULARY, tiny_model

PRIOR = (5, 9, 33, 2, 71, 18, 40, 11, 64, 3)
QUESTIONS = ((7,), (7, 90, 4, 52), (7, 90), (8, 1), (7, 3, 3))
EVERYTHING = Want(tokens=tuple(range(VOCABULARY)))


def fine_tuned(model: PreTrainedModel) -> PreTrainedModel:
    """The same model with slightly other weights."""
    other = tiny_model(model.config.model_type)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return other


def two_passes(
    filler: PreTrainedModel, model: PreTrainedModel, question: tuple[int, ...], block: int, delta: Tensor
) -> Tensor:
    """One model reads the prior turn, steered at one block's output, and another one goes on from its cache."""
    cache = DynamicCache()
    layers = next(m for m in filler.modules() if isinstance(m, torch.nn.ModuleList))

    def add(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return (output[0] + delta, *output[1:]) if isinstance(output, tuple) else output + delta

    handle = layers[block].register_forward_hook(add)
    with torch.inference_mode():
        filler(torch.tensor([PRIOR]), past_key_values=cache, use_cache=True)
        handle.remove()
        positions = torch.arange(len(PRIOR), len(PRIOR) + len(question))[None]
        logits = model(torch.tensor([question]), past_key_values=cache, position_ids=positions, use_cache=True).logits[
            0, -1
        ]
    return torch.log_softmax(logits.float(), dim=-1)


def read(engine: Engine, batch: Arms | None) -> list[Reading]:
    return engine.read([Request(PRIOR + question, len(PRIOR), EVERYTHING, batch) for question in QUESTIONS])


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("first", [0, 2])
def test_a_cache_filled_by_a_fine_tune_is_answered_from_by_the_base(
    any_model: PreTrainedModel, fast: bool, first: int
) -> None:
    if any_model.config.model_type in OWN_ATTENTION and fast:
        fast = False
    other, engine = fine_tuned(any_model), TransformersEngine(any_model, fast=fast)
    delta = torch.randn(32, generator=torch.Generator().manual_seed(3))
    rows = torch.stack([torch.zeros(32), delta])
    swapped = Arms.steered({first: rows}, filler=Weights(other))
    by_itself = Arms.steered({first: rows})
    for batch, filler in ((by_itself, any_model), (swapped, other), (by_itself, any_model)):
        for question, reading in zip(QUESTIONS, read(engine, batch), strict=True):
            for row, added in enumerate((torch.zeros(32), delta)):
                expected = two_passes(filler, any_model, question, first, added)
                torch.testing.assert_close(reading.logprobs[row], expected, atol=1e-4, rtol=0)
    readings = zip(read(engine, by_itself), read(engine, swapped), strict=True)
    moved = [(reading.logprobs - other.logprobs).abs().max() for reading, other in readings]
    assert max(moved) > 1e-2


@pytest.mark.parametrize("fast", [True, False])
def test_the_base_itself_as_filler_moves_nothing_bit_for_bit(llama: PreTrainedModel, fast: bool) -> None:
    engine = TransformersEngine(llama, fast=fast)
    deltas = {1: torch.randn(3, 32, generator=torch.Generator().manual_seed(3))}
    without = read(engine, Arms.steered(deltas))
    same = read(engine, Arms.steered(deltas, filler=Weights(tiny_model("llama"))))
    assert all(torch.equal(reading.logprobs, other.logprobs) for reading, other in zip(without, same, strict=True))


def test_weights_are_switched_on_only_while_they_fill(llama: PreTrainedModel) -> None:
    """As an adapter on the same weights is: nothing of it is left in what the base computes."""
    model = tiny_model("llama")
    matrix = model.model.layers[1].mlp.up_proj.weight
    log: list[str] = []

    @contextmanager
    def doubled() -> Iterator[None]:
        log.append("on")
        matrix.data *= 2
        try:
            yield
        finally:
            matrix.data /= 2
            log.append("off")

    other = tiny_model("llama")
    other.model.layers[1].mlp.up_proj.weight.data *= 2
    engine = TransformersEngine(model)
    deltas = {2: torch.zeros(1, 32)}
    before = read(engine, Arms.steered(deltas))
    switched = read(engine, Arms.steered(deltas, filler=Weights(model, doubled)))
    after = read(engine, Arms.steered(deltas))
    for question, was, swapped, still in zip(QUESTIONS, before, switched, after, strict=True):
        assert torch.equal(was.logprobs, still.logprobs)
        expected = two_passes(other, llama, question, 2, torch.zeros(32))
        torch.testing.assert_close(swapped.logprobs[0], expected, atol=1e-4, rtol=0)
    assert log
    assert log[::2] == ["on"] * (len(log) // 2)
    request = Request((*PRIOR, 7), 5, EVERYTHING)
    (switched_on,), (changed,) = (
        TransformersEngine(Weights(model, doubled)).read([request]),
        TransformersEngine(other).read([request]),
    )
    torch.testing.assert_close(switched_on.logprobs, changed.logprobs)
