"""Vectors on disk: one safetensors file per vector, named by what it was made from, checked when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from introbench.models.disk_cache import cache_dir, write_atomically
from introbench.progress import tell


def content_hash(vectors: Tensor) -> str:
    """Hex digest of a float32 tensor's values and shape."""
    digest = hashlib.sha256(str(tuple(vectors.shape)).encode())
    digest.update(vectors.contiguous().numpy().tobytes())
    return digest.hexdigest()


class VectorStore:
    """Keeps tensors under a key that says everything they depend on.

    Args:
        folder: Where the files are; the user's cache directory by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir() / "vectors"

    def load(self, key: Mapping[str, str]) -> Tensor | None:
        """The tensor kept under `key`, or None if there is none or its file is damaged (with a notice)."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                vectors, metadata = file.get_tensor("direction"), file.metadata() or {}
        except (SafetensorError, OSError, KeyError):
            vectors, metadata = None, {}
        if vectors is None or metadata.get("sha256") != content_hash(vectors):
            tell(f"the cached vector {path} is corrupt; extracting it again")
            return None
        return vectors

    def save(self, key: Mapping[str, str], vectors: Tensor) -> None:
        """Keep a tensor under `key`; a directory that cannot be written to is a notice, not an error."""
        metadata = {"sha256": content_hash(vectors), "made_from": json.dumps(dict(key), sort_keys=True)}
        write_atomically(
            self._path(key), lambda target: save_file({"direction": vectors.contiguous()}, target, metadata=metadata)
        )

    def _path(self, key: Mapping[str, str]) -> Path:
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.safetensors"
