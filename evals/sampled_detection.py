"""Does the model say that it detects an injected thought, and which? Sampled answers, graded, beside false alarms."""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig

from introbench.errors import InputError, shown
from introbench.prompts import data
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_sampling
from introbench.provider.resident import one_line_errors
from introbench.records.sampled_factors import PROTOCOLS
from introbench.scorers.sampled_detection import answers_graded
from introbench.solvers.sample_answers import sample_answers
from introbench.steering.injection import parse_strength
from introbench.tasks.arguments import Names, StrengthTexts, Words, choose, parse_count, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.continuations import choose_strengths
from introbench.tasks.sampled_detection import TEXT_COLUMNS, grid, sampled_trials
from introbench.tasks.trials import TRIALS_IN_FLIGHT, run_facts
from introbench.tasks.viewer import samples_view

FRACTIONS = (0.4, 0.6, 0.8)
"""Depths of the steered layer by default, as shares of the model's."""

STRENGTHS = (2, 4)
"""The strengths that are tried by default: by how much a difference of states is multiplied."""


@task
@one_line_errors()
@typed_arguments
def sampled_detection(
    concepts: Words = None,
    protocol: Names = None,
    layer_fractions: StrengthTexts = None,
    strengths: StrengthTexts = None,
    samples: int = 2,
    length: int = 60,
    temperature: float = 1.0,
    forced: bool = False,
    random_vectors: int = 1,
    method: str = "tell_me_about",
    seed: int = 0,
    vectors: str | None = None,
) -> Task:
    """Ask the model whether it detects an injected thought, and grade what it answers.

    The protocol of Lindsey (arXiv 2601.01828) and its replications: the model is told that a thought may be injected,
    is asked whether it detects one and what it is about, and answers at temperature 1. Every concept is asked about
    under its own vector, under random vectors of the same norms, and under the sham, with the same seeds, so that hits
    stand beside false alarms. Each layer and strength is a cell; the best is chosen on every other concept, and
    reported on the others. Answers are graded by rules, or by a model: `--model-role grader=NAME`.

        inspect eval evals/sampled_detection.py --model inject/smollm2
        inspect eval evals/sampled_detection.py -T concepts=apples,owls -T layer_fractions=0.5 -T strengths=4

    Args:
        concepts: Words to inject; by default the fifty of datasets/sampled_detection.yaml. Any word can be named.
        protocol: When the vector is on: prior (while the prior turn is read, and then no more), or onwards (from the
            prior turn's last token to the end of the answer); both by default.
        layer_fractions: Depths of the one layer that is steered, as shares of the model's, from 0 to 1; by default 0.4,
            0.6 and 0.8.
        strengths: Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or
            doses kl:NATS; 2 and 4 by default. A number multiplies a tell_me_about difference instead, which has a
            length of its own.
        samples: Texts for each vector and strength. The sham has as many.
        length: Most tokens of a text.
        temperature: Of sampling; 0 for the most likely token.
        forced: Whether answers begin with a claim that a thought is detected, so that only what it is said to be about
            is measured.
        random_vectors: Random vectors per trial, at each layer and strength.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        seed: Seed of the random vectors and of the sampling.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
    """
    checkpoint = active_checkpoint()
    checkpoint.check()
    tried = choose_strengths(strengths, [parse_strength(number) for number in STRENGTHS])
    cells = grid(FRACTIONS if layer_fractions is None else layer_fractions, tried, checkpoint.n_layers)
    layers = [cell.layer for cell, _ in cells.values()]
    arms = plan_arms(
        checkpoint,
        concepts=list(data.sampled_detection().concepts) if concepts is None and vectors is None else concepts,
        method=method,
        layers=f"{min(layers)}:{max(layers) + 1}",
        strength=None,
        random_vectors=random_vectors,
        seed=seed,
        vectors=vectors,
    )
    protocols = choose(protocol, PROTOCOLS, "protocol")
    count = parse_count(samples, "samples", most=1000, least=1)
    most = parse_count(length, "length", most=1000, least=1)
    if isinstance(temperature, bool) or not 0 <= temperature <= 10:
        raise InputError(
            f"temperature={shown(temperature)}: expected a number from 0 to 10; pass e.g. -T temperature=1"
        )
    dataset, batches = sampled_trials(arms, cells, protocols, count, forced)
    plan_sampling(dataset, batches, most)
    return Task(
        dataset=dataset,
        solver=sample_answers(batches, most, float(temperature)),
        scorer=answers_graded(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Answers", "answers_graded", TEXT_COLUMNS, groups=()),
        version=1,
        metadata=run_facts(checkpoint, arms)
        | {
            "layers": ", ".join(dict.fromkeys(f"{layer}" for layer in layers)) + f" of {checkpoint.n_layers}",
            "strength": ", ".join(dict.fromkeys(cell.strength for cell, _ in cells.values())),
            "steering": " and ".join(protocols),
        },
    )
