"""Refuse before a run begins what this machine could not load: device, quantisation, and headers of weights."""

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from transformers.quantizers.auto import AutoHfQuantizer

from introbench.errors import InputError, first_line, shown

if TYPE_CHECKING:
    from introbench.models.checkpoint import Checkpoint

DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Values of `-M device_map` that leave the choice of devices to transformers."""


def check_loadable(placed: "Checkpoint", dtype: str) -> None:
    """Refuse weights that could not be loaded as it is asked for; see the functions below.

    Args:
        placed: Which weights, and where to.
        dtype: The dtype of what is not quantised.

    Raises:
        InputError: They could not be loaded.
    """
    check_devices(placed.device, placed.device_map)
    check_quantization(placed.quantization_config, dtype, placed.device_map or placed.device)
    if folder := weights_folder(placed.source, placed.revision):
        check_weights(placed.name, folder)


def check_devices(device: str | None, device_map: Any) -> None:
    """Refuse devices that this machine does not have.

    Args:
        device: As `-M device` gives it.
        device_map: As `-M device_map` gives it.

    Raises:
        InputError: A device has no such name, or is not there.
    """
    if device is not None:
        _check_device(device, "device")
    if isinstance(device_map, str) and device_map not in DEVICE_MAPS:
        _check_device(device_map, "device_map")
    if isinstance(device_map, dict):
        for place in device_map.values():
            if place != "disk":
                _check_device(place, "device_map")


def _check_device(place: object, what: str) -> None:
    try:
        if place == "meta" or isinstance(place, bool) or not isinstance(place, str | int):
            raise ValueError("no place for weights")
        torch.empty(1, device=f"cuda:{place}" if isinstance(place, int) else place)
    except Exception as error:  # of whatever kind the device's own code raises
        raise InputError(
            f"{what}={shown(place)}: cannot be used here ({first_line(error)}); expected a device of this machine; "
            f"pass e.g. -M {what}=cpu"
        ) from None


def check_quantization(config: Any, dtype: Any, device_map: Any) -> None:
    """Refuse a quantisation that transformers does not know, or whose package is not installed or not fit for this.

    Args:
        config: As `-M quantization_config` gives it; None for none.
        dtype: The dtype of what is not quantised.
        device_map: As transformers gets it.

    Raises:
        InputError: Weights could not be quantised so.
    """
    if config is None:
        return
    try:
        quantizer = AutoHfQuantizer.from_config(copy.deepcopy(config), pre_quantized=False)
        quantizer.validate_environment(dtype=dtype, device_map=device_map, weights_only=True)
    except Exception as error:  # of whatever kind the quantiser's own checks raise
        raise InputError(
            f"quantization_config={shown(config)}: cannot be used ({first_line(error)}); expected what transformers' "
            f"quantization_config takes, and its package; install that, or leave it out"
        ) from None


def weights_folder(source: str, revision: str | None) -> Path | None:
    """The folder from which a model's weights are going to be loaded; None where they may have to be downloaded.

    Args:
        source: A folder, or an id on the Hub.
        revision: Branch, tag or commit on the Hub.
    """
    if Path(source).is_dir():
        return Path(source)
    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        return None
    try:
        config = huggingface_hub.try_to_load_from_cache(source, "config.json", revision=revision)
    except HFValidationError:  # no id: a folder that is not there, of which loading the configuration says so
        return None
    return Path(config).parent if isinstance(config, str) else None


def check_weights(name: str, folder: Path) -> None:
    """Refuse a folder without weights, with weights that end early, or without some that its index lists.

    Args:
        name: The model's name, for errors.
        folder: The folder.

    Raises:
        InputError: The weights are not all there, or damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files and not [*folder.glob("*.bin")]:
        raise InputError(f"model inject/{name}: no weights in {folder}; expected *.safetensors; add them")
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"model inject/{name}: {file.name} is damaged ({first_line(error)}); expected a whole safetensors "
                f"file; get it again"
            ) from None
    index = folder / "model.safetensors.index.json"
    try:
        listed = {str(file) for file in json.loads(index.read_bytes())["weight_map"].values()} if index.exists() else ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"model inject/{name}: {index.name} is damaged ({first_line(error)}); expected JSON with a weight_map; "
            f"get it again"
        ) from None
    for missing in sorted(set(listed) - {file.name for file in files}):
        raise InputError(
            f"model inject/{name}: {shown(missing)}, which {index.name} lists, is not in {folder}; expected all of "
            f"the files; get it as well"
        )
