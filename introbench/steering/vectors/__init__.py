"""Steering vectors: extraction, random controls, and the store that keeps them."""

from introbench.steering.vectors.library import VectorLibrary

__all__ = ["VectorLibrary"]
