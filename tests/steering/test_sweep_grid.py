"""The grid of a sweep: ranges of layers, strengths, and the batch of all injections."""

import pytest

from introbench.errors import InputError
from introbench.steering.injection import Injection, Strength, VectorRecipe, sham
from introbench.steering.sweep_grid import Grid, parse_ranges, range_text


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (None, [(s, e) for s in range(0, 30, 5) for e in range(5, 31, 5) if s < e]),
        ("triangle:2", [(0, 15), (0, 30), (15, 30)]),
        ("triangle:1", [(0, 30)]),
        ("single:10", [(0, 1), (10, 11), (20, 21)]),
        ("10:20", [(10, 20)]),
        (620, [(10, 20)]),
        (["20:30", "10:20"], [(10, 20), (20, 30)]),
    ],
)
def test_ranges_are_read_as_written(value: object, ranges: list[tuple[int, int]]) -> None:
    assert sorted(parse_ranges(value, 30)) == sorted(ranges)
    assert len(parse_ranges("single", 30)) == 30
    assert len(parse_ranges(None, 2)) == 3, "fewer layers than steps"


@pytest.mark.parametrize("value", ["triangle", "triangle:0", "triangle:x", "single:0", [], ["1:2", "1:2"]])
def test_bad_ranges_are_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"ranges=.*expected triangle:N, single"):
        parse_ranges(value, 30)


def test_ranges_that_start_together_share_a_batch_and_each_has_a_sham() -> None:
    vectors = tuple(VectorRecipe("pca_center", word) for word in ("cats", "bread"))
    grid = Grid(((0, 2), (0, 4), (2, 4)), (Strength(1), Strength(8)), vectors)
    assert len(grid.batch) == len(grid.arms) == 3 * (1 + 2 * 2)
    together = [injection for injection in grid.batch if injection.batch == 0]
    assert together == list(grid.batch[:10]), "batch after batch"
    assert together == [
        *(sham(layers) for layers in ((0, 2), (0, 4))),
        *(
            Injection(vector, layers, strength)
            for strength in grid.strengths
            for vector in vectors
            for layers in ((0, 2), (0, 4))
        ),
    ]
    assert {injection.layers for injection in grid.batch[10:]} == {(2, 4)}
    assert {injection.batch for injection in grid.batch[10:]} == {1}
    assert [*grid.arms][:6] == ["sham 0:2", "cats 0:2 x1", "bread 0:2 x1", "cats 0:2 x8", "bread 0:2 x8", "sham 0:4"]
    for name, arm in grid.arms.items():
        injection = grid.batch[arm.row]
        what = injection.vector.label if injection.vector else "sham"
        assert name.startswith(f"{what} {range_text(injection.layers)}")
        assert name.endswith(f"x{injection.strength}" if injection.vector else range_text(injection.layers))
