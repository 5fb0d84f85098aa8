"""Runs tokens under arms on a model, here or on a server, and reads log-probabilities and states."""

from introbench.engine.engine import Engine
from introbench.engine.requests import Arms, Reading, Request, Want
from introbench.engine.transformers_engine import TransformersEngine
from introbench.engine.weights import Weights

__all__ = ["Arms", "Engine", "Reading", "Request", "TransformersEngine", "Want", "Weights"]
