"""The loaded model: what the log says of how its numbers are computed."""

from pathlib import Path

from introbench.models.checkpoint import Checkpoint
from introbench.provider.loaded_model import LoadedModel


def test_the_log_names_the_products_that_were_asked_for(tiny_folder: Path) -> None:
    facts = LoadedModel(Checkpoint(str(tiny_folder), device="cpu", products="blas")).facts
    assert facts["products"] == "blas, as asked"
