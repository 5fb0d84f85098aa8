"""Vectors' files of every format: what is read, and what is refused in one line."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from introbench.errors import InputError
from introbench.steering.vectors.control_file import NoControlFileError, write_control_file
from introbench.steering.vectors.tensor_files import directions_of
from introbench.steering.vectors.vector_file import READERS, read_vector_file, vector_files

N_LAYERS, HIDDEN = 4, 8
ALL = torch.arange(1, N_LAYERS * HIDDEN + 1, dtype=torch.float32).reshape(N_LAYERS, HIDDEN)
ONE = ALL[2]


def read(path: Path) -> torch.Tensor:
    return read_vector_file(path, n_layers=N_LAYERS, hidden=HIDDEN).directions


def refusal(path: Path, error: type[InputError] = InputError) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(error) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def safetensors(tensors: dict[str, torch.Tensor]) -> Callable[[Path], object]:
    return lambda folder: save_file(tensors, folder / "cats.safetensors")


def npy(array: Any) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "cats.npy", array)


def pt(value: Any) -> Callable[[Path], object]:
    return lambda folder: torch.save(value, folder / "cats.pt")


def written(folder: Path, write: Callable[[Path], object]) -> Path:
    """The file that a writer writes to a folder."""
    write(folder)
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize(
    "write",
    [
        safetensors({"vector": ALL}),
        safetensors({f"layer.{layer}": row.clone() for layer, row in enumerate(ALL)}),
        safetensors({f"direction.{layer}": row.clone().double() for layer, row in enumerate(ALL)}),
        safetensors({"cats": ALL.bfloat16()}),
        npy(ALL.numpy()),
        npy(ALL.numpy().astype(">f8")),
        npy(np.asfortranarray(ALL.numpy())),
        npy(ALL.half().numpy()),
        pt(ALL),
        pt(torch.nn.Parameter(ALL)),
        pt(ALL.bfloat16()),
        pt(dict(enumerate(ALL))),
        pt({f"layer.{layer}": row for layer, row in enumerate(ALL)}),
        pt({"direction": ALL}),
    ],
)
def test_directions_of_all_layers_are_read(write: Callable[[Path], object], tmp_path: Path) -> None:
    directions = read(written(tmp_path, write))
    assert directions.dtype == torch.float32
    assert torch.equal(directions, ALL)


@pytest.mark.parametrize("write", [safetensors({"v": ONE}), npy(ONE.numpy()), pt(ONE), pt({"v": ONE})])
def test_a_vector_without_a_layer_stands_in_every_layer(
    write: Callable[[Path], object], tmp_path: Path, told: list[str]
) -> None:
    path = written(tmp_path, write)
    assert torch.equal(read(path), ONE.expand(N_LAYERS, -1))
    assert told == [f"{path}: holds one vector and no layer; it is added at each steered layer"]


@pytest.mark.parametrize("write", [safetensors({"layer.2": ONE}), pt({2: ONE}), pt({"2": ONE})])
def test_a_vector_of_one_layer_stands_there_alone(write: Callable[[Path], object], tmp_path: Path) -> None:
    file = read_vector_file(written(tmp_path, write), n_layers=N_LAYERS, hidden=HIDDEN)
    assert file.layers == [2]
    assert torch.equal(file.directions[2], ONE)


@settings(deadline=None, max_examples=30)
@given(layers=st.sets(st.integers(0, 8), min_size=1), n_layers=st.integers(9, 12), hidden=st.integers(1, 40))
def test_every_format_gives_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, layers: set[int], n_layers: int, hidden: int
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    rows = {layer: torch.randn(hidden, generator=torch.Generator().manual_seed(layer)) for layer in sorted(layers)}
    expected = torch.zeros(n_layers, hidden)
    for layer, row in rows.items():
        expected[layer] = row
    save_file({f"layer.{layer}": row for layer, row in rows.items()}, folder / "a.safetensors")
    torch.save(rows, folder / "b.pt")
    np.save(folder / "c.npy", expected.numpy())
    without_first = expected.clone()
    without_first[0] = 0
    write_control_file(folder / "d.gguf", without_first + (0 if without_first.any() else 1), "llama")
    for name, path in vector_files(folder).items():
        found = read_vector_file(path, n_layers=n_layers, hidden=hidden).directions
        if name != "d":
            assert torch.equal(found, expected)
        elif without_first.any():
            assert torch.equal(found, without_first)


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (npy(np.ones((3, HIDDEN))), "the array has shape [3, 8]: expected [8] for one vector, or [4, 8] for one at"),
        (npy(np.ones((5, HIDDEN))), "leave out the first row, if that is of the embeddings"),
        (npy(np.ones(7)), "the array has shape [7]: expected [8]"),
        (npy(np.ones((1, N_LAYERS, HIDDEN))), "the array has shape [1, 4, 8]"),
        (npy(np.ones(())), "the array has shape []"),
        (npy(np.ones(HIDDEN, dtype=int)), "the array is kept as int64: expected floating-point numbers of 16 to 64"),
        (npy(np.ones(HIDDEN, dtype=complex)), "kept as complex128"),
        (npy(np.full(HIDDEN, np.nan)), "has values that are not finite in float32"),
        (npy(np.full(HIDDEN, 1e300)), "has values that are not finite in float32"),
        (npy(np.zeros(HIDDEN)), "all values are 0"),
        (npy(np.array([{}], dtype=object)), "holds an array of Python objects, which only pickle could read, and that"),
        (safetensors({"layer.4": ONE}), "has 'layer.4': expected none past layer 3, as this model has 4 layers"),
        (safetensors({"layer.1": ONE, "direction.1": ONE.clone()}), "layer 1 stands twice"),
        (safetensors({"layer.1": ONE[:5].clone()}), "layer.1 has shape [5]: expected [8]; extract it from this model"),
        (safetensors({"layer.1": ALL}), "layer.1 has shape [4, 8]: expected [8]"),
        (safetensors({"v": ONE.int()}), "v is kept as I32"),
        (pt({2: ONE.int()}), "2 is kept as int32"),
        (pt(ONE.to_sparse()), "the tensor is kept as a sparse tensor"),
        (pt({1: ONE, "1": ONE}), "a layer stands twice, as number and as text"),
        (pt({1: [1.0]}), "1 is of type list: expected tensors by the number of their layer"),
        (pt({(1, 2): ONE}), "(1, 2) is of type Tensor: expected tensors by the number"),
        (pt([ONE]), "holds a list: expected a tensor, or tensors by layer"),
        (pt({}), "holds no tensor; expected a vector"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    write: Callable[[Path], object], complaint: str, tmp_path: Path
) -> None:
    assert complaint in refusal(written(tmp_path, write))


class Opened:
    """Says that it was unpickled."""

    seen: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return Opened.seen.append, ("opened",)


def test_a_pt_file_that_needs_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "cats.pt"
    torch.save({"vector": ONE, "more": Opened()}, path)
    assert refusal(path).startswith("holds more than tensors, which only pickle could read, and that may run code; ")
    path.write_bytes(pickle.dumps(Opened()))
    assert refusal(path).startswith("no file of torch.save, or a damaged one (")
    assert not Opened.seen


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"GGUF", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\xff" * 64])
def test_damaged_files_are_refused(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"cats{ending}"
    path.write_bytes(content)
    assert "expected" in refusal(path)


@pytest.mark.parametrize("ending", [".safetensors", ".npy", ".pt"])
def test_files_that_end_early_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"cats{ending}"
    writers = {".safetensors": safetensors({"v": ALL}), ".npy": npy(ALL.numpy()), ".pt": pt(ALL)}
    whole = written(tmp_path, writers[ending]).read_bytes()
    for length in range(1, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path), length


def test_the_file_of_a_model_is_told_from_a_vector(tmp_path: Path) -> None:
    save_file({"model.norm.weight": ONE, "lm_head.weight": ALL.clone()}, tmp_path / "model.safetensors")
    assert "among 2: expected one tensor, or names like layer.12" in refusal(
        tmp_path / "model.safetensors", NoControlFileError
    )


def test_what_is_no_file_of_these_formats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cats.txt").touch()
    (tmp_path / "cats.pt").mkdir()
    assert refusal(tmp_path / "cats.txt").startswith("is no vector's file; expected one of *.gguf, *.safetensors, ")
    assert refusal(tmp_path / "cats.pt").startswith("is no vector's file; ")
    assert refusal(tmp_path / "none.npy").startswith("no such file; ")


def test_tensors_in_memory_are_held_to_the_same_rules() -> None:
    assert torch.equal(directions_of(ALL, "here", n_layers=N_LAYERS, hidden=HIDDEN), ALL)
    with pytest.raises(InputError, match=r"^here: the tensor has shape \[3\]"):
        directions_of(torch.ones(3), "here", n_layers=N_LAYERS, hidden=HIDDEN)


def test_a_single_file_is_a_folder_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "cats.npy", ONE.numpy())
    assert vector_files(tmp_path / "cats.npy") == {"cats": tmp_path / "cats.npy"}


def test_the_files_of_a_folder_have_their_stems_as_names(tmp_path: Path) -> None:
    for name in ("cats", "rain", "cats-2", "gold", "bread", "tea", "sea", "ice"):
        (tmp_path / f"{name}.gguf").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.gguf").mkdir()
    found = vector_files(tmp_path)
    assert list(found) == ["bread", "cats", "cats-2", "gold", "ice", "rain", "sea", "tea"]
    assert found["cats-2"] == tmp_path / "cats-2.gguf"


def test_files_of_macos_are_passed_over_and_capital_endings_are_read(tmp_path: Path, told: list[str]) -> None:
    for name in ("cats.GGUF", "bread.gguf", "._bread.gguf", "notes.txt", ".DS_Store", "readme.md"):
        (tmp_path / name).touch()
    assert vector_files(tmp_path) == {"bread": tmp_path / "bread.gguf", "cats": tmp_path / "cats.GGUF"}
    assert told == [f"{tmp_path}: '.DS_Store', '._bread.gguf', 'notes.txt' and 1 more passed over: no vector's file"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("cats.GGUF", "cats.gguf", "Cats.gguf", "ice cream.gguf", "ice_cream.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"cats\.gguf and cats\.GGUF are both named 'cats'"):
        vector_files(tmp_path)
    (tmp_path / "cats.GGUF").unlink()
    assert list(vector_files(tmp_path)) == ["Cats", "cats", "ice cream", "ice_cream"]


def test_folders_without_vectors_files_are_refused(tmp_path: Path) -> None:
    for folder, why in (
        (tmp_path, "has no file of *.gguf, *.safetensors, *.npy, *.pt; "),
        (tmp_path / "none", "no such folder; "),
    ):
        with pytest.raises(InputError) as caught:
            vector_files(folder)
        assert str(caught.value).startswith(f"{folder}: {why}expected ")
        assert "\n" not in str(caught.value)
