"""Trials whose answers are sampled: one sample for each concept and protocol, all layers and strengths side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from inspect_ai.dataset import MemoryDataset, Sample

from introbench.errors import InputError, shown
from introbench.prompts import data
from introbench.prompts.schema import SampledPrompts
from introbench.records.arm import CONCEPT, RANDOM, SHAM, Arm
from introbench.records.factors import id_of_concept
from introbench.records.sampled_factors import CHOOSE, REPORT, Cell, SampledFactors
from introbench.steering.arms import ArmBatch, ArmPlan
from introbench.steering.injection import Injection, Strength, sham
from introbench.tasks.trials import chat_messages

TEXT_COLUMNS = {
    "hits": "Claims under the vector",
    "named": "Claims and names it",
    "false_alarms": "Claims under the sham",
    "random": "Claims under random vectors",
}
"""What the log viewer shows of a concept's answers."""

SEEDS_PER_CONCEPT = 10_000
"""Distance between the first seeds of two concepts, so that no two trials under the sham are the same."""


def grid(fractions: object, strengths: Mapping[str, Strength], n_layers: int) -> dict[str, tuple[Cell, Strength]]:
    """The cells of a run by name: every layer at every strength.

    Args:
        fractions: Depths of the steered layer, as shares of the model's.
        strengths: The strengths, by what they are called.
        n_layers: Number of the model's decoder blocks.

    Raises:
        InputError: A fraction is not from 0 to 1, or two of them are the same layer.
    """
    given = fractions if isinstance(fractions, list | tuple) else [fractions]
    layers: dict[int, float] = {}
    for value in given:
        try:
            fraction = (
                math.nan if isinstance(value, bool) else float(cast(str, value))
            )  # YAML leaves those of a list as text
        except (TypeError, ValueError, OverflowError):
            fraction = math.nan
        if not 0 <= fraction <= 1:
            raise InputError(
                f"layer_fractions={shown(value)}: expected numbers from 0 to 1; pass e.g. -T layer_fractions=0.4,0.6"
            )
        layer = min(math.floor(fraction * n_layers), n_layers - 1)
        if layer in layers:
            raise InputError(
                f"layer_fractions={shown(layers[layer])} and {shown(fraction)}: both are layer {layer} of {n_layers}; "
                f"expected each layer once; leave one out"
            )
        layers[layer] = fraction
    return {
        f"layer {layer} x{label}": (Cell(layer, fraction, label), strength)
        for layer, fraction in layers.items()
        for label, strength in strengths.items()
    }


def sampled_trials(
    arms: ArmPlan,
    cells: Mapping[str, tuple[Cell, Strength]],
    protocols: Sequence[str],
    samples: int,
    forced: bool,
) -> tuple[MemoryDataset, list[str]]:
    """One sample for each concept and protocol, and the arm batches that their metadata refer to.

    Args:
        arms: The concepts, and how many random vectors stand beside each.
        cells: The layers and strengths.
        protocols: When vectors are on.
        samples: Answers under each arm.
        forced: Whether answers begin with a claim.
    """
    prompts = data.sampled_detection()
    batches, trials = [], []
    for number, vector in enumerate(arms.vectors):
        named, injections = (
            {"sham": Arm(SHAM, 0)},
            [sham((cell.layer, cell.layer + 1)) for cell, _ in cells.values()][:1],
        )
        for label, (cell, strength) in cells.items():
            rotations = [replace(vector, seed=arms.seed, draw=draw) for draw in range(arms.random_arms)]
            for index, injected in enumerate([vector, *rotations]):
                name = f"{RANDOM} {index}" if index else CONCEPT
                named[f"{name} at {label}"] = Arm(RANDOM if index else CONCEPT, len(injections), index, place=label)
                injections.append(Injection(injected, (cell.layer, cell.layer + 1), strength))
        batches.append(ArmBatch(tuple(injections)).to_text())
        first = (arms.seed * len(arms.vectors) + number) * SEEDS_PER_CONCEPT
        trials += [
            Sample(
                id=f"{protocol}.{id_of_concept(vector.concept)}",
                input=chat_messages(chat_of_trial(prompts)),
                target=vector.concept,
                metadata=SampledFactors(
                    concept=vector.concept,
                    half=REPORT if number % 2 else CHOOSE,
                    protocol=protocol,
                    cells={label: cell for label, (cell, _) in cells.items()},
                    arms=named,
                    arm_batch=number,
                    seeds=range(first, first + samples),
                    prior_messages=2,
                    begins=prompts.forced if forced else "",
                    question=prompts.question,
                    concepts=arms.concepts,
                    seed=arms.seed,
                ).to_json(),
            )
            for protocol in protocols
        ]
    return MemoryDataset(trials, name="sampled_detection"), batches


def chat_of_trial(prompts: SampledPrompts) -> list[dict[str, str]]:
    """What a trial says; the first two messages are its prior turn."""
    return [
        {"role": "user", "content": prompts.setting},
        {"role": "assistant", "content": prompts.reply},
        {"role": "user", "content": prompts.question},
    ]
