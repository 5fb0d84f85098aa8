"""(c) steering vectors of all concepts, and of three by repeng's `pca_center` on the same prompts.

pip install --no-deps repeng scikit-learn joblib threadpoolctl tqdm && python bench/vectors.py
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import gemm_peak, seconds, show_peak

np.float_ = np.float64  # type: ignore[attr-defined]  # a name that repeng 0.4 uses and NumPy 2 has no more
from repeng import ControlModel, ControlVector, DatasetEntry

from introbench.engine import TransformersEngine
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.prompts import data
from introbench.prompts.chat import render
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors import VectorLibrary
from introbench.steering.vectors.extract import NEUTRAL, PROMPT
from introbench.steering.vectors.store import VectorStore


def main() -> None:
    """Print the ratio and the cosine between the two results."""
    checkpoint = Checkpoint("smollm2")
    tokenizer: Any = checkpoint.tokenizer
    tokenizer.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id
    model = checkpoint.load()
    engine = TransformersEngine(model)
    concepts = data.concepts()

    def prompt(about: str, opening: str) -> str:
        turns = [{"role": "user", "content": PROMPT.format(concept=about)}, {"role": "assistant", "content": opening}]
        return render(tokenizer, turns)

    by_repeng: dict[str, Any] = {}

    def extract_by_repeng(concept: str) -> None:
        pairs = [DatasetEntry(prompt(concept, opening), prompt(NEUTRAL, opening)) for opening in data.openings()]
        wrapped = ControlModel(model, list(range(model.config.num_hidden_layers)))
        try:
            by_repeng[concept] = ControlVector.train(wrapped, tokenizer, pairs, method="pca_center")
        finally:
            wrapped.unwrap()

    largest_gap = seconds_for_all = 0.0
    slow = []
    for round_, concept in enumerate(concepts[:3]):  # interleaved with all nine of introbench
        slow.append(seconds(lambda concept=concept: extract_by_repeng(concept)))
        with tempfile.TemporaryDirectory() as folder:
            fingerprint = weights_fingerprint(model)
            library = VectorLibrary(engine, tokenizer, fingerprint, data.openings(), VectorStore(Path(folder)))
            taken = seconds(
                lambda library=library: [library.directions(VectorRecipe("pca_center", c)) for c in concepts]
            )
        seconds_for_all = taken if round_ == 0 else min(seconds_for_all, taken)
        directions = library.directions(VectorRecipe("pca_center", concept))
        for layer, direction in by_repeng[concept].directions.items():
            if layer == engine.n_layers - 1:  # repeng reads the last layer after the final norm
                continue
            cosine = float(torch.nn.functional.cosine_similarity(torch.tensor(direction), directions[layer], dim=0))
            largest_gap = max(largest_gap, 1 - abs(cosine))
    total = sorted(slow)[1] * len(concepts)
    print(show_peak(gemm_peak()))
    print(f"repeng {sorted(slow)[1]:.1f} s a concept; introbench {seconds_for_all:.1f} s for {len(concepts)}")
    print(f"{total / seconds_for_all:.0f}x; largest 1 - |cosine| {largest_gap:.1e}")


if __name__ == "__main__":
    main()
