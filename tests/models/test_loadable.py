"""What could not be loaded is refused without loading it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from introbench.errors import InputError
from introbench.models.loadable import check_devices, check_quantization, check_weights, weights_folder


@pytest.mark.parametrize(
    ("device", "device_map"),
    [("cpu", None), (None, "auto"), (None, {"": "cpu", "model.layers.1": "disk"}), (None, None)],
)
def test_devices_that_are_there_are_accepted(device: str | None, device_map: Any) -> None:
    check_devices(device, device_map)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said without a GPU")
@pytest.mark.parametrize(
    ("device", "device_map", "named"),
    [
        ("cuda", None, "device='cuda'"),
        ("gpu", None, "device='gpu'"),
        ("meta", None, "device='meta'"),
        (None, "cuda:7", "device_map='cuda:7'"),
        (None, {"": 0}, "device_map=0"),
        (None, {"": None}, "device_map=None"),
    ],
)
def test_devices_that_are_not_are_refused(device: str | None, device_map: Any, named: str) -> None:
    with pytest.raises(InputError, match=rf"{named}: cannot be used here \(.*; pass e.g. -M device(_map)?=cpu"):
        check_devices(device, device_map)


@pytest.mark.parametrize("config", [{}, {"quant_method": "nothing"}, "int8", [4], {"quant_method": "gptq", "bits": 4}])
def test_quantisation_that_cannot_be_is_refused(config: Any) -> None:
    with pytest.raises(InputError, match=r"quantization_config=.*: cannot be used"):
        check_quantization(config, "float32", "cpu")
    check_quantization(None, "float32", "cpu")


def test_damaged_weights_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    check_weights("tiny", folder)
    whole = (folder / "model.safetensors").read_bytes()
    for damaged in (b"", b"{}", whole[:-1], whole[:100], b"\xff" * 8 + whole[8:], whole[:9] + b"x" * 50 + whole[59:]):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(InputError, match=r"model inject/tiny: model\.safetensors is damaged \(.*; get it again"):
            check_weights("tiny", folder)


@pytest.mark.parametrize("index", ["[]", "{", '{"weight_map": 3}', "[" * 100_000, "\udc80"])
def test_a_damaged_index_is_refused(index: str, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors.index.json").write_bytes(index.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        check_weights("tiny", folder)


def test_a_file_that_the_index_lists_has_to_be_there(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"'model-00002-of-00002\.safetensors', which .* lists, is not in"):
        check_weights("tiny", folder)


def test_weights_of_the_hub_are_looked_for_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_folder(str(tmp_path), None) == tmp_path
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert weights_folder("someone/model", None) is None, "they can be downloaded"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = str(tmp_path / "snapshot" / "config.json")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: config)
    assert weights_folder("someone/model", None) == tmp_path / "snapshot"
