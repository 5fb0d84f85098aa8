"""Vectors on disk: one safetensors file per vector, named by what it was made from, checked when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from introbench.models.disk_cache import cache_dir, exists, remove_leftovers, write_atomically
from introbench.progress import tell


def content_hash(vectors: Tensor) -> str:
    """Hex digest of a float32 tensor's values and shape."""
    digest = hashlib.sha256(str(tuple(vectors.shape)).encode())
    digest.update(vectors.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _text(key: Mapping[str, str]) -> str:
    return json.dumps(dict(key), sort_keys=True)


class VectorStore:
    """Keeps tensors under a key that says everything they depend on, and that stands in their files as well.

    Args:
        folder: Where the files are; the user's cache directory by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir() / "vectors"
        remove_leftovers(self.folder)

    def load(self, key: Mapping[str, str]) -> Tensor | None:
        """The tensor kept under `key`.

        None if there is none, its file is damaged, or its file says that it was made from something else, as one does
        that was copied there under another's name. The last two are told to the user.
        """
        path = self._path(key)
        if not exists(path):
            return None
        try:
            with safe_open(path, framework="pt") as file:
                vectors, metadata = file.get_tensor("direction"), file.metadata() or {}
            is_whole = metadata.get("sha256") == content_hash(vectors)
        except (SafetensorError, OSError, KeyError, TypeError):  # TypeError: NumPy has no such numbers as bfloat16
            is_whole = False
        if not is_whole:
            tell(f"the cached vector {path} is corrupt; extracting it again")
            return None
        if metadata.get("made_from") != _text(key):
            tell(f"the cached vector {path} is that of another model or concept; extracting it again")
            return None
        return vectors

    def save(self, key: Mapping[str, str], vectors: Tensor) -> None:
        """Keep a tensor under `key`; a directory that cannot be written to is a notice, not an error."""
        metadata = {"sha256": content_hash(vectors), "made_from": _text(key)}
        write_atomically(
            self._path(key), lambda target: save_file({"direction": vectors.contiguous()}, target, metadata=metadata)
        )

    def _path(self, key: Mapping[str, str]) -> Path:
        digest = hashlib.sha256(_text(key).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.safetensors"
