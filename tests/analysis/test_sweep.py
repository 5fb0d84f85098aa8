"""Sweeps: maps, the best cell on concepts that did not choose it, and where control questions break."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from introbench.analysis.sweep import (
    EXCESS,
    SweepTrial,
    broken_from,
    excess_map,
    family_maps,
    held_out,
    interval_in_cell,
    map_cells,
)

CONCEPTS = ("a", "b", "c", "d", "e", "f")


def trials(
    effects: dict[tuple[int, int], Sequence[float]],
    flattening: float = 0.3,
    noise: float = 0.0,
    seed: int = 0,
    of_questions: float = 0.0,
) -> list[SweepTrial]:
    """Two ranges by three strengths, which flatten and push alike; introspection moves by `effects` beyond that.

    Every answer has noise, and every question has a shift in every cell, the same for all concepts.
    """
    draw = np.random.default_rng(seed)
    simulated = []
    for family, baselines in {
        "introspection": (-3.0, -2.0, 2.0, -1.0, 1.0, -1.5),
        "always_no": (-5.0, -4.0, -3.0, -6.0, -2.5, -3.5),
        "always_yes": (4.0, 5.0, 3.0, 2.0, 3.5, 4.5),
    }.items():
        for number, baseline in enumerate(baselines):
            side = 0.0 if family != "introspection" else -1.0 if baseline > 0 else 1.0
            strengths = np.array([0.1, 1.0, 3.0])[None, :, None]
            shift = np.broadcast_to(strengths * (0.2 - flattening * baseline), (2, 3, len(CONCEPTS))).copy()
            shift += noise * draw.standard_normal(shift.shape) + of_questions * draw.standard_normal((2, 3, 1))
            for cell, values in effects.items():
                shift[cell] += side * np.array(values)
            simulated.append(
                SweepTrial("info", family, f"{family}{number}", "words", "yes-no", side, np.full(2, baseline), shift)
            )
    return simulated


def test_a_push_and_flattening_alone_leave_an_excess_of_zero_in_every_cell() -> None:
    excess = excess_map(trials({}), range(6))
    assert excess.shape == (2, 3, 6)
    assert np.abs(excess).max() < 1e-9
    maps = family_maps(trials({}))
    assert (maps["always_no"] > 0).all()
    assert maps["always_yes"][:, 1:].max() < 0, "flattening moves them opposite ways"


def test_a_planted_cell_is_found_and_read_on_the_other_concepts_and_questions() -> None:
    held = held_out("info", trials({(1, 1): [1.0, 1.2, 0.8, 1.1, 0.9, 1.0]}, noise=0.01), CONCEPTS)
    assert held is not None
    assert [choice.cell for choice in held.chosen] == [(1, 1)] * 4 == [held.best] * 4
    first, _, second, _ = (set(choice.concepts) for choice in held.chosen)
    assert first | second == set(CONCEPTS)
    assert not first & second
    one, other = (set(choice.items) for choice in held.chosen[:2])
    assert one | other == {t.item for t in trials({})}
    assert not one & other
    assert sum("introspection" in item for item in one) == 3, "half of every family"
    assert held.excess.units == 6
    assert held.excess.estimate == pytest.approx(1.0, abs=0.05)
    assert held.excess.low > 0.8
    assert held.at_best == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("runs", "most_above_0"),
    [(6, 1), pytest.param(60, 8, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(("noise", "of_questions"), [(1.0, 0.0), (0.2, 0.4)])
def test_what_chance_picks_is_not_what_is_reported(
    noise: float, of_questions: float, runs: int, most_above_0: int
) -> None:
    """Without any effect, the largest cell of all is biased upward; the one read on the others is not.

    Of 120 intervals of a cell that was chosen by others, or in advance, 3 lie above 0 by chance.
    """
    flattering, honest, above_0 = [], [], 0
    for seed in range(runs):
        null = trials({}, noise=noise, seed=seed, of_questions=of_questions)
        held = held_out("info", null, CONCEPTS, seed=seed)
        assert held is not None
        flattering.append(held.at_best)
        honest.append(held.excess.estimate)
        above_0 += held.excess.low > 0
        above_0 += interval_in_cell(EXCESS, null, (0, 1), range(len(CONCEPTS))).low > 0
    assert np.mean(flattering) > 0.15
    assert abs(np.mean(honest)) < 3 * np.std(honest) / math.sqrt(runs)
    assert above_0 <= most_above_0


def test_each_part_is_read_at_the_cell_that_the_others_chose() -> None:
    """Half of the concepts have their effect in one cell, half in another: nobody's own choice is read."""
    probe = held_out("info", trials({}), CONCEPTS)
    assert probe is not None
    first = set(probe.chosen[0].concepts)
    in_first = [1.0 if concept in first else 0.0 for concept in CONCEPTS]
    held = held_out("info", trials({(0, 0): in_first, (1, 2): [1 - value for value in in_first]}), CONCEPTS)
    assert held is not None
    assert [choice.cell for choice in held.chosen] == [(0, 0), (0, 0), (1, 2), (1, 2)]
    assert held.excess.estimate == pytest.approx(0.0, abs=1e-9)

    simulated = trials({})
    for trial in simulated:  # now it is the questions that have theirs in different cells
        cell = (0, 0) if trial.item in probe.chosen[0].items else (1, 2)
        trial.shift[cell] += trial.side
    held = held_out("info", simulated, CONCEPTS)
    assert held is not None
    assert [choice.cell for choice in held.chosen] == [(0, 0), (1, 2)] * 2
    assert held.excess.estimate == pytest.approx(0.0, abs=1e-9)


def test_where_controls_break_is_the_first_strength_that_moves_them_by_half() -> None:
    assert broken_from(trials({}, flattening=0.3), range(6)) == [2, 2]
    assert broken_from(trials({}, flattening=0.9), range(6)) == [1, 1]
    assert broken_from(trials({}, flattening=0.01), range(6)) == [None, None]
    not_finite = trials({}, flattening=0.01)
    not_finite[-1].shift[0, 1] = math.nan
    assert broken_from(not_finite, range(6)) == [1, None]


def test_cells_without_finite_numbers_are_neither_chosen_nor_fatal() -> None:
    simulated = trials({(1, 2): [9.0] * 6, (0, 1): [1.0] * 6})
    simulated[0].shift[1, 2, 3] = math.nan
    held = held_out("info", simulated, CONCEPTS)
    assert held is not None
    assert held.best == (0, 1)
    assert held_out("info", simulated, CONCEPTS[:1]) is None


def empty_map(seed: int, cells: int, concepts: int, of_questions: float) -> list[SweepTrial]:
    """A map with nothing in it: twelve questions, half of them reversed, which each cell moves in its own way."""
    draw = np.random.default_rng(seed)
    of_concepts = 0.2 * draw.standard_normal((cells, 1, concepts))
    simulated = []
    for number in range(12):
        side = -1.0 if number % 2 else 1.0
        shift = of_concepts + of_questions * draw.standard_normal((cells, 1, 1))
        shift += 0.2 * draw.standard_normal((cells, 1, concepts))
        simulated.append(
            SweepTrial("info", "introspection", f"i{number}", "words", "yes-no", side, np.zeros(cells), shift)
        )
    return simulated


@pytest.mark.parametrize("runs", [8, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("concepts", "of_questions"), [(3, 0.3), (9, 0.3), (9, 0.1)])
def test_an_empty_map_seldom_has_a_mark(concepts: int, of_questions: float, runs: int) -> None:
    """21 cells. Intervals over concepts alone, cell by cell, found something in 82 of 100 empty maps."""
    with_mark, alone = [], []
    for seed in range(runs):
        cells = map_cells("introspection", empty_map(seed, 21, concepts, of_questions), range(concepts), seed)
        with_mark.append(any(cell.is_marked for cell in cells.values()))
        alone += [not cell.interval.low <= 0 <= cell.interval.high for cell in cells.values()]
    assert np.mean(alone) <= 0.06 + 2.5 * math.sqrt(0.05 * 0.95 / len(alone))
    assert np.mean(with_mark) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_an_effect_is_marked_in_its_cells_and_nowhere_else() -> None:
    found = trials({(1, 1): [2.0, 2.2, 1.8, 2.1, 1.9, 2.0]}, flattening=0.0, noise=0.05)
    cells = map_cells(EXCESS, found, range(len(CONCEPTS)))
    assert [cell for cell, of_cell in cells.items() if of_cell.is_marked] == [(1, 1)]
    one_concept = map_cells(EXCESS, found, [0])
    assert not any(cell.is_marked for cell in one_concept.values())
    assert all(math.isnan(cell.interval.low) for cell in one_concept.values())
