"""All vectors of one loaded model, by recipe: from the store where they are kept, extracted where they are not."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from introbench.engine import Engine, TransformersEngine
from introbench.errors import InputError
from introbench.models.disk_cache import sha256_of
from introbench.models.finetune import TunedWeights
from introbench.progress import step
from introbench.prompts import data
from introbench.prompts.chat import Messages, render
from introbench.steering.injection import MODEL_CONTRAST, TELL_ME_ABOUT, Injection, LayerRange, VectorRecipe
from introbench.steering.vectors.extract import (
    NEUTRAL,
    PROMPT,
    REQUEST,
    asked_residuals,
    mean_diff,
    opening_residuals,
    pca_center,
)
from introbench.steering.vectors.random import covariance_matched, gaussian, random_rotation, shuffled
from introbench.steering.vectors.store import VectorStore, content_hash
from introbench.steering.vectors.vector_file import read_vector_file

ROUNDING = 1e-5
"""Share of the residual stream's norm below which two models' residuals are the same numbers, rounded differently."""

_REQUESTED: Messages = [{"role": "user", "content": REQUEST}, {"role": "assistant", "content": "I"}]

_EXTRACTORS = {"mean_diff": mean_diff, "pca_center": pca_center}

_MADE_FROM_CONCEPT = {"rotation": random_rotation, "gaussian": gaussian, "shuffle": shuffled}


class VectorLibrary:
    """Resolves vector recipes for one model.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        fingerprint: Digest of the model's weights; part of every stored vector's key.
        openings: Reply openings for extraction.
        store: Where extracted vectors are kept.
        finetuned: Loads a fine-tune by its name, for contrasts of models.

    Attributes:
        store: Where what was measured is kept.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Any,
        fingerprint: str,
        openings: Sequence[str],
        store: VectorStore | None = None,
        finetuned: Callable[[str], TunedWeights] | None = None,
    ) -> None:
        self._finetuned = finetuned
        self._engine = engine
        self._tokenizer = tokenizer
        self._openings = tuple(openings)
        self.store = store or VectorStore()
        self._vectors: dict[VectorRecipe, Tensor] = {}
        self._hashes: dict[VectorRecipe, str] = {}
        self._norms: Tensor | None = None
        self._neutral: Tensor | None = None
        self._baseline: Tensor | None = None
        example: Messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": openings[0]}]
        self._key = {
            "weights": fingerprint,
            "prompt": f"{PROMPT} / {NEUTRAL}",
            "openings": hashlib.sha256("\n".join(self._openings).encode()).hexdigest(),
            "chat": hashlib.sha256(render(tokenizer, example).encode()).hexdigest(),
        }

    def directions(self, recipe: VectorRecipe) -> Tensor:
        """The vectors of a recipe, float32 [layers, hidden] on the CPU; see `VectorRecipe`."""
        if recipe not in self._vectors:
            self._vectors[recipe] = self._resolve(recipe)
        return self._vectors[recipe]

    def add(self, recipe: VectorRecipe, directions: Tensor) -> None:
        """Give the vectors of a recipe that names none of this library's own, float32 [layers, hidden] on the CPU."""
        self._vectors[recipe] = directions

    def directions_of(self, injection: Injection) -> Tensor | None:
        """What an injection's norm is multiplied with, float32 [layers, hidden]; None for the sham.

        A file's vectors need not have unit norm. A control is to add as much as the vector that it is a control of, at
        each layer: one that is not made from that vector gets its norms.
        """
        vector, like = injection.vector, injection.like
        if vector is None:
            return None
        directions = self.directions(vector)
        of_unit_norm = vector.method != TELL_ME_ABOUT or vector.concept == like.concept if like else True
        if like is None or (
            vector.file == like.file and of_unit_norm
        ):  # made from the same vector, or both of unit norm
            return directions
        return normalize(directions, dim=-1) * self.directions(like).norm(dim=-1, keepdim=True)

    def sha256(self, recipe: VectorRecipe) -> str:
        """Digest of a recipe's vectors, as logs record it."""
        if recipe not in self._hashes:
            self._hashes[recipe] = content_hash(self.directions(recipe))
        return self._hashes[recipe]

    def residual_norm(self, layers: LayerRange) -> float:
        """Median norm of the residual stream over `layers`, at the ends of neutral reply openings."""
        if self._norms is None:
            key = self._key | {"residual_norms": "median"}
            self._norms = self.store.load(key)
            if self._norms is None:
                self._norms = self._neutral_residuals().norm(dim=-1).median(dim=0).values
                self.store.save(key, self._norms)
        return float(self._norms[layers[0] : layers[1]].median())

    def _resolve(self, recipe: VectorRecipe) -> Tensor:
        if recipe.seed is not None and recipe.control == "covariance":
            return self._covariance_matched(recipe)
        if recipe.seed is not None:
            concept = self.directions(replace(recipe, seed=None, draw=0, control="rotation"))
            return _MADE_FROM_CONCEPT[recipe.control](concept, recipe.concept, recipe.seed, recipe.draw)
        if recipe.file:
            return self._from_file(recipe)
        if recipe.method == MODEL_CONTRAST:
            return self._contrast_of_models(recipe.concept)
        return self._asked(recipe.concept) if recipe.method == TELL_ME_ABOUT else self._extracted(recipe)

    def _extracted(self, recipe: VectorRecipe) -> Tensor:
        """A concept's unit vectors, from contrasting prompts."""
        key = self._key | {"method": recipe.method, "concept": recipe.concept}
        kept = self.store.load(key)
        if kept is not None:
            return kept
        with step(f"extracting the vector for {recipe.concept!r} ({recipe.method})"):
            vectors = _EXTRACTORS[recipe.method](self._opening_residuals(recipe.concept) - self._neutral_residuals())
        self.store.save(key, vectors)
        return vectors

    def _covariance_matched(self, recipe: VectorRecipe) -> Tensor:
        assert recipe.seed is not None
        unit = covariance_matched(self._neutral_residuals(), recipe.concept, recipe.seed, recipe.draw)
        if not recipe.file and recipe.method != TELL_ME_ABOUT:
            return unit
        concept = self.directions(replace(recipe, seed=None, draw=0, control="rotation"))
        return unit * concept.norm(dim=-1, keepdim=True)  # not every vector has unit norm

    def _contrast_of_models(self, name: str) -> Tensor:
        """The vector that leads from this model to a fine-tune: the same neutral prompts through both."""
        if self._finetuned is None:
            raise InputError(f"vector {name!r}: expected a fine-tune to be known by that name; run evals/model_swap.py")
        weights = self._finetuned(name)
        key = self._key | {"method": MODEL_CONTRAST, "finetune": weights.fingerprint}
        kept = self.store.load(key)
        if kept is not None:
            return kept
        with step(f"extracting the vector from the model to {name}"):
            base = self._neutral_residuals()
            difference = opening_residuals(TransformersEngine(weights), self._tokenizer, NEUTRAL, self._openings) - base
        # Below the first block that was tuned, and everywhere if the fine-tune is the model itself, there is nothing to
        # inject: what is left there is rounding, which has no direction.
        moved = difference.norm(dim=(0, 2)) > ROUNDING * base.norm(dim=(0, 2))
        vectors = torch.zeros_like(base[0])
        if bool(moved.any()):
            vectors[moved] = pca_center(difference[:, moved])
        self.store.save(key, vectors)
        return vectors

    def length(self, injection: Injection) -> float:
        """By what a norm is divided to be a strength of an injection's vector: 1, unless its method leaves lengths."""
        if injection.vector is None or injection.vector.method != TELL_ME_ABOUT:
            return 1.0
        return float(self.directions(injection.vector)[slice(*injection.layers)].norm(dim=-1).median())

    def _asked(self, concept: str) -> Tensor:
        """The residual stream at the end of a request to tell about a concept, minus its mean over baseline words."""
        words = data.baseline_words()
        key = {
            "weights": self._key["weights"],
            "method": TELL_ME_ABOUT,
            "words": hashlib.sha256("\n".join(words).encode()).hexdigest(),
            "chat": hashlib.sha256(render(self._tokenizer, _REQUESTED).encode()).hexdigest(),
        }
        kept = self.store.load(key | {"concept": concept})
        if kept is not None:
            return kept
        if self._baseline is None:
            self._baseline = self.store.load(key | {"mean_of": "words"})
        if self._baseline is None:
            with step(f"reading {len(words)} baseline words"):
                self._baseline = asked_residuals(self._engine, self._tokenizer, words).double().mean(dim=0).float()
            self.store.save(key | {"mean_of": "words"}, self._baseline)
        with step(f"extracting the vector for {concept!r} ({TELL_ME_ABOUT})"):
            vectors = asked_residuals(self._engine, self._tokenizer, [concept])[0] - self._baseline
        self.store.save(key | {"concept": concept}, vectors)
        return vectors

    def _from_file(self, recipe: VectorRecipe) -> Tensor:
        path = Path(recipe.file)
        if not path.exists() or sha256_of(path) != recipe.digest:
            raise InputError(f"{path}: is not the file that the task was made with; expected it unchanged; run it anew")
        file = read_vector_file(path, n_layers=self._engine.n_layers, hidden=self._engine.hidden_size)
        return file.directions

    def _neutral_residuals(self) -> Tensor:
        if self._neutral is None:
            self._neutral = self._opening_residuals(NEUTRAL)
        return self._neutral

    def _opening_residuals(self, concept: str) -> Tensor:
        return opening_residuals(self._engine, self._tokenizer, concept, self._openings)
