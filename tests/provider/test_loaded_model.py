"""The loaded model: what the log says of how its numbers are computed, and what it knows of a part of a batch."""

from pathlib import Path

import pytest

from introbench.models.checkpoint import Checkpoint
from introbench.provider import loaded_model
from introbench.provider.loaded_model import LoadedModel
from introbench.tasks.arms import plan_arms


def test_the_log_names_the_products_that_were_asked_for(tiny_folder: Path) -> None:
    facts = LoadedModel(Checkpoint(str(tiny_folder), device="cpu", products="blas")).facts
    assert facts["products"] == "blas, as asked"


def test_vectors_are_live_in_a_part_of_a_batch_as_in_the_whole(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(str(tiny_folder), device="cpu")
    model = LoadedModel(checkpoint)
    words = ["cats", "bread", "love", "fear"]
    arms = plan_arms(
        checkpoint, concepts=words, method="pca_center", layers="1:3", strength=3, random_vectors=2, seed=0
    )
    whole, part = arms.batch, arms.of_fewer(2).batch
    found = dict(zip(whole, model._find_live(whole), strict=True))
    model._live[whole] = [*found.values()]
    monkeypatch.setattr(loaded_model, "live_vectors", lambda *_: pytest.fail("found again"))
    assert model._find_live(part) == [found[injection] for injection in part]
    assert {True, False} & set(found.values())
