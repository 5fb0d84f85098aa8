"""Control files: the numbers of other programs' vectors, exactly, and no file that is not for this model."""

import struct
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from introbench import cli
from introbench.errors import InputError
from introbench.steering.vectors.control_file import read_control_file, write_control_file
from introbench.steering.vectors.vector_file import vector_files

MODEL: dict[str, Any] = {"n_layers": 4, "hidden": 8}
ROWS = {f"direction.{layer}": np.full(8, float(layer), dtype=np.float32) for layer in range(1, 4)}


def drawn(n_layers: int, hidden: int, seed: int = 0) -> Tensor:
    vectors = torch.randn(n_layers, hidden, generator=torch.Generator().manual_seed(seed))
    vectors[0] = 0
    return vectors


def forge(
    path: Path,
    tensors: dict[str, Any] = ROWS,
    *,
    architecture: str = "controlvector",
    hint: str | None = "qwen2",
    layer_count: object = 3,
) -> Path:
    """Write a control file that says whatever a test wants it to."""
    writer = gguf.GGUFWriter(path, architecture)
    if hint is not None:
        writer.add_string("controlvector.model_hint", hint)
    if isinstance(layer_count, int):
        writer.add_int32("controlvector.layer_count", layer_count)
    elif isinstance(layer_count, str):
        writer.add_string("controlvector.layer_count", layer_count)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refusal(path: Path, **model: Any) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(InputError) as caught:
        read_control_file(path, **(MODEL | model))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def repeng(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # a name that repeng 0.4 uses and NumPy 2 has no more
    return pytest.importorskip("repeng")


@settings(deadline=None, max_examples=40)
@given(
    n_layers=st.integers(2, 9),
    hidden=st.integers(1, 70),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-42, 1.0, 3e37]),
    by_column=st.booleans(),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, n_layers: int, hidden: int, seed: int, scale: float, by_column: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "vectors" / "cats.gguf"
    vectors = drawn(n_layers, hidden, seed) * scale
    written = vectors.T.contiguous().T if by_column else vectors
    write_control_file(path, written, "gpt_neox")
    back = read_control_file(path, n_layers=n_layers, hidden=hidden).directions
    assert back.dtype == torch.float32
    assert torch.equal(back, vectors)


def test_a_file_says_what_llama_cpp_wants_to_hear(tmp_path: Path) -> None:
    path = tmp_path / "cats.gguf"
    write_control_file(path, torch.ones(4, 8), "qwen2")
    reader = gguf.GGUFReader(path)
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert said == {
        "general.architecture": "controlvector",
        "controlvector.model_hint": "qwen2",
        "controlvector.layer_count": 3,
    }
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2", "direction.3"]
    assert {(tensor.tensor_type.name, tuple(tensor.shape)) for tensor in reader.tensors} == {("F32", (8,))}
    back = read_control_file(path, **MODEL).directions
    assert torch.equal(back.norm(dim=-1) > 0, torch.tensor([False, True, True, True])), "layer 0 is not written"


def test_files_of_repeng_are_read(repeng: Any, tmp_path: Path) -> None:
    vectors = drawn(4, 8)
    for dtype in (np.float32, np.float16, np.float64):
        rows = {layer: vectors[layer].numpy().astype(dtype) for layer in (3, 2, 1)}  # in repeng's own order
        repeng.ControlVector("qwen2", rows).export_gguf(tmp_path / "cats.gguf")
        back = read_control_file(tmp_path / "cats.gguf", **MODEL).directions
        exact = vectors.half().float() if dtype is np.float16 else vectors
        assert torch.equal(back, exact)


def test_repeng_reads_ours(repeng: Any, tmp_path: Path) -> None:
    vectors = drawn(4, 8)
    write_control_file(tmp_path / "cats.gguf", vectors, "qwen2")
    theirs = repeng.ControlVector.import_gguf(tmp_path / "cats.gguf")
    assert theirs.model_type == "qwen2"
    assert sorted(theirs.directions) == [1, 2, 3]
    for layer, row in theirs.directions.items():
        assert row.dtype == np.float32
        assert np.array_equal(row, vectors[layer].numpy())


def test_layers_that_a_file_lacks_are_zeros(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf", {"direction.2": ROWS["direction.2"]})
    back = read_control_file(path, **MODEL).directions
    assert back[2].tolist() == [2.0] * 8
    assert not back[[0, 1, 3]].any()


def test_a_direction_for_layer_0_is_kept(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf", ROWS | {"direction.0": np.full(8, 7.0, dtype=np.float32)}, layer_count=4)
    assert read_control_file(path, **MODEL).directions[:, 0].tolist() == [7.0, 1.0, 2.0, 3.0]


def test_a_file_for_another_model_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf")
    assert refusal(path, hidden=16) == (
        "direction.1 has shape [8]: expected [16], the width of this model; extract it from this model"
    )
    assert refusal(path, n_layers=3) == (
        "has direction.3: expected none past direction.2, as this model has 3 layers; extract it from this model"
    )
    assert "has direction.4: expected none past direction.3" in refusal(
        forge(path, ROWS | {"direction.4": ROWS["direction.1"]})
    )


@pytest.mark.parametrize("layer_count", [-3, 0, 1, 3, 5, "3", None])
@pytest.mark.parametrize("hint", ["qwen2", "llama", "qwen2.5", "", None])
def test_what_a_file_says_of_its_model_decides_nothing(tmp_path: Path, layer_count: object, hint: str | None) -> None:
    file = read_control_file(forge(tmp_path / "cats.gguf", layer_count=layer_count, hint=hint), **MODEL)
    assert file.directions[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert file.layers == [1, 2, 3]
    assert file.made_for == (hint or "")


def test_a_hint_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "cats.gguf", "controlvector")
    writer.add_uint32("controlvector.model_hint", 7)
    writer.add_tensor("direction.1", ROWS["direction.1"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_control_file(tmp_path / "cats.gguf", **MODEL).made_for == ""


def test_a_models_own_file_is_refused(tmp_path: Path) -> None:
    path = forge(tmp_path / "model.gguf", {"token_embd.weight": np.ones((2, 8), np.float32)}, architecture="qwen2")
    assert refusal(path) == ("a GGUF file of 'qwen2': expected 'controlvector'; pass a vector's file, not a model's")


def test_a_file_without_directions_is_refused(tmp_path: Path) -> None:
    assert refusal(forge(tmp_path / "cats.gguf", {})) == (
        "has no directions; expected direction.1 and on; extract the vector again"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("direction.one", "direction.", "direction.-1", "direction.01", "direction.1.5", "directions.1", "bias.1"),
        *("direction.\N{ARABIC-INDIC DIGIT ONE}", "direction.1\n", "direction.99999999999999999999"),
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    path = forge(tmp_path / "cats.gguf", ROWS | {name: ROWS["direction.1"]})
    assert refusal(path) == (f"tensor {name!r}: expected names like direction.12; pass a control vector's file")


@pytest.mark.parametrize("shape", [(7,), (9,), (0,), (2, 4), (1, 8)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    odd = np.ones(shape, dtype=np.float32)
    path = forge(tmp_path / "one.gguf", ROWS | {"direction.3": odd})
    assert refusal(path) == (
        f"direction.1 has shape [8] and direction.3 has {list(shape)}: expected one width; extract the vector again"
    )
    path = forge(tmp_path / "all.gguf", dict.fromkeys(ROWS, odd))
    assert f"direction.1 has shape {list(shape)}: expected [8]" in refusal(path)


@pytest.mark.parametrize(
    "value", [np.float32("nan"), np.float32("inf"), np.float32("-inf"), np.float16("inf"), np.float64(1e300)]
)
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: Any) -> None:
    path = forge(tmp_path / "cats.gguf", ROWS | {"direction.2": np.full(8, value)})
    assert refusal(path) == "direction.2 has values that are not finite; extract the vector again"


def test_integers_are_refused(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf", ROWS | {"direction.2": np.ones(8, dtype=np.int8)})
    assert refusal(path) == "direction.2 is kept as I8: expected one of F32, F16, F64; write it again as F32"


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "no GGUF file, or a damaged one (" in refusal(path)


def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf", {"direction.1": ROWS["direction.1"]})
    whole = path.read_bytes()
    for position in range(0, len(whole) * 8, 3):  # two or three bits of every byte
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            back = read_control_file(path, **MODEL).directions
        except InputError:
            continue
        assert position >= 4 * 8, "the magic is looked at"
        assert back.shape == (4, 8)
        assert back.isfinite().all()


def test_a_list_longer_than_the_file_is_not_gone_through(tmp_path: Path) -> None:
    path = tmp_path / "cats.gguf"
    key = b"controlvector.names"
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    path.write_bytes(header + struct.pack("<IIQ", 9, 0, 100_000))  # a list of bytes, of which none follows
    assert "no GGUF file, or a damaged one (it ends early)" in refusal(path)


def test_an_offset_that_wraps_around_is_refused(tmp_path: Path) -> None:
    path = forge(tmp_path / "cats.gguf")
    second = b"direction.2" + struct.pack("<IQI", 1, 8, 0)  # one dimension, of 8, as F32; its offset follows
    before, after = path.read_bytes().split(second)
    assert after.startswith(struct.pack("<Q", 32))
    path.write_bytes(before + second + struct.pack("<Q", 2**64 - 32) + after[8:])
    assert "no GGUF file, or a damaged one (" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"not a GGUF file", b"\0" * 4096, b"GGUF\x03\0\0\0" + b"\xff" * 4096]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cats.gguf"
    path.write_bytes(content)
    assert "no GGUF file, or a damaged one (" in refusal(path)


def test_paths_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "cats.gguf") == (
        "cannot be read (No such file or directory); expected a control file (*.gguf); correct the path"
    )
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


def test_paths_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    (tmp_path / "folder.gguf").mkdir()
    for path, why in ((tmp_path / "file" / "cats.gguf", "File exists"), (tmp_path / "folder.gguf", "Is a directory")):
        with pytest.raises(InputError) as caught:
            write_control_file(path, torch.ones(2, 2), "qwen2")
        assert str(caught.value) == f"{path}: cannot be written ({why}); expected a file's path; choose another"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.gguf"], "and nothing is left behind"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cats.gguf"
    write_control_file(path, torch.ones(4, 8), "qwen2")
    before = path.read_bytes()

    def disk_full(_self: object) -> None:
        raise OSError("8 requested and 3 written")  # as NumPy says it, without an errno

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", disk_full)
    with pytest.raises(InputError, match=r"cannot be written \(8 requested and 3 written\)"):
        write_control_file(path, torch.zeros(4, 8), "qwen2")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_vector_of_layer_0_alone_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a vector of 1 layer: expected 2 or more, since control files hold no direc"):
        write_control_file(tmp_path / "cats.gguf", torch.ones(1, 8), "qwen2")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    path = tmp_path / "cats.gguf"
    missing = "the package gguf that reads and writes control files is not installed; run: python -m pip install gguf"
    assert refusal(path) == missing
    with pytest.raises(InputError) as caught:
        write_control_file(path, torch.ones(2, 2), "qwen2")
    assert str(caught.value) == f"{path}: {missing}"


def test_the_command_writes_what_a_task_reads(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vectors"
    assert cli.main(["vectors", str(folder), "--model", str(tiny_folder), "--concepts", "cats,volcanoes"]) == 0
    assert str(folder / "cats.gguf") in capsys.readouterr().out
    files = vector_files(folder)
    assert list(files) == ["cats", "volcanoes"]
    directions = read_control_file(files["cats"], n_layers=4, hidden=32).directions
    assert directions[1:].norm(dim=-1).tolist() == pytest.approx([1, 1, 1])
    assert cli.main(["vectors", str(folder), "--model", str(tmp_path / "nowhere")]) == 2
    assert "cannot be found or read" in capsys.readouterr().err
