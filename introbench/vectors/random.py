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
