"""Small runs and readings for the tests of self-checks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from introbench.prompts.answers import Answers
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider.inject_api import InjectAPI
from introbench.steering.injection import Injection, Strength, VectorRecipe, sham

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": ["none"],
    "families": ["introspection"],
    "formats": ["yes-no"],
    "layers": "1:3",
    "strength": 3,
    "random_vectors": 1,
    "limit": 4,
}
TURNS = (
    ("system", ""),
    ("user", "In half of my runs I place a thought in you."),
    ("assistant", "So be it."),
    ("user", "Do you detect a thought?"),
    ("assistant", "The answer is"),
)
YES_NO = Answers.of({"yes": [" yes"], "no": [" no"]})
CATS, BREAD = VectorRecipe("pca_center", "cats"), VectorRecipe("pca_center", "bread")
BATCH = (sham((1, 3)), *(Injection(vector, (1, 3), Strength(3.0)) for vector in (CATS, BREAD, replace(CATS, seed=0))))


def asked_of(folder: Path, turns: Sequence[tuple[str, str]] = TURNS, read: Answers = YES_NO) -> TokenizedQuestion:
    return InjectAPI(str(folder)).questions.of((tuple(turns), read), 3).tokenized
