"""What of transformers loads a model, and how quietly."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
)
from transformers.utils import logging as transformers_logging

_LOADERS: tuple[tuple[Any, Any], ...] = (
    (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
    (AutoModelForImageTextToText, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
    (AutoModelForMultimodalLM, MODEL_FOR_MULTIMODAL_LM_MAPPING),
)
"""What loads a model, and the types of models that it knows: language models first, then those around one."""


def loader_of(config: Any, own_code: Mapping[str, str] | None = None) -> Any:
    """What loads a model: as a language model, or else as one that takes pictures or sound and has one inside.

    Args:
        config: The model's configuration, whole.
        own_code: Classes in the model's own repository that may be used, by the loader that each is meant for.

    Returns:
        A class of transformers such as `AutoModelForCausalLM`; None if there is none for this model.
    """
    for loader, types in _LOADERS:
        if type(config) in types or loader.__name__ in (own_code or {}):
            return loader
    return None


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Hide the progress bars of transformers, which would break the display of the evaluation."""
    bars_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars_shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hide the warnings of transformers."""
    shown_so_far = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(shown_so_far)
