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
    noise = _draws(concept, seed, draw).standard_normal((hidden, min(n_layers, hidden)))
    # Only the span of the vectors has to be turned: write them in an orthonormal basis, then swap the basis.
    _, coordinates = np.linalg.qr(directions.double().numpy().T)
    basis, _ = np.linalg.qr(noise)
    return torch.from_numpy((basis @ coordinates).T.copy()).float()


def gaussian(directions: Tensor, concept: str, seed: int, draw: int) -> Tensor:
    """Directions drawn anew at each layer, uniformly, with the norms of a concept's vectors.

    What most published controls use. Their pushes at neighbouring layers nearly cancel, so that they add up to less
    than a concept's vectors of the same norms do; compare them at equal impact as well.

    Args:
        directions: The concept's vectors, [layers, hidden].
        concept: Whose they are; those of two concepts are independent.
        seed: The run's seed.
        draw: Which of the seed's vectors.

    Returns:
        float32 [layers, hidden].
    """
    noise = torch.from_numpy(_draws(concept, seed, draw).standard_normal(tuple(directions.shape)))
    norms = directions.double().norm(dim=-1, keepdim=True)
    return (norms * noise / noise.norm(dim=-1, keepdim=True)).float()


def shuffled(directions: Tensor, concept: str, seed: int, draw: int) -> Tensor:
    """A concept's vectors with their coordinates shuffled, in the same way at each layer.

    Keeps every norm, every angle between layers, and how the numbers are distributed (a few large coordinates among
    many small ones), which a rotation does not; leaves nothing of the concept.

    Args:
        directions: The concept's vectors, [layers, hidden].
        concept: Whose they are.
        seed: The run's seed.
        draw: Which of the seed's orders.

    Returns:
        [layers, hidden], the same numbers in another order.
    """
    order = _draws(concept, seed, draw).permutation(directions.shape[1])
    return directions[:, torch.from_numpy(order)]


def covariance_matched(residuals: Tensor, concept: str, seed: int, draw: int) -> Tensor:
    """A Gaussian vector with the covariance that the residual stream has over neutral texts, at unit norm per layer.

    A weighted sum of the centred residuals with independent normal weights has their covariance exactly, and one set
    of weights for all layers keeps what the layers have in common. Such a vector lies where the model's activity
    lies, so it disturbs more than an arbitrary direction of the same norm.

    Args:
        residuals: Residual streams over neutral texts, [texts, layers, hidden].
        concept: Whose control this is; those of two concepts are independent.
        seed: The run's seed.
        draw: Which of the seed's vectors.

    Returns:
        float32 [layers, hidden], rows of unit norm.
    """
    weights = torch.from_numpy(_draws(concept, seed, draw).standard_normal(len(residuals)))
    centred = residuals.double() - residuals.double().mean(dim=0)
    vectors = torch.einsum("t,tlh->lh", weights, centred)
    return (vectors / vectors.norm(dim=-1, keepdim=True)).float()


def _draws(concept: str, seed: int, draw: int) -> np.random.Generator:
    key = int.from_bytes(hashlib.sha256(concept.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, draw, key])
