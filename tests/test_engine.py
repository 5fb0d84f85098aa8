"""The engine against plain transformers: what is steered, what is not, and that nothing is left behind."""

from typing import Any

import pytest
import torch
from conftest import VOCABULARY, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine import Engine
from introbench.engine.hooks import steering
from introbench.errors import InputError

LAYERS = (1, 3)
PRIOR = [5, 9, 33, 2, 71, 18, 40, 11, 64, 3]
QUESTION = [7, 90, 4, 52]


def deltas(rows: int, hidden: int, scale: float = 1.0, seed: int = 1) -> dict[int, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {layer: scale * torch.randn(rows, hidden, generator=draw) for layer in range(*LAYERS)}


def one_forward(model: PreTrainedModel, tokens: list[int], steered: int, added: dict[int, Tensor]) -> Tensor:
    """Log-probabilities from a single pass in which only the first `steered` positions are steered."""
    rows = next(iter(added.values())).shape[0]
    with torch.inference_mode(), steering(Engine(model).parts.layers, added, slice(0, steered)):
        logits = model(torch.tensor([tokens] * rows), use_cache=False).logits[:, -1]
    return torch.log_softmax(logits.float(), dim=-1)


def test_two_steps_equal_one_forward(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    added = deltas(3, 32)
    two_steps = engine.read(engine.fill(PRIOR, added, rows=3), QUESTION)
    torch.testing.assert_close(
        two_steps, one_forward(any_model, PRIOR + QUESTION, len(PRIOR), added), atol=1e-4, rtol=0
    )
    assert (two_steps[0] - two_steps[1]).abs().max() > 1e-3, (
        "the injection must move the answer for this to test anything"
    )


def test_arms_share_what_lies_below_the_first_steered_block(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    assert engine.sharing_note == "layers below the first steered one are computed once for all arms"
    added = deltas(5, 32)
    fill = engine.fill(PRIOR, added, rows=5)
    assert [layer.keys.shape[0] for layer in fill.cache.layers] == [1, 5, 5, 5]
    apart = engine.read(engine.fill(PRIOR, added, rows=5, first=0), QUESTION)
    torch.testing.assert_close(engine.read(fill, QUESTION), apart, atol=1e-4, rtol=0)


def test_a_model_that_cannot_share_computes_every_arm_from_the_first_layer_on() -> None:
    model, untouched = tiny_model("llama"), Engine(tiny_model("llama"))

    def same_batch(_module: torch.nn.Module, args: tuple[Tensor], kwargs: dict[str, Any]) -> None:
        if args[0].shape[0] != model.batch:
            raise RuntimeError("another batch than the embeddings had")

    def note_batch(_module: torch.nn.Module, args: tuple[Tensor]) -> None:
        model.batch = args[0].shape[0]

    model.model.embed_tokens.register_forward_pre_hook(note_batch)
    model.model.layers[3].register_forward_pre_hook(same_batch, with_kwargs=True)
    engine, added = Engine(model), deltas(3, 32)
    assert engine.sharing_note == (
        "every arm is computed from the first layer on "
        "(sharing the clean layers: RuntimeError: another batch than the embeddings had)"
    )
    read = engine.read(engine.fill(PRIOR, added, rows=3), QUESTION)
    torch.testing.assert_close(read, untouched.read(untouched.fill(PRIOR, added, rows=3), QUESTION), atol=1e-4, rtol=0)


def test_readout_is_the_models_own_distribution(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    assert engine.readout_note.startswith("float32 norm and unembedding")
    with torch.inference_mode():
        own = torch.log_softmax(any_model(torch.tensor([PRIOR + QUESTION])).logits[0, -1].float(), dim=-1)
    torch.testing.assert_close(engine.read(engine.fill(PRIOR, {}), QUESTION)[0], own, atol=1e-4, rtol=0)


def test_strength_zero_is_no_injection_bit_for_bit(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    nothing = engine.read(engine.fill(PRIOR, {}, rows=2, first=LAYERS[0]), QUESTION)
    zeros = engine.read(engine.fill(PRIOR, deltas(2, 32, scale=0.0), rows=2), QUESTION)
    assert torch.equal(nothing, zeros)


def test_only_the_prior_turn_is_steered_and_by_exactly_the_vector(llama: PreTrainedModel) -> None:
    added = deltas(1, 32)
    tokens = torch.tensor([PRIOR + QUESTION])
    layers = Engine(llama).parts.layers

    def outputs(steered: bool) -> list[Tensor]:
        kept: list[Tensor] = []
        context = steering(layers, added if steered else {}, slice(0, len(PRIOR)))
        with torch.inference_mode(), context:
            # registered after the steering hooks, so they see what the next block is given
            looks = [
                layer.register_forward_hook(lambda _m, _a, output: kept.append(output.clone())) for layer in layers
            ]
            llama(tokens)
        for look in looks:
            look.remove()
        return kept

    clean, steered = outputs(steered=False), outputs(steered=True)
    first = LAYERS[0]
    for below in range(first):
        assert torch.equal(clean[below], steered[below])
    assert torch.equal(steered[first][:, : len(PRIOR)], clean[first][:, : len(PRIOR)] + added[first])
    assert torch.equal(steered[first][:, len(PRIOR) :], clean[first][:, len(PRIOR) :])


def test_the_fill_steers_every_prior_token_and_the_question_none(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    added = deltas(1, 32)
    fill = engine.fill(PRIOR, added)
    kept: list[Tensor] = []
    look = engine.parts.layers[LAYERS[0]].register_forward_hook(lambda _m, _a, output: kept.append(output.clone()))
    engine.read(fill, QUESTION)
    engine.read(engine.fill(PRIOR, {}, first=LAYERS[0]), QUESTION)
    look.remove()
    asked_steered, _, asked_clean = kept
    assert asked_steered.shape[1] == len(QUESTION)
    # At the first injected block nothing steered has been attended to yet, so a question's residuals are untouched.
    assert torch.equal(asked_steered, asked_clean)


def test_model_is_untouched_after_use_and_after_a_failure(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    tokens = torch.tensor([PRIOR])
    hooks_before = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in llama.modules()]
    with torch.inference_mode():
        before = llama(tokens).logits
    engine.read(engine.fill(PRIOR, deltas(2, 32), rows=2), QUESTION)

    def explode(*_: object) -> None:
        raise RuntimeError("in the middle")

    bomb = engine.parts.layers[2].register_forward_hook(explode)
    with pytest.raises(RuntimeError, match="in the middle"):
        engine.fill(PRIOR, deltas(2, 32), rows=2)
    bomb.remove()
    with torch.inference_mode():
        assert torch.equal(before, llama(tokens).logits)
    assert hooks_before == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in llama.modules()]


def test_a_failed_question_leaves_the_fill_as_it_was(llama: PreTrainedModel) -> None:
    engine = Engine(llama)
    fill = engine.fill(PRIOR, deltas(2, 32), rows=2)
    before = engine.read(fill, QUESTION)

    def explode(*_: object) -> None:
        raise RuntimeError("half-way")

    bomb = engine.parts.layers[2].register_forward_hook(explode)
    with pytest.raises(RuntimeError, match="half-way"):
        engine.read(fill, QUESTION)
    bomb.remove()
    assert torch.equal(before, engine.read(fill, QUESTION))


@settings(max_examples=25, deadline=None)
@given(
    prior=st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=20),
    questions=st.lists(st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=9), min_size=1, max_size=4),
    rows=st.integers(1, 9),
    scale=st.floats(0.0, 20.0),
)
def test_every_arm_and_question_equals_itself_alone(
    prior: list[int], questions: list[list[int]], rows: int, scale: float
) -> None:
    engine = Engine(_GEMMA)
    added = deltas(rows, 32, scale)
    fill = engine.fill(prior, added, rows)
    together = [engine.read(fill, question) for question in questions]
    for question, read in zip(questions, together, strict=True):
        for row in {0, rows - 1}:
            alone = {layer: delta[row : row + 1] for layer, delta in added.items()}
            single = engine.read(engine.fill(prior, alone), question)[0]
            torch.testing.assert_close(read[row], single, atol=1e-4, rtol=0)


_GEMMA = tiny_model("gemma3_text")


def test_residuals_of_branches_equal_each_conversation_alone(any_model: PreTrainedModel) -> None:
    engine = Engine(any_model)
    branches = [[7], [8, 9, 10], [11, 12], [13]]
    together = engine.residuals(PRIOR, branches)
    for branch, residual in zip(branches, together, strict=True):
        torch.testing.assert_close(residual, engine.residuals([5], [PRIOR[1:] + branch])[0], atol=1e-4, rtol=1e-4)


def test_bfloat16_models_are_read_in_float32() -> None:
    rounded = tiny_model("llama").bfloat16()
    engine = Engine(rounded)
    assert engine.readout_note.startswith("float32")
    read = engine.read(engine.fill(PRIOR, {}), QUESTION)[0]
    assert read.dtype == torch.float32
    with torch.inference_mode():
        own = torch.log_softmax(rounded(torch.tensor([PRIOR + QUESTION])).logits[0, -1].float(), dim=-1)
    torch.testing.assert_close(read, own, atol=0.5, rtol=0)
    gap = read[4] - read[5]  # log-odds of two tokens: on bfloat16 logits, a multiple of their rounding step
    assert gap != gap.bfloat16().float()


def test_a_readout_that_disagrees_falls_back_to_the_models_own_logits() -> None:
    model = tiny_model("llama")
    head = model.lm_head
    head.register_forward_hook(lambda _m, _a, logits: logits * 0.5)  # a scaling that no configuration tells of
    engine = Engine(model)
    assert "own logits" in engine.readout_note
    assert "differs" in engine.readout_note
    with torch.inference_mode():
        own = torch.log_softmax(model(torch.tensor([PRIOR + QUESTION])).logits[0, -1], dim=-1)
    torch.testing.assert_close(engine.read(engine.fill(PRIOR, {}), QUESTION)[0], own, atol=1e-4, rtol=0)


def test_a_model_whose_cache_gives_something_else_is_refused() -> None:
    model = tiny_model("llama")

    def forget(_module: torch.nn.Module, _args: object, kwargs: dict[str, Any]) -> tuple[object, dict[str, Any]]:
        cached = kwargs.get("past_key_values")
        if cached is not None and cached.get_seq_length(2):
            kwargs["position_ids"] = kwargs["position_ids"] * 0
            kwargs["position_embeddings"] = tuple(part * 0.5 for part in kwargs["position_embeddings"])
        return _args, kwargs

    model.model.layers[2].register_forward_pre_hook(forget, with_kwargs=True)
    with pytest.raises(InputError, match="a cache fill and a question do not give what one forward pass gives"):
        Engine(model)


def test_models_without_a_kv_cache_are_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4))
    with pytest.raises(InputError, match=r"mamba: keeps a recurrent state; expected a KV cache"):
        Engine(model)
