"""Random directions: the control that says what any perturbation of that size would do."""

import numpy as np
import torch
from torch import Tensor


def random_directions(n_layers: int, hidden: int, seed: int, draw: int) -> Tensor:
    """A Gaussian direction, the same at every layer.

    A concept's vectors at neighbouring layers point the same way, so their pushes add up across the steered range.
    Directions drawn anew at each layer would nearly cancel and make a far weaker control at the same norm.

    Args:
        n_layers: Number of decoder blocks.
        hidden: Width of the residual stream.
        seed: The run's seed.
        draw: Which of the seed's vectors.

    Returns:
        float32 [layers, hidden], rows of unit norm; the same on every platform.
    """
    direction = np.random.default_rng([seed, draw]).standard_normal(hidden)
    unit = torch.from_numpy(direction / np.linalg.norm(direction)).float()
    return unit.expand(n_layers, hidden).clone()
