"""What comes to mind: judgements on given texts."""

import math

import pytest

from introbench.analysis.top_of_mind import Texts, Written, beside_opposites, judge, judged_strengths, measure


def test_a_vector_is_live_where_its_word_gains_more_than_by_chance() -> None:
    sham, injected = Texts(0.0, 0.05, 20, -3.0), Texts(0.1, 0.05, 18, -3.5)
    assert judge(sham, injected, [], [2.0, 1.0, -1.0]).live
    assert not judge(sham, injected, [], [2.0, 1.0, 2.5]).live, "a random vector does as much"
    assert not judge(sham, injected, [], [-0.5, -1.0]).live, "less than under the sham"
    assert not judge(sham, injected, [], [math.nan, 1.0]).live
    assert judge(sham, injected, [], [2.0, math.nan]).live
    assert judge(sham, injected, [], [2.0, 1.0, 0.5]).random_gain == 1.0


def test_a_text_is_coherent_if_it_could_be_the_models_own() -> None:
    sham = Texts(0.0, 0.05, 20, -3.0)
    assert judge(sham, Texts(0.1, 0.05, 18, -4.0), [], [1.0]).coherent
    assert not judge(sham, Texts(0.1, 0.05, 18, -5.0), [], [1.0]).coherent, "the model would not have said that"
    assert not judge(sham, Texts(0.1, 0.6, 18, -1.0), [], [1.0]).coherent, "a loop is likely, and no text"
    assert not judge(sham, Texts(0.0, 0.0, 2, -1.0), [], [1.0]).coherent, "a loop inside a word repeats no words"
    assert not judge(sham, Texts(0.1, 0.05, 18, math.nan), [], [1.0]).coherent


def test_texts_are_measured_as_means() -> None:
    texts = measure(["a cat and a dog", "cats cats cats cats"], [-1.0, -3.0], "cats")
    assert texts.share == pytest.approx((1 / 5 + 1) / 2)
    assert texts.repetition == pytest.approx((0 + 1 / 2) / 2)
    assert texts.words == 4.5
    assert texts.logprob == -2.0
    assert math.isnan(measure([""], [None], "cats").logprob)


def test_judgements_are_those_of_the_numbers_in_a_score() -> None:
    exact = {
        "measured": {
            "sham": [0.0, 0.05, 20, -3.0],
            "cats x2": [0.1, 0.05, 18, -3.5],
            "random 1 x2": [0.0, 0.1, 16, None],
        },
        "gains": {"2": [2.0, None, 1.5]},
        "strengths": {"2": ["cats x2", "random 1 x2"]},
    }
    (effect,) = judged_strengths(exact).values()
    assert (effect.gain, effect.random_gain) == (2.0, 1.5)
    assert effect.live
    assert effect.coherent
    assert effect.texts == Texts(0.1, 0.05, 18, -3.5)
    assert effect.random_texts.words == 16
    assert math.isnan(effect.random_texts.logprob)
    assert judged_strengths({}) == {}


def test_texts_under_a_vector_and_its_opposite_stand_beside_the_shams() -> None:
    exact = {
        "measured": {"sham": [0.0, 0.0, 9, -1.0], "at 2": [0.1, 0.0, 9, -2.0], "minus at 2": [0.0, 0.0, 9, None]},
        "gains": {"2": [1.5, 0.5]},
        "strengths": {"2": ["at 2"]},
        "opposites": {"2": "minus at 2"},
        "opposite_gains": {"2": -0.75},
        "texts": {"sham": "nothing", "at 2": "more", "minus at 2": "less"},
    }
    sham, plus, minus = beside_opposites(exact)
    assert sham == Written("2", "sham", 0.0, Texts(0.0, 0.0, 9, -1.0), "nothing")
    assert plus == Written("2", "+", 1.5, Texts(0.1, 0.0, 9, -2.0), "more")
    assert (minus.under, minus.gain, minus.text) == ("-", -0.75, "less")
    assert math.isnan(minus.texts.logprob)
    assert beside_opposites({name: exact[name] for name in ("measured", "gains", "strengths")}) == []
