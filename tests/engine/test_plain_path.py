"""The plain path: its cache is kept, cut back, and filled again; and one forward pass as its definition."""

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, arms
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.plain_path import PlainPath, one_forward
from introbench.engine.plan import Job
from introbench.engine.weights import Weights

LAST = 3
ARMS = arms(2)


def ends(path: PlainPath, job: Job) -> list[Tensor]:
    """The residual stream after the last block at every question's end, [rows, hidden]."""
    return [states.residuals[LAST][:, 0] for states in path.run(job)]


def test_a_prior_turn_is_filled_once_for_all_of_its_questions(llama: PreTrainedModel) -> None:
    sizes: list[tuple[int, ...]] = []
    handle = llama.model.embed_tokens.register_forward_pre_hook(lambda _m, args: sizes.append(tuple(args[0].shape)))
    path = PlainPath(Weights(llama))
    first = ends(path, Job(PRIOR, QUESTIONS, (ARMS,), every_block=False))
    again = ends(path, Job(PRIOR, QUESTIONS[:1], (ARMS,), every_block=False))
    handle.remove()
    assert sizes == [(2, len(PRIOR)), *((2, len(question)) for question in QUESTIONS), (2, len(QUESTIONS[0]))]
    assert torch.equal(again[0], first[0]), "the questions in between have left nothing in the cache"


def test_what_is_kept_is_there_again_whatever_was_read_and_released_meanwhile(llama: PreTrainedModel) -> None:
    path, job = PlainPath(Weights(llama)), Job(PRIOR, QUESTIONS[:1], (ARMS,), every_block=False)
    first = ends(path, job)
    with path.keeping():
        ends(path, Job(PRIOR[:-1], QUESTIONS[:1], (ARMS,), every_block=False))
        path.release()
    sizes: list[tuple[int, ...]] = []
    handle = llama.model.embed_tokens.register_forward_pre_hook(lambda _m, args: sizes.append(tuple(args[0].shape)))
    again = ends(path, job)
    handle.remove()
    assert sizes == [(2, len(QUESTIONS[0]))]
    assert torch.equal(again[0], first[0])


def test_states_of_every_block_are_given_where_they_are_asked_for(llama: PreTrainedModel) -> None:
    path = PlainPath(Weights(llama))
    (states,) = path.run(Job(PRIOR, QUESTIONS[:1], (None,), every_block=True))
    assert sorted(states.residuals) == [0, 1, 2, 3]
    assert all(residual.shape == (1, 1, 32) for residual in states.residuals.values())
    assert states.logits is None


def test_its_own_logits_are_those_of_one_forward_pass(llama: PreTrainedModel) -> None:
    path = PlainPath(Weights(llama), own_logits=True)
    for states in path.run(Job(PRIOR, QUESTIONS, (ARMS,), every_block=False)):
        assert states.logits is not None
        expected = one_forward(Weights(llama), PRIOR + states.questions[0], len(PRIOR), ARMS.deltas)
        torch.testing.assert_close(torch.log_softmax(states.logits[:, 0], dim=-1), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_memory_that_runs_out_halves_the_arms(llama: PreTrainedModel, fails: int) -> None:
    batch = arms(4)
    job = Job(PRIOR, QUESTIONS[:2], (batch,), every_block=False)
    expected = ends(PlainPath(Weights(llama)), job)
    calls = 0

    def run_out(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls <= fails:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle = llama.model.layers[2].register_forward_pre_hook(run_out)
    path = PlainPath(Weights(llama))
    given = ends(path, job)
    handle.remove()
    assert path.reductions == fails
    for residual, together in zip(given, expected, strict=True):
        torch.testing.assert_close(residual, together, atol=1e-4, rtol=0)
