"""Records of two evaluations, made up, for tests of comparisons."""

import numpy as np

from introbench.regression.baseline import Record

CONCEPTS = ("cats", "bread", "trees", "rain", "music", "stones", "ships", "moons", "clocks")
FAMILIES = {"detect": "introspection", "untouched": "introspection", "fish": "always_no", "wet": "always_yes"}


def record(shift: float = 0.0, seed: int = 0, spread: float = 0.0, level: float = 1.0) -> Record:
    """Shifts that differ between questions and concepts by far more than what is asked about."""
    common, noise = np.random.default_rng(0), np.random.default_rng(seed)
    trials = {}
    for question in FAMILIES:
        trials[f"info.{question}.yes-no"] = {
            concept: {
                "shift": float(common.normal(0, 2) + shift + noise.normal(0, spread)),
                "random": 0.0,
                "log_odds": level * len(question),
            }
            for concept in CONCEPTS
        }
    questions = {
        f"info.{name}.yes-no": {
            "document": "info",
            "family": family,
            "question": name,
            "format": "yes-no",
            "reversed": name == "untouched",
            "text": name,
        }
        for name, family in FAMILIES.items()
    }
    plan = {"documents": ["info"], "families": ["introspection", "always_no", "always_yes"]}
    return Record("introspection", "4", {}, "inject/a", "r", "2026", {}, {}, plan, "no effect", questions, trials)
