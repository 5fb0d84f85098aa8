"""A set of weights as the engine runs it: the model, its parts, and the adapter to switch on while it runs."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

from transformers import PreTrainedModel

from introbench.engine.architecture import Architecture, find_parts
from introbench.engine.hooks import returns_tuples


@dataclass(frozen=True, eq=False)
class Weights:
    """One set of weights; two sets may share a model, which is then switched between them.

    Attributes:
        model: A decoder-only transformers model.
        switched: Makes a context in which the model has these weights, e.g. with an adapter switched on.
    """

    model: PreTrainedModel = field(repr=False)
    switched: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False)

    @cached_property
    def parts(self) -> Architecture:
        """The model's blocks, final norm and unembedding."""
        return find_parts(self.model)

    @cached_property
    def as_tuples(self) -> bool:
        """Whether the model's blocks return tuples."""
        return returns_tuples(self.parts.decoder, self.parts.layers[0], self.parts.device)
