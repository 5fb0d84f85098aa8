"""Cascade attention, against dense attention."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from introbench.engine import attention
from introbench.engine.attention import AttentionOfPass, EndOfPass, KeysAndValues, attending, attention_implementation
from introbench.engine.requests import Tokens
from introbench.engine.trie import chain, tries
from introbench.errors import InputError
from introbench.validation.tiny_models import tiny_model


@given(tokens=st.integers(1, 50), groups=st.integers(1, 3))
def test_masks_are_laid_out_as_the_fused_kernel_for_cuda_wants_them(tokens: int, groups: int) -> None:
    visible = chain(range(tokens)).visible
    mask = attention._additive(visible, groups, torch.zeros(1))
    assert mask.stride(0) % 16 == 0
    assert torch.equal(mask == 0, visible.repeat(groups, 1))


def test_attention_with_a_position_bias_is_refused() -> None:
    query = torch.ones(1, 2, 3, 4)
    with pytest.raises(InputError, match=r"position bias of shape \(1, 2, 3, 3\): expected attention without one"):
        attention._cascade(torch.nn.Identity(), query, query, query, position_bias=torch.zeros(1, 2, 3, 3))


BRANCHES: tuple[Tokens, ...] = ((1, 2, 3), (1, 2, 4, 5), (6,))
START = 7


def dense(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    """Attention written out for [rows, heads, tokens, size] under a boolean mask [queries, keys], in float64."""
    groups = query.shape[1] // key.shape[1]
    key, value = (part.double().repeat_interleave(groups, dim=1) for part in (key, value))
    scores = query.double() @ key.transpose(-1, -2) * 0.3
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~visible, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks.double()[None, :, None, None].expand(*scores.shape[:3], 1)], dim=-1)
    weights = scores.softmax(dim=-1)[..., : key.shape[2]]
    return (weights @ value).transpose(1, 2)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_tries_attend_to_themselves_and_to_what_precedes_them(
    fused: bool, window: int | None, softcap: float | None, with_sinks: bool
) -> None:
    draw = torch.Generator().manual_seed(0)
    _, of_pass = tries(BRANCHES, size=5)
    assert len(of_pass) == 2
    count = sum(map(len, of_pass))
    query = torch.randn(2, 4, count, 8, generator=draw)
    key, value = (torch.randn(2, 2, START + count, 8, generator=draw) for _ in range(2))
    sinks = torch.randn(4, generator=draw) if with_sinks else None
    before = KeysAndValues(START)
    before.write(0, 0, key[:, :, :START], value[:, :, :START])
    attention_of_pass = AttentionOfPass(of_pass, START, before, keep=False, fused=fused)
    output = attention_of_pass.attend(0, query, key[:, :, START:], value[:, :, START:], 0.3, window, softcap, sinks)
    visible = torch.zeros(count, START + count, dtype=torch.bool)
    visible[:, :START] = True
    positions = torch.cat([torch.arange(START), *(START + trie.depths for trie in of_pass)])
    begin = 0
    for trie in of_pass:
        stop = begin + len(trie)
        visible[begin:stop, START + begin : START + stop] = trie.visible
        begin = stop
    if window is not None:
        visible &= positions[START:, None] - positions[None, :] < window
    assert torch.equal(attention_of_pass.positions, positions[START:])
    expected = dense(query, key, value, visible, softcap, sinks)
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=0)


def test_a_pass_ends_once_the_last_blocks_keys_are_kept_and_is_resumed_at_the_ends() -> None:
    draw = torch.Generator().manual_seed(0)
    _, (trie,) = tries(BRANCHES, size=100)
    query, key, value = (torch.randn(1, 2, len(trie), 8, generator=draw) for _ in range(3))
    before, pass_keys = KeysAndValues(0), KeysAndValues(len(trie))
    ended = AttentionOfPass([trie], 0, before, keep=False, fused=False, last=3, pass_keys=pass_keys)
    with pytest.raises(EndOfPass):
        ended.attend(3, query, key, value, 0.3, None, None, None)
    through = AttentionOfPass([trie], 0, before, keep=False, fused=False).attend(
        3, query, key, value, 0.3, None, None, None
    )
    ends = list(trie.ends)
    resumed = AttentionOfPass([trie], 0, before, keep=False, fused=False, pass_keys=pass_keys, ends_only=True)
    assert resumed.positions.tolist() == trie.depths[ends].tolist()
    nothing = torch.zeros(1, 2, len(ends), 8)
    at_ends = resumed.attend(3, query[:, :, ends], nothing, nothing, 0.3, None, None, None)
    torch.testing.assert_close(at_ends, through[:, ends])


def test_keys_and_values_are_kept_by_block_and_position() -> None:
    keys, values = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 5)
    kept = KeysAndValues(6)
    assert kept.bytes == 0
    kept.write(1, 2, keys, values)
    kept.write(1, 5, keys[:, :, :1], values[:, :, :1])
    assert torch.equal(kept.read(1, 2, 5)[0], keys)
    assert torch.equal(kept.read(1, 3, 6)[1], torch.cat([values[:, :, 1:], values[:, :, :1]], dim=2))
    assert kept.bytes == 4 * 2 * 6 * (4 + 5)


def test_a_models_own_attention_is_back_afterwards() -> None:
    model = tiny_model("llama")
    _, (trie,) = tries(BRANCHES, size=100)
    used = AttentionOfPass([trie], 0, KeysAndValues(0), keep=False, fused=False)
    before = attention_implementation(model)
    with attending(model, used):
        assert attention_implementation(model) == attention.NAME
    assert attention_implementation(model) == before
    with pytest.raises(RuntimeError, match="in between"), attending(model, used):
        raise RuntimeError("in between")
    assert attention_implementation(model) == before
    assert not used.attended
