"""Runs tokens under arms on a transformers model, and reads log-probabilities and states."""

from introbench.engine.engine import Engine
from introbench.engine.requests import Arms, Reading, Request, Want
from introbench.engine.weights import Weights

__all__ = ["Arms", "Engine", "Reading", "Request", "Want", "Weights"]
