"""What the metadata of a sample of the sampled detection task say."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from introbench.records.arm import Arm
from introbench.records.factors import arms_from_json

PRIOR, ONWARDS = "prior", "onwards"
PROTOCOLS = (PRIOR, ONWARDS)
"""When a vector is on: while the prior turn is read, and then no more; or from the prior turn's last token to the end
of the answer."""

CHOOSE, REPORT = "choose", "report"
"""The halves of the concepts: those on which the best cell is chosen, and those on which it is reported."""


@dataclass(frozen=True)
class Cell:
    """A layer and a strength.

    Attributes:
        layer: The steered block, counted from 0.
        fraction: Its depth as a share of the model's, as it was asked for.
        strength: The strength, as users write it.
    """

    layer: int
    fraction: float
    strength: str


@dataclass(frozen=True)
class SampledFactors:
    """All answers about one concept under one protocol.

    Attributes:
        concept: What is injected, and looked for in the answers.
        half: `CHOOSE` or `REPORT`.
        protocol: When the vector is on: `prior` or `onwards`.
        cells: The layers and strengths, by what they are called.
        arms: The arms by name; an arm's place is the name of its cell.
        arm_batch: Index of the arm batch whose rows the arms are.
        seeds: Seeds of the answers under each arm.
        prior_messages: How many leading messages are the prior turn.
        begins: What answers begin with, where they are made to claim something.
        question: What is asked.
        concepts: All concepts of the run.
        seed: Seed of the run.
    """

    concept: str
    half: str
    protocol: str
    cells: Mapping[str, Cell]
    arms: Mapping[str, Arm]
    arm_batch: int
    seeds: Sequence[int]
    prior_messages: int
    begins: str
    question: str
    concepts: Sequence[str]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """A sample's metadata."""
        return {
            "concept": self.concept,
            "half": self.half,
            "protocol": self.protocol,
            "cells": {name: asdict(cell) for name, cell in self.cells.items()},
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "bank": self.arm_batch,
            "seeds": list(self.seeds),
            "prior_messages": self.prior_messages,
            "begins": self.begins,
            "asked": self.question,
            "plan": {"concepts": list(self.concepts), "seed": self.seed},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SampledFactors":
        """Rebuild factors from `to_json`'s values."""
        return cls(
            concept=values["concept"],
            half=values["half"],
            protocol=values["protocol"],
            cells={name: Cell(**cell) for name, cell in values["cells"].items()},
            arms=arms_from_json(values["arms"]),
            arm_batch=values["bank"],
            seeds=values["seeds"],
            prior_messages=values["prior_messages"],
            begins=values["begins"],
            question=values["asked"],
            concepts=values["plan"]["concepts"],
            seed=values["plan"]["seed"],
        )
