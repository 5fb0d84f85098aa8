"""Vectors: exact directions, faithful random controls, and a store that trusts nothing."""

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from torch import Tensor

from introbench.engine import Engine, TransformersEngine
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.chat import encode, render
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors.extract import PROMPT, mean_diff, opening_residuals, pca_center
from introbench.steering.vectors.library import VectorLibrary
from introbench.steering.vectors.random import covariance_matched, random_rotation
from introbench.steering.vectors.store import VectorStore, content_hash
from introbench.validation.tiny_models import tiny_model

OPENINGS = ["Well,", "Sure, let me", "I think that", "In short,", "Picture this:", "Now,", "For me,"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return TransformersEngine(tiny_model("llama", vocab_size=49152, max_position_embeddings=512))


@pytest.fixture(scope="module")
def differences() -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randn(40, 5, 24, generator=draw) + torch.linspace(0, 2, 5)[None, :, None]


def test_pca_center_is_the_first_component_of_the_centred_pairs(differences: Tensor) -> None:
    directions = pca_center(differences)
    for layer in range(5):
        pairs = differences[:, layer].double().numpy()
        centred = np.concatenate([pairs / 2, -pairs / 2])
        _, _, right = np.linalg.svd(centred - centred.mean(axis=0))
        assert abs(float(directions[layer].double().numpy() @ right[0])) > 0.999999
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(5))


def test_signs_point_from_neutral_to_the_concept(differences: Tensor) -> None:
    for extract in (pca_center, mean_diff):
        assert torch.equal(extract(differences), -extract(-differences))
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        pairs = torch.randn(41, 5, 24, generator=draw) + 0.5 * torch.randn(5, 24, generator=draw)
        projected = torch.einsum("plh,lh->pl", pairs, pca_center(pairs))
        assert ((projected > 0).sum(dim=0) > 20).all(), "most pairs point along the direction"


@pytest.mark.slow
def test_pca_center_is_scikit_learns_full_pca_on_a_real_model(smollm2: Checkpoint) -> None:
    """The embedded model, a published concept, at every layer."""
    engine, openings = TransformersEngine(smollm2.load()), data.openings()[:60]
    concept, neutral = (opening_residuals(engine, smollm2.tokenizer, word, openings) for word in ("bread", "anything"))
    directions = pca_center(concept - neutral)
    for layer in range(engine.n_layers):
        sides = np.stack([concept[:, layer].double().numpy(), neutral[:, layer].double().numpy()])
        centred = (sides - sides.mean(axis=0)).reshape(-1, sides.shape[-1])
        expected = PCA(n_components=1, svd_solver="full").fit(centred).components_[0]
        cosine = float(directions[layer].double().numpy() @ expected)
        assert abs(cosine) > 0.9999, layer
        assert ((sides[0] - sides[1]) @ directions[layer].double().numpy() > 0).mean() >= 0.5


def test_mean_diff_is_the_mean_difference(differences: Tensor) -> None:
    mean = differences.mean(dim=0)
    torch.testing.assert_close(mean_diff(differences), mean / mean.norm(dim=-1, keepdim=True))


def test_a_contrast_without_difference_is_refused() -> None:
    with pytest.raises(InputError, match="vector at layer 0: norm 0"):
        mean_diff(torch.zeros(4, 2, 3))
    with pytest.raises(InputError, match="vector at layer 1: norm nan"):
        mean_diff(torch.stack([torch.ones(4, 3), torch.full((4, 3), torch.nan)], dim=1))


def test_openings_are_compared_at_their_last_token(engine: Engine, tokenizer: Any) -> None:
    together = opening_residuals(engine, tokenizer, "cats", OPENINGS)
    assert together.shape == (len(OPENINGS), 4, 32)
    prompt = {"role": "user", "content": PROMPT.format(concept="cats")}
    for opening, residual in zip(OPENINGS, together, strict=True):
        tokens = encode(tokenizer, render(tokenizer, [prompt, {"role": "assistant", "content": opening}]))
        with torch.inference_mode():
            hidden = engine.model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
        for layer in range(3):  # the last entry of hidden_states is after the final norm
            torch.testing.assert_close(residual[layer], hidden[layer + 1][0, -1], atol=1e-4, rtol=1e-4)


def test_random_vectors_keep_norms_and_angles_and_nothing_else(differences: Tensor) -> None:
    own = pca_center(torch.randn(60, 5, 400, generator=torch.Generator().manual_seed(1)) + 0.3)
    turned = random_rotation(own, "cats", seed=0, draw=0)
    torch.testing.assert_close(turned @ turned.T, own @ own.T, atol=1e-5, rtol=0)
    assert (turned * own).sum(dim=-1).abs().max() < 0.25
    assert torch.equal(turned, random_rotation(own, "cats", seed=0, draw=0))
    others = [
        random_rotation(own, concept, seed, draw)
        for concept, seed, draw in [("bread", 0, 0), ("cats", 1, 0), ("cats", 0, 1)]
    ]
    for other in others:
        assert (turned * other).sum(dim=-1).abs().max() < 0.25


def test_covariance_matched_vectors_have_the_covariance_of_the_texts() -> None:
    spread = torch.tensor([3.0, 1.0, 0.3, 0.1])
    texts = torch.randn(400, 2, 4, generator=torch.Generator().manual_seed(5)) * spread + 7.0
    drawn = torch.stack([covariance_matched(texts, "cats", seed=0, draw=draw) for draw in range(2000)])
    torch.testing.assert_close(drawn.norm(dim=-1), torch.ones(2000, 2))
    sizes = drawn[:, 0].square().mean(dim=0).sqrt()
    # at unit norm the largest share is less than its spread alone would make it
    assert sizes[0] > 1.5 * sizes[1], "most where the texts vary most"
    assert sizes[1] > 2 * sizes[2] > 4 * sizes[3]
    assert drawn.mean(dim=0).abs().max() < 0.06, "the mean of the texts is no direction of theirs"
    assert torch.equal(drawn[3], covariance_matched(texts, "cats", seed=0, draw=3))
    assert not torch.equal(drawn[3], covariance_matched(texts, "bread", seed=0, draw=3))


def test_the_library_makes_both_kinds_of_controls(engine: Engine, tokenizer: Any, tmp_path: Path) -> None:
    library = VectorLibrary(engine, tokenizer, "weights", OPENINGS, VectorStore(tmp_path))
    recipe = VectorRecipe("pca_center", "cats", seed=0, control="covariance")
    assert recipe.label == "covariance cats-0"
    neutral = opening_residuals(engine, tokenizer, "anything", OPENINGS)
    assert torch.equal(library.directions(recipe), covariance_matched(neutral, "cats", 0, 0))
    with pytest.raises(InputError, match="control='sorted': expected one of rotation, gaussian, covariance"):
        VectorRecipe("pca_center", "cats", seed=0, control="sorted")


def test_library_extracts_once_and_says_what_it_has(
    engine: Engine, tokenizer: Any, tmp_path: Path, told: list[str]
) -> None:
    recipe = VectorRecipe("pca_center", "cats")
    first = VectorLibrary(engine, tokenizer, "weights", OPENINGS, VectorStore(tmp_path))
    directions = first.directions(recipe)
    assert told == ["extracting the vector for 'cats' (pca_center)"]
    again = VectorLibrary(engine, tokenizer, "weights", OPENINGS, VectorStore(tmp_path))
    assert torch.equal(again.directions(recipe), directions)
    assert again.sha256(recipe) == content_hash(directions)
    assert len(told) == 1, "kept vectors are not extracted again"
    for change in ("other weights", "weights"):
        openings = OPENINGS if change != "weights" else OPENINGS[:-1]
        VectorLibrary(engine, tokenizer, change, openings, VectorStore(tmp_path)).directions(recipe)
    assert len(told) == 3, "other weights or openings are other vectors"


def test_residual_norm_is_the_median_of_the_steered_layers(engine: Engine, tokenizer: Any, tmp_path: Path) -> None:
    library = VectorLibrary(engine, tokenizer, "weights", OPENINGS, VectorStore(tmp_path))
    norms = opening_residuals(engine, tokenizer, "anything", OPENINGS).norm(dim=-1).median(dim=0).values
    assert library.residual_norm((1, 2)) == pytest.approx(float(norms[1]))
    assert library.residual_norm((0, 3)) == pytest.approx(float(norms[:3].median()))


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_damaged_files_are_noticed_and_replaced(tmp_path: Path, told: list[str], damage: str) -> None:
    store, key, vectors = VectorStore(tmp_path), {"concept": "cats"}, torch.randn(3, 4)
    store.save(key, vectors)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    path.write_bytes({"truncate": content[:-5], "flip": content, "empty": b"", "text": b"not a tensor"}[damage])
    assert store.load(key) is None
    assert "is corrupt; extracting it again" in told[0]
    store.save(key, vectors)
    kept = store.load(key)
    assert kept is not None
    assert torch.equal(kept, vectors)


@pytest.mark.parametrize("other", [{"weights": "a", "concept": "bread"}, {"weights": "b", "concept": "cats"}])
def test_a_file_of_another_concept_or_model_is_noticed_and_replaced(
    tmp_path: Path, told: list[str], other: dict[str, str]
) -> None:
    store, key, vectors = VectorStore(tmp_path), {"weights": "a", "concept": "cats"}, torch.randn(3, 4)
    store.save(key, vectors)
    (own,) = tmp_path.glob("*.safetensors")
    store.save(other, torch.randn(3, 5))
    (foreign,) = set(tmp_path.glob("*.safetensors")) - {own}
    own.write_bytes(foreign.read_bytes())
    assert store.load(key) is None
    assert told == [f"the cached vector {own} is that of another model or concept; extracting it again"]
    assert store.load(other) is not None, "where it belongs, the same file is read"
    store.save(key, vectors)
    kept = store.load(key)
    assert kept is not None
    assert torch.equal(kept, vectors)


def test_numbers_of_another_kind_are_damage(tmp_path: Path, told: list[str]) -> None:
    store = VectorStore(tmp_path)
    store.save({"concept": "cats"}, torch.ones(2, 2))
    (path,) = tmp_path.glob("*.safetensors")
    save_file({"direction": torch.ones(2, 2, dtype=torch.bfloat16)}, path)
    assert store.load({"concept": "cats"}) is None
    assert "is corrupt; extracting it again" in told[0]


def test_vectors_of_another_concept_in_the_cache_are_extracted_anew(
    engine: Engine, tokenizer: Any, tmp_path: Path
) -> None:
    store = VectorStore(tmp_path)
    cats, bread = (VectorRecipe("pca_center", word) for word in ("cats", "bread"))
    expected = VectorLibrary(engine, tokenizer, "weights", OPENINGS, store).directions(cats)
    (own,) = tmp_path.glob("*.safetensors")
    VectorLibrary(engine, tokenizer, "weights", OPENINGS, store).directions(bread)
    (foreign,) = set(tmp_path.glob("*.safetensors")) - {own}
    own.write_bytes(foreign.read_bytes())
    again = VectorLibrary(engine, tokenizer, "weights", OPENINGS, store).directions(cats)
    assert torch.equal(again, expected)


def test_a_cache_that_cannot_be_written_to_is_a_notice(tmp_path: Path, told: list[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    store = VectorStore(blocked / "vectors")
    store.save({"concept": "cats"}, torch.ones(2, 2))
    assert "going on without it" in told[0]
    assert store.load({"concept": "cats"}) is None


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.save({"concept": "cats"}, torch.ones(2, 2))
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    assert not any(stat.S_ISDIR(path.stat().st_mode) for path in tmp_path.iterdir())
