"""A model that somebody has loaded already, which is read as it is and stays as it was."""

import copy
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.models.finite_weights import broken_part


@dataclass(frozen=True)
class GivenModel(Checkpoint):
    """A checkpoint whose weights are in memory.

    Attributes:
        given: The model; nothing of it is changed.
        given_tokenizer: Its tokenizer; a copy is used, whose chat template may be changed.
    """

    given: Any = field(default=None, repr=False, compare=False)
    given_tokenizer: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def _full_config(self) -> Any:
        return self.given.config

    @cached_property
    def _loaded_tokenizer(self) -> Any:
        return copy.deepcopy(self.given_tokenizer)

    def load(self) -> PreTrainedModel:
        """The model as it is.

        Raises:
            InputError: Weights are NaN or infinite.
        """
        model: PreTrainedModel = self.given
        if broken := broken_part(model):
            raise InputError(
                f"model {self.name}: the weights of {broken} hold values that are not finite; expected numbers; load "
                f"it anew"
            )
        return model


@contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """A context in which all modules of a model are in evaluation mode; afterwards each is in the mode that it had."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def state_of(model: PreTrainedModel) -> Hashable:
    """What a model's numbers depend on: another value means that weights, devices or hooks have changed."""
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
    return weights_fingerprint(model), tuple({str(weight.device) for weight in model.parameters()}), hooks
