"""Orders in which to list options, so that no option gains from where it stands."""

import numpy as np


def balanced_orders(options: int, replicates: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Latin squares of list orders: within a replicate every option stands at each place exactly once.

    For an even number of options each one also comes directly after each other one exactly once (Williams 1949). For
    an odd number no such cyclic square exists; the same construction is used and balances places only.

    Args:
        options: How many options there are, at least one.
        replicates: How many squares, each relabelled by a permutation of its own.
        rng: Source of randomness, seeded by the caller.

    Returns:
        options * replicates permutations, one replicate after another; perm[i] is the option shown at place i.
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
