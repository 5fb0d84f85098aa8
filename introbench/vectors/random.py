"""Random directions: the control that says what any perturbation of that size and shape would do."""

import hashlib

import numpy as np
import torch
from torch import Tensor


def random_rotation(directions: Tensor, concept: str, seed: int, draw: int) -> Tensor:
    """Turn a concept's vectors by one random rotation of the residual stream.

    A concept's vectors at neighbouring layers point roughly the same way, so their pushes add up across the steered
    layers. Directions drawn anew at each layer would nearly cancel out, and one direction for all layers would add
    up too well. A rotation keeps every norm and every angle between layers, and leaves nothing of the concept.

    Args:
        directions: The concept's vectors, [layers, hidden].
        concept: Whose they are; rotations of two concepts are independent.
        seed: The run's seed.
        draw: Which of the seed's rotations.

    Returns:
        float32 [layers, hidden], rows of unit norm if those of `directions` are.
    """
    n_layers, hidden = directions.shape
    key = int.from_bytes(hashlib.sha256(concept.encode()).digest()[:8], "big")
    noise = np.random.default_rng([seed, draw, key]).standard_normal((hidden, min(n_layers, hidden)))
    # Only the span of the vectors has to be turned: write them in an orthonormal basis, then swap the basis.
    _, coordinates = np.linalg.qr(directions.double().numpy().T)
    basis, _ = np.linalg.qr(noise)
    return torch.from_numpy((basis @ coordinates).T.copy()).float()
