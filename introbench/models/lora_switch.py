"""What is done to a base that several adapters share: they are switched on and off, and make room for each other."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from introbench.models.checkpoint import weights_fingerprint
from introbench.models.loaders import without_progress_bars

WAITING = ("cpu", "disk")
"""Places of a device map whose weights are fetched by the first device that computes, if there is one."""

PACKAGE = "peft"
"""The package that runs adapters."""


def base_fingerprint(model: PreTrainedModel) -> str:
    """Digest of the base's weights, whatever adapters have been put on it."""
    state = {
        name.replace(".base_layer", ""): tensor for name, tensor in model.state_dict().items() if ".lora_" not in name
    }
    without_adapters = SimpleNamespace(state_dict=lambda: state, name_or_path=model.name_or_path)
    return weights_fingerprint(cast(PreTrainedModel, without_adapters))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let adapters be made or loaded without side effects on random numbers or the display, with ordinary tensors."""
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=[]),  # adapters are drawn on the CPU
        without_progress_bars(),
        warnings.catch_warnings(),
    ):
        # e.g. of a second adapter on one model; here only one is ever switched on
        warnings.filterwarnings("ignore", category=UserWarning, module=PACKAGE)
        yield


@contextmanager
def beside_its_base(model: PreTrainedModel) -> Iterator[None]:
    """Let an adapter be loaded to where its base is computed, rather than to where weights wait for their turn.

    transformers would leave the adapter of a block that is on disk there, and nothing would fetch it.
    """
    mapped: Any = model  # transformers adds the map where it has loaded by one
    places = getattr(mapped, "hf_device_map", None) or {}
    computes = next((place for place in places.values() if place not in WAITING), "cpu")
    if places:
        mapped.hf_device_map = {name: computes if place in WAITING else place for name, place in places.items()}
    try:
        yield
    finally:
        if places:
            mapped.hf_device_map = places


@contextmanager
def switched_on(model: PreTrainedModel, adapter: str, put_on: Callable[[], None]) -> Iterator[None]:
    """Switch one adapter on while the context is open; it is put on the model again if it had to make room."""
    put_on()
    try:
        model.set_adapter(adapter)
        model.enable_adapters()
        yield
    finally:
        switch_off(model)


def switch_off(model: PreTrainedModel) -> None:
    """Switch all adapters of a model off, and gradients with them."""
    if getattr(model, "_hf_peft_config_loaded", False):
        model.disable_adapters()
    model.requires_grad_(False)


def make_room(model: PreTrainedModel, target_parameters: Sequence[str] | None) -> None:
    """Take all adapters off a model if they cannot stand beside one of these target parameters.

    peft wraps a module once for each parameter that an adapter targets, so that the names of an adapter's tensors, and
    which of them it has, depend on what others target.

    Args:
        model: The model.
        target_parameters: Of the adapter that is to come; None or empty if it targets modules alone.
    """
    targets = sorted(target_parameters or ())
    on_it = getattr(model, "peft_config", {})
    if all(sorted(getattr(config, "target_parameters", None) or ()) == targets for config in on_it.values()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415 (an optional extra)

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
    on_it.clear()
    model._hf_peft_config_loaded = False
    model.requires_grad_(False)


def drop(model: PreTrainedModel, adapter: str) -> None:
    """Remove an adapter from a model, if it is there; the others stay on the model, switched off."""
    if adapter in getattr(model, "peft_config", {}):
        model._hf_peft_config_loaded = True  # not yet set if peft failed while it put the adapter in
        model.disable_adapters()
        with undisturbed():
            model.delete_adapter(adapter)
