"""All vectors of one loaded model, by recipe: from the store where they are kept, extracted where they are not."""

import hashlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from introbench.chat import Messages, render
from introbench.engine import Engine
from introbench.injection import VectorRecipe
from introbench.progress import tell
from introbench.vectors.extract import NEUTRAL, PROMPT, mean_diff, opening_residuals, pca_center
from introbench.vectors.random import random_directions
from introbench.vectors.store import VectorStore, content_hash

_EXTRACTORS = {"mean_diff": mean_diff, "pca_center": pca_center}


class VectorLibrary:
    """Resolves vector recipes for one model.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        fingerprint: Digest of the model's weights; part of every stored vector's key.
        openings: Reply openings for extraction.
        store: Where extracted vectors are kept.
    """

    def __init__(
        self, engine: Engine, tokenizer: Any, fingerprint: str, openings: Sequence[str], store: VectorStore | None = None
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._openings = tuple(openings)
        self._store = store or VectorStore()
        self._vectors: dict[VectorRecipe, Tensor] = {}
        self._neutral: Tensor | None = None
        example: Messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": openings[0]}]
        self._key = {
            "weights": fingerprint,
            "prompt": f"{PROMPT} / {NEUTRAL}",
            "openings": hashlib.sha256("\n".join(self._openings).encode()).hexdigest(),
            "chat": hashlib.sha256(render(tokenizer, example).encode()).hexdigest(),
        }

    def directions(self, recipe: VectorRecipe) -> Tensor:
        """The unit vectors of a recipe, float32 [layers, hidden] on the CPU."""
        if recipe not in self._vectors:
            self._vectors[recipe] = self._resolve(recipe)
        return self._vectors[recipe]

    def sha256(self, recipe: VectorRecipe) -> str:
        """Digest of a recipe's vectors, as logs record it."""
        return content_hash(self.directions(recipe))

    def _resolve(self, recipe: VectorRecipe) -> Tensor:
        if recipe.method == "random":
            hidden = self._engine.model.config.get_text_config().hidden_size
            return random_directions(self._engine.n_layers, hidden, recipe.seed, recipe.draw)
        key = self._key | {"method": recipe.method, "concept": recipe.concept}
        kept = self._store.load(key)
        if kept is not None:
            return kept
        tell(f"extracting the vector for {recipe.concept!r} ({recipe.method})")
        if self._neutral is None:
            self._neutral = self._opening_residuals(NEUTRAL)
        vectors = _EXTRACTORS[recipe.method](self._opening_residuals(recipe.concept) - self._neutral)
        self._store.save(key, vectors)
        return vectors

    def _opening_residuals(self, concept: str) -> Tensor:
        return opening_residuals(self._engine, self._tokenizer, concept, self._openings)
