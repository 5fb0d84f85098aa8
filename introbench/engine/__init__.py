"""Run (tokens, injection, readout) on a transformers model."""

from introbench.engine.plain import Engine, Fill

__all__ = ["Engine", "Fill"]
