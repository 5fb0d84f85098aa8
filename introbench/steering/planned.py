"""Which arms of a batch are run side by side, and where they part, before any vector is known."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from introbench.engine.workload import SideBySide
from introbench.steering.injection import NOTHING, TELL_ME_ABOUT, Injection


def planned_arms(batch: Sequence[Injection]) -> list[SideBySide]:
    """The arms of a batch as the engine will run them.

    Args:
        batch: The injections, row by row.
    """
    alike: dict[tuple[int, str | None], list[Injection]] = {}
    for injection in batch:
        alike.setdefault((injection.batch, injection.filler), []).append(injection)
    return [
        SideBySide(
            len(injections),
            {
                block: [_added(injection, block) for injection in injections]
                for block in sorted({block for injection in injections for block in range(*injection.layers)})
            },
            filler,
        )
        for (_, filler), injections in alike.items()
    ]


def _added(injection: Injection, block: int) -> Hashable:
    """Stands for what an injection adds to a block's output; None for nothing."""
    start, stop = injection.layers
    if injection.vector is None or injection.strength == NOTHING or not start <= block < stop:
        return None
    vector, like = injection.vector, injection.like
    # At the norm of another vector, one of unit norm is what it is at that strength of its own.
    if (
        injection.match == "norm"
        and injection.strength.unit != "kl"
        and not (vector.file or (like and like.file) or vector.method == TELL_ME_ABOUT)
    ):
        like = None
    return replace(injection, layers=(0, 1), filler=None, batch=0, like=like)
