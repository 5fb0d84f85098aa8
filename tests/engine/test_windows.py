"""Which tokens a window steers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from introbench.engine.vllm.path import steering_of
from introbench.engine.windows import EVERYWHERE, Window


@given(st.integers(1, 12), st.data())
def test_parts_cut_the_prompt_and_arms_steer_the_same_tokens(prompt: int, data: st.DataObject) -> None:
    end = data.draw(st.none() | st.integers(1, prompt))
    window = Window(data.draw(st.integers(0, (prompt if end is None else end) - 1)), end)
    window.check(prompt)
    parts = list(window.parts(prompt))
    assert [position for begin, stop, _ in parts for position in range(begin, stop)] == list(range(prompt))
    steered = [is_steered for begin, stop, is_steered in parts for _ in range(begin, stop)]
    assert steered == [window.begin <= position < (prompt if end is None else end) for position in range(prompt)]

    arms, prior = window.arms({1: torch.ones(2, 3)}, prompt)
    written = 2
    shares = steering_of(arms, 1, prior, prompt + written).shares.sum(dim=0)
    assert shares.tolist() == [float(one) for one in [*steered, *[end is None] * written]]


def test_everything_is_steered_by_default() -> None:
    assert list(EVERYWHERE.parts(4)) == [(0, 4, True)]


@pytest.mark.parametrize("window", [Window(3, 3), Window(-1), Window(4), Window(0, 5)])
def test_a_window_outside_of_the_prompt_is_refused(window: Window) -> None:
    with pytest.raises(ValueError, match="of 4 tokens: expected 0 <= begin < end <= 4"):
        window.check(4)
