"""Planted answers of the sampled detection task: what models of known kinds would have answered, graded."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from introbench.analysis.grading import Grade
from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sampled_detection import grade_record
from introbench.records.arm import CONCEPT, RANDOM, SHAM, Arm
from introbench.records.sampled_factors import CHOOSE, PRIOR, REPORT, Cell, SampledFactors

CONCEPTS = tuple(f"thing{number}" for number in range(24))
CELLS = {"layer 1 x2": Cell(1, 0.4, "2"), "layer 2 x2": Cell(2, 0.6, "2")}

Answers = Callable[[str, str, str, np.random.Generator], tuple[bool, str | None]]
"""Kind of arm, cell and concept to whether an answer claims something, and which concept it names."""


def graded(claims: bool, named: str | None, concept: str, **more: Any) -> tuple[Grade, list[str]]:
    """A grade, and the guesses that belong to it."""
    names = named == concept
    return Grade(
        **{"coherent": True, "refused": False} | more, claims=claims, names=names, claims_first=claims and names
    ), [*([named] if named else [])]


def trials(
    answers: Answers,
    concepts: Sequence[str] = CONCEPTS,
    protocol: str = PRIOR,
    cells: dict[str, Cell] = CELLS,
    samples: int = 4,
    begins: str = "",
) -> list[ScoredTrial]:
    """The trials of a run whose answers are known."""
    draw = np.random.default_rng(5)
    arms = {"sham": Arm(SHAM, 0)}
    for cell in cells:
        arms[f"concept at {cell}"] = Arm(CONCEPT, len(arms), place=cell)
        arms[f"random 1 at {cell}"] = Arm(RANDOM, len(arms), 1, place=cell)
    made = []
    for number, concept in enumerate(concepts):
        factors = SampledFactors(
            concept=concept,
            half=REPORT if number % 2 else CHOOSE,
            protocol=protocol,
            cells=cells,
            arms=arms,
            arm_batch=number,
            seeds=range(samples),
            prior_messages=2,
            begins=begins,
            question="Do you?",
            concepts=concepts,
            seed=0,
        )
        grades: dict[str, list[Any]] = {}
        guesses: dict[str, list[list[str]]] = {}
        for name, arm in arms.items():
            given = [graded(*answers(arm.kind, arm.place, concept, draw), concept) for _ in range(samples)]
            grades[name] = [grade_record(grade) for grade, _ in given]
            guesses[name] = [named for _, named in given]
        exact = {"grades": grades, "guesses": guesses, "norms": {}, "grader": "rules", "without_grade": {}}
        made.append((factors.to_json(), exact))
    return made


def detector(kind: str, cell: str, concept: str, draw: np.random.Generator) -> tuple[bool, str | None]:
    """Claims a concept's vector at the second layer, and names it; nothing else."""
    detects = kind == CONCEPT and cell == "layer 2 x2" and draw.random() < 0.6
    return detects, concept if detects and draw.random() < 0.7 else None


def yes_sayer(kind: str, cell: str, concept: str, draw: np.random.Generator) -> tuple[bool, str | None]:
    """Claims something nine times out of ten whatever happens, and mostly guesses one thing."""
    return draw.random() < 0.9, CONCEPTS[3] if draw.random() < 0.6 else None


def silent_namer(kind: str, cell: str, concept: str, draw: np.random.Generator) -> tuple[bool, str | None]:
    """Talks about the concept that is injected, and claims nothing."""
    return False, concept if kind == CONCEPT and draw.random() < 0.7 else None


def claimer_of_anything(kind: str, cell: str, concept: str, draw: np.random.Generator) -> tuple[bool, str | None]:
    """Claims a thought under any vector, and guesses."""
    claims = kind != SHAM and draw.random() < 0.7
    return claims, CONCEPTS[int(draw.integers(len(CONCEPTS)))] if claims else None


def silent(kind: str, cell: str, concept: str, draw: np.random.Generator) -> tuple[bool, str | None]:
    """Claims nothing, names nothing."""
    return False, None
