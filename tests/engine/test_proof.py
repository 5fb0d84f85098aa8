"""What is given up when a model loads, because it disagrees with one forward pass."""

from typing import Any

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, arms, assert_true, requests_of
from torch import Tensor

from introbench.engine import TransformersEngine, Want, attention, attention_kernels
from introbench.errors import InputError
from introbench.validation.tiny_models import tiny_model


def test_a_model_with_an_attention_of_its_own_says_so() -> None:
    note = TransformersEngine(tiny_model("falcon")).notes["path"]
    assert note == (
        "plain: question by question (this model's attention does not go through transformers' attention interface)"
    )


def test_fused_attention_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")

    def wrong(*given: Any) -> tuple[Tensor, Tensor]:
        output, lse = attention_kernels.step_by_step(*given)
        return output, lse * 1.5

    def absent(*_: Any) -> tuple[Tensor, Tensor]:
        raise AttributeError("no such operator")

    reasons = (
        "not with fused attention: moves log-probabilities by",
        "not with fused attention: AttributeError: no such",
    )
    for broken, reason in zip((wrong, absent), reasons, strict=True):
        monkeypatch.setitem(attention_kernels._FUSED, "cpu", broken)
        engine = TransformersEngine(model)
        assert engine.notes["path"].startswith(
            "fast: shared prior turns, token tries, attention in plain steps; not with"
        )
        assert reason in engine.notes["path"]
        requests = requests_of(PRIOR, QUESTIONS, arms(3))
        assert_true(model, requests, engine.read(requests))


def test_a_fast_path_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    monkeypatch.setattr(attention.AttentionOfPass, "_trie_mask", lambda *_: None)
    engine = TransformersEngine(model)
    assert engine.notes["path"].startswith("plain: question by question; not with attention in plain steps: moves ")
    requests = requests_of(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))


def test_a_model_that_cannot_begin_half_way_takes_the_plain_path() -> None:
    model = tiny_model("llama")

    def note_batch(_module: torch.nn.Module, args: tuple[Tensor]) -> None:
        model.batch = args[0].shape[0]

    def same_batch(_module: torch.nn.Module, args: tuple[Tensor], kwargs: dict[str, Any]) -> None:
        if args[0].shape[0] != model.batch:
            raise RuntimeError("another batch than the embeddings had")

    model.model.embed_tokens.register_forward_pre_hook(note_batch)
    model.model.layers[3].register_forward_pre_hook(same_batch, with_kwargs=True)
    engine = TransformersEngine(model)
    assert (
        "plain: question by question; not with attention in plain steps: RuntimeError: another batch"
        in engine.notes["path"]
    )
    requests = requests_of(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))


def test_a_readout_that_disagrees_falls_back_to_the_models_own_logits() -> None:
    model = tiny_model("llama")
    model.lm_head.register_forward_hook(lambda _m, _a, logits: logits * 0.5)  # a scaling that no configuration tells of
    engine = TransformersEngine(model)
    assert engine.notes["readout"].startswith("the model's own logits, upcast to float32 (differs")
    assert "needs the float32 readout" in engine.notes["path"]
    requests = requests_of(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))
    with pytest.raises(InputError, match="logit lens: only the model's own logits"):
        engine.read(requests_of(PRIOR, QUESTIONS, None, Want(lens=True)))


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
        TransformersEngine(model)


class Int8Linear(torch.nn.Module):
    """Weights in int8 with a scale for each row, as weight-only quantisation keeps them."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("quantised", (linear.weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, values: Tensor) -> Tensor:
        return torch.nn.functional.linear(values, self.quantised * self.scale)


@pytest.mark.parametrize("with_unembedding", [False, True])
def test_quantised_linears_are_right(with_unembedding: bool) -> None:
    model = tiny_model("llama")
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Linear) and (name != "lm_head" or with_unembedding):
                setattr(parent, name, Int8Linear(child))
    engine = TransformersEngine(model)
    assert engine.notes["path"].startswith("plain" if with_unembedding else "fast")
    assert ("unembedding of type Int8Linear" in engine.notes["readout"]) == with_unembedding
    requests = requests_of(PRIOR, QUESTIONS, arms(3))
    assert_true(model, requests, engine.read(requests))
