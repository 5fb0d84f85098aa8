"""Run (tokens, injection, readout) on a transformers model."""

from introbench.engine.engine import Engine
from introbench.engine.requests import Arms, Reading, Request, Want
from introbench.engine.weights import Weights

__all__ = ["Arms", "Engine", "Reading", "Request", "Want", "Weights"]
