"""What comes to the model's mind under active steering? The liveness check behind every other result."""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig

from introbench.errors import InputError, shown
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_continuations
from introbench.provider.resident import one_line_errors
from introbench.scorers.top_of_mind import top_of_mind_texts
from introbench.solvers.continue_steered import continue_steered
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

FACTORS = (0.25, 0.5, 1, 2)
"""The strengths that are tried by default, as multiples of the model's own."""


@task
@one_line_errors()
@typed_arguments
def top_of_mind(
    concepts: Words = None,
    strengths: StrengthTexts = None,
    samples: int = 4,
    length: int = 30,
    temperature: float = 1.0,
    method: str = "pca_center",
    layers: Layers = None,
    random_vectors: int = 2,
    seed: int = 0,
    prompts: str | None = None,
    vectors: str | None = None,
    descriptions: Descriptions = None,
) -> Task:
    """Let the model go on from "I'm thinking about" while it is steered, at several strengths.

    Does the vector do anything, and is the text still coherent? Scored without a judge: how much likelier the concept's
    word becomes where the model goes on, beside the sham and 19 random vectors of the same norm; the share of the
    concept's words in the texts, repetition, length, and how likely the texts are under the model as it is. A vector
    that is not live here is no evidence of anything elsewhere. Of a vector that leads to a fine-tune (`introbench
    vectors FOLDER --finetune ID`), the opposite writes texts as well.

        inspect eval evals/top_of_mind.py --model inject/smollm2
        inspect eval evals/top_of_mind.py -T concepts=volcanoes -T strengths=4,8,16 -T samples=8

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        strengths: Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or
            doses kl:NATS; by default a quarter to twice the model's known setting or residual:0.05.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        temperature: Of sampling; 0 for the most likely token.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        random_vectors: Random vectors per trial that texts are written under, at each strength.
        seed: Seed of the random vectors and of the sampling.
        prompts: Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own;
            here one file, whose conversation is continued.
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
        random_vectors=random_vectors,
        seed=seed,
        steering="active",
        vectors=vectors,
    )
    tried = choose_strengths(strengths, [arms.strength.times(factor) for factor in FACTORS])
    count = parse_count(samples, "samples", most=1000, least=1)
    most = parse_count(length, "length", most=1000, least=1)
    if isinstance(temperature, bool) or not 0 <= temperature <= 10:
        raise InputError(
            f"temperature={shown(temperature)}: expected a number from 0 to 10; pass e.g. -T temperature=1"
        )
    messages = chat_to_continue(checkpoint, prompts)
    described = parse_descriptions(descriptions, arms.concepts)
    trials = continuation_trials("top_of_mind", arms, messages, tried, count, described, opposites=True)
    plan_continuations(trials.dataset, trials.arm_batches, len(trials.seeds), most)
    return Task(
        dataset=trials.dataset,
        solver=continue_steered(trials.arm_batches, trials.seeds, most, float(temperature)),
        scorer=top_of_mind_texts(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Texts", "top_of_mind_texts", TEXT_COLUMNS, groups=()),
        version=1,
        metadata=run_facts(checkpoint, arms) | facts_of_chat(checkpoint, messages) | {"strength": ", ".join(tried)},
    )
