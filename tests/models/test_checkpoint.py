"""Finding and loading models: options, one-line refusals, fingerprints."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from introbench.engine.attention import attention_implementation
from introbench.errors import InputError
from introbench.models import checkpoint
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.validation.tiny_models import tiny_model


def test_local_folders_load_in_float32_on_the_cpu(tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    assert model.dtype == torch.float32
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_chat_template_is_part_of_a_folders_revision(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    before = Checkpoint(str(tiny_folder)).revision_digest
    assert Checkpoint(str(tmp_path / "model")).revision_digest == before
    with (tmp_path / "model" / "chat_template.jinja").open("a") as template:
        template.write("{# another #}")
    assert Checkpoint(str(tmp_path / "model")).revision_digest != before


def test_options_reach_transformers(tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), dtype="bfloat16", attn_implementation="eager", device_map="cpu").load()
    assert model.dtype == torch.bfloat16
    assert attention_implementation(model) == "eager"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("no-such/model", {}, "model inject/no-such/model: cannot be found or read"),
        ("smollm3", {}, "expected inject/smollm2, a local folder or a Hugging Face id"),
        ("smollm2", {"dtype": "float8"}, "dtype='float8': expected one of float32, bfloat16, float16, auto"),
        (
            "smollm2",
            {"products": "mkl"},
            "products='mkl': expected one of onednn, onednn-packed, blas, blas-transposed",
        ),
        ("smollm2", {"device": "cpu", "device_map": "auto"}, "expected one of the two"),
        ("smollm2", {"chat_template": "/no/such.jinja"}, "no such file"),
    ],
)
def test_bad_models_and_options_are_refused_in_one_line(name: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refusal:
        _ = Checkpoint(name, **options).config
    assert "\n" not in str(refusal.value)


def test_a_chat_template_that_is_no_text_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(
        InputError, match=r"chat_template='.*: cannot be read \('utf-8' codec .*; expected a Jinja file"
    ):
        _ = Checkpoint(str(tiny_folder), chat_template=str(tmp_path / "template.jinja")).tokenizer


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


def test_a_dtype_that_this_cpu_cannot_multiply_is_told_before_the_run(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(checkpoint, "tell", told.append)
    monkeypatch.setattr(checkpoint, "can_multiply", lambda dtype: dtype == torch.float32)
    for dtype in (None, "float32", "auto"):
        Checkpoint(str(tiny_folder), dtype=dtype, device="cpu").check()
    assert told == []
    Checkpoint(str(tiny_folder), dtype="bfloat16", device="cpu").check()
    assert told == [
        "this CPU has no bfloat16 products, so the run can take ten times as long as in float32; pass -M dtype=float32"
    ]


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
