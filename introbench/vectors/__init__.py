"""Steering vectors: extraction, random controls, and the store that keeps them."""

from introbench.vectors.library import VectorLibrary

__all__ = ["VectorLibrary"]
