"""What an engine is asked."""

from dataclasses import replace

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, arms, in_part, requests_of

from introbench.engine import Arms, Reading, Request, Want


def test_arms_made_for_another_prior_turn_are_refused() -> None:
    with pytest.raises(ValueError, match="profile of 10 tokens: expected one of the prior turn's 3"):
        requests_of(PRIOR[:3], QUESTIONS[:1], in_part(2))
    with pytest.raises(ValueError, match=r"profile of shape \(3, 10\): expected \[2, prior tokens\]"):
        replace(arms(2), profile=in_part(3).profile)


def test_deltas_of_another_shape_or_below_the_first_block_are_refused() -> None:
    with pytest.raises(ValueError, match=r"delta of shape \(3, 4\) at block 1: expected \[2, hidden\] at block 1"):
        Arms(2, 1, {1: torch.zeros(3, 4)})
    with pytest.raises(ValueError, match=r"at block 0: expected \[2, hidden\] at block 1 or above"):
        Arms(2, 1, {0: torch.zeros(2, 4)})


def test_arms_can_be_cut_by_rows() -> None:
    batch = replace(in_part(5), question_deltas=arms(5, seed=2).deltas)
    part = batch.part(1, 3)
    assert (part.rows, part.first) == (2, batch.first)
    for block, delta in batch.deltas.items():
        assert torch.equal(part.deltas[block], delta[1:3])
    for block, delta in batch.question_deltas.items():
        assert torch.equal(part.question_deltas[block], delta[1:3])
    assert part.profile is not None
    assert batch.profile is not None
    assert torch.equal(part.profile, batch.profile[1:3])


@pytest.mark.parametrize("prior", [0, 3])
def test_a_conversation_has_a_prior_turn_and_a_question(prior: int) -> None:
    with pytest.raises(ValueError, match=f"prior={prior} of 3 tokens: expected at least one on each side"):
        Request((1, 2, 3), prior, Want())


def test_readings_of_different_rows_are_joined_in_the_order_of_the_batch() -> None:
    def part(rows: list[int]) -> tuple[list[int], Reading]:
        values = torch.tensor(rows, dtype=torch.float32)
        logprobs = values[:, None].expand(-1, 2).contiguous()
        return rows, Reading(
            logprobs,
            logprobs.long(),
            logprobs,
            [row != 3 for row in rows],
            lens=torch.stack([logprobs, logprobs + 10]),
            residuals=torch.stack([logprobs, logprobs + 20]),
            divergence=values.double(),
        )

    joined = Reading.joined([part([0, 3, 4]), part([2, 1])])
    assert joined.logprobs[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert joined.top_ids[:, 1].tolist() == [0, 1, 2, 3, 4]
    assert joined.finite == [True, True, True, False, True]
    assert joined.lens[1, :, 0].tolist() == [10, 11, 12, 13, 14]
    assert joined.residuals[1, :, 0].tolist() == [20, 21, 22, 23, 24]
    assert joined.divergence.tolist() == [0, 1, 2, 3, 4]
