"""Dose and response: what is known of every strength, and which one is proposed."""

import math

import pytest

from introbench.analysis.calibrate import Response, proposed, responses


def response(norm: float, live: int, coherent: int) -> Response:
    return Response(f"{norm:g}", (norm,) * 8, (0.1,) * 8, live, coherent, 1.0)


@pytest.mark.parametrize(
    ("tried", "name"),
    [
        ([response(1, 2, 8), response(2, 5, 8), response(4, 8, 6), response(8, 8, 5)], "4"),
        ([response(8, 8, 5), response(4, 8, 6), response(1, 2, 8)], "4"),  # in any order
        ([response(1, 2, 8), response(2, 8, 5), response(4, 8, 8)], "1"),  # what is coherent again beyond is luck
        ([response(1, 0, 8), response(2, 0, 8)], None),
        ([response(1, 8, 0)], None),
        ([], None),
    ],
)
def test_the_strongest_is_proposed_up_to_which_texts_are_coherent(tried: list[Response], name: str | None) -> None:
    best = proposed(tried)
    assert (best.strength if best else None) == name


def test_responses_are_over_all_concepts_that_were_read() -> None:
    def score(gain: float, dose: float | None) -> dict:
        return {
            "measured": {"sham": [0.0, 0.0, 20, -3.0], "weak": [0.1, 0.0, 20, -3.0], "strong": [0.1, 0.0, 20, -9.0]},
            "gains": {"1": [gain], "4": [2 * gain]},
            "strengths": {"1": ["weak"], "4": ["strong"]},
            "doses": {"1": dose, "4": 1.0},
            "norms": {"1": 10.0, "4": 40.0},
        }

    weak, strong = responses([score(1.0, 0.2), {}, score(-0.5, None)])
    assert (weak.strength, strong.strength) == ("1", "4")
    assert weak.norms == (10.0, 10.0)
    assert weak.doses[0] == 0.2
    assert math.isnan(weak.doses[1])
    assert (weak.live, weak.coherent, weak.gain) == (1, 2, 0.25)
    assert (strong.live, strong.coherent, strong.gain) == (1, 0, 0.5)
    assert (weak.is_usable, strong.is_usable) == (True, False)
    assert responses([{}]) == []
