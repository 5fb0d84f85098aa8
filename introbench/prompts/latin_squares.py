"""Orders in which options are listed, such that no option gains from its place."""

import numpy as np


def balanced_orders(options: int, replicates: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Latin squares of list orders: within a replicate every option stands at each place exactly once.

    For an even number of options, every option also directly follows every other option exactly once (Williams 1949).
    For an odd number no such cyclic square exists; the same construction is used and balances places only.

    Args:
        options: Number of options, at least one.
        replicates: Number of squares, each relabelled by another random permutation.
        rng: Source of randomness, seeded by the caller.

    Returns:
        options * replicates permutations, one replicate after another; permutation[i] is the option at place i.

    Raises:
        ValueError: There are no options, or a negative number of replicates.
    """
    if options < 1 or replicates < 0:
        raise ValueError(f"cannot order {options} options in {replicates} replicates")
    # 0, 1, -1, 2, -2, ...: the steps between neighbours are all different, so each ordered pair occurs once.
    first = np.array([(place + 1) // 2 * (1 if place % 2 else -1) for place in range(options)])
    square = (first + np.arange(options)[:, None]) % options
    orders: list[tuple[int, ...]] = []
    for _ in range(replicates):
        orders += map(tuple, rng.permutation(options)[square].tolist())
    return orders
