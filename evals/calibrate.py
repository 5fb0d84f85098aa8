"""How strong should an injection be on this model? Dose and response, from too weak to see to too strong to read."""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig

from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_continuations
from introbench.provider.resident import one_line_errors
from introbench.scorers.calibrate import dose_response
from introbench.solvers.continue_steered import continue_steered
from introbench.steering.injection import Strength
from introbench.tasks.arguments import (
    Descriptions,
    Layers,
    StrengthTexts,
    Words,
    parse_count,
    parse_descriptions,
    typed_arguments,
)
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import facts_of_chat
from introbench.tasks.continuations import TEXT_COLUMNS, chat_to_continue, choose_strengths, continuation_trials
from introbench.tasks.trials import TRIALS_IN_FLIGHT, run_facts
from introbench.tasks.viewer import samples_view

SHARES = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""The strengths that are tried by default, as shares of the model's median residual norm."""


@task
@one_line_errors()
@typed_arguments
def calibrate(
    concepts: Words = None,
    strengths: StrengthTexts = None,
    samples: int = 2,
    length: int = 24,
    method: str = "pca_center",
    layers: Layers = None,
    seed: int = 0,
    vectors: str | None = None,
    descriptions: Descriptions = None,
) -> Task:
    """Find a strength for a new model: the strongest at which the text is still coherent.

    A norm means something else on every model, and a vector's norm says little about what it disturbs. So each strength
    is shown with its dose, the divergence in nats that it causes on neutral questions (`introbench.steering.dose`), and
    with how many vectors are live, and how many texts coherent, under active steering; one strength is proposed.

        inspect eval evals/calibrate.py --model inject/Qwen/Qwen2.5-7B-Instruct -M dtype=bfloat16
        inspect eval evals/calibrate.py -T strengths=kl:0.05,kl:0.2,kl:0.8 -T concepts=cats,bread,music

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        strengths: Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or
            doses kl:NATS; from weak to strong; by default shares from 0.0125 to 0.8, in factors of two.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        seed: Seed of the random vectors and of the sampling.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
        descriptions: What vectors are called, in place of their names: 'descriptions={NAME: insecure code}'. These
            words are looked for in the texts.
    """
    checkpoint = active_checkpoint()
    checkpoint.check()
    arms = plan_arms(
        checkpoint,
        concepts=concepts,
        method=method,
        layers=layers,
        strength=None,
        random_vectors=0,
        seed=seed,
        steering="active",
        vectors=vectors,
    )
    tried = choose_strengths(strengths, [Strength(share, "residual") for share in SHARES])
    count = parse_count(samples, "samples", most=1000, least=1)
    most = parse_count(length, "length", most=1000, least=1)
    messages = chat_to_continue(checkpoint, None)
    described = parse_descriptions(descriptions, arms.concepts)
    trials = continuation_trials("calibrate", arms, messages, tried, count, described)
    plan_continuations(trials.dataset, trials.arm_batches, len(trials.seeds), most)
    return Task(
        dataset=trials.dataset,
        solver=continue_steered(trials.arm_batches, trials.seeds, most, 1.0),
        scorer=dose_response(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Texts", "dose_response", TEXT_COLUMNS, groups=()),
        version=1,
        metadata=run_facts(checkpoint, arms) | facts_of_chat(checkpoint, messages) | {"strength": ", ".join(tried)},
    )
