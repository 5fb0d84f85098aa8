"""Can the model say which concept was injected?"""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, ViewerConfig

from introbench.prompts import data
from introbench.prompts.identification import identification as identification_conversations
from introbench.prompts.published import published
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.identification import identified
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.tasks.arguments import (
    Descriptions,
    Layers,
    Names,
    StrengthText,
    Words,
    choose,
    parse_count,
    parse_descriptions,
    typed_arguments,
    user_paths,
)
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.trials import TRIALS_IN_FLIGHT, concept_trials, plan_of, run_facts, system_turn
from introbench.tasks.viewer import samples_view

PARTS = ("list", "naming")


@task
@one_line_errors()
@typed_arguments
def identification(
    concepts: Words = None,
    documents: Names = None,
    parts: Names = None,
    replicates: int = 1,
    method: str = "pca_center",
    layers: Layers = None,
    strength: StrengthText = None,
    random_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
    prompts: Names = None,
    vectors: str | None = None,
    descriptions: Descriptions = None,
) -> Task:
    """Ask which concept was injected: picked from a list, and named after a prefilled yes.

    `list`: the concepts and "nothing was placed", labelled, in orders in which every option stands at each place
    equally often. Labels are digits for up to nine concepts, letters for up to 51. `naming`: several wordings whose
    prefilled answer goes on with the concept's name. Both are read among the options and by the logit lens, and summed
    up as mutual information in bits, with a permutation null, and as each concept's lift.

        inspect eval evals/identification.py --model inject/smollm2
        inspect eval evals/identification.py -T parts=list -T documents=info -T replicates=2

    Args:
        concepts: Words to inject and to choose from; the nine published ones by default. Any word can be named.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; all by default.
        parts: Parts of the experiment: list, naming; both by default.
        replicates: How often every option stands at each label; the number of orders of the list is this times the
            number of options.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting or residual:0.05 by default.
        random_vectors: Random vectors per trial, at the doses of the concepts' vectors that they are rotations of.
        seed: Seed of the random vectors and of the orders.
        system: Content of the system turn; "none" for no system turn.
        prompts: Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own;
            those with a list of concepts.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
        descriptions: What vectors are called, in place of their names: 'descriptions={NAME: insecure code}'. These
            words stand in the questions; with `prompts` there are none.
    """
    checkpoint = active_checkpoint()
    checkpoint.check()
    arms = plan_arms(
        checkpoint,
        concepts=concepts,
        method=method,
        layers=layers,
        strength=strength,
        random_vectors=random_vectors,
        seed=seed,
        vectors=vectors,
    )
    described = parse_descriptions(descriptions, arms.concepts)
    if prompts:
        choose(arms.concepts, data.concepts(), "concepts")  # the published lists have no others
    conversations = (
        published(checkpoint.tokenizer, user_paths(prompts), options=True, lens=True)
        if prompts
        else list(
            identification_conversations(
                checkpoint.tokenizer,
                concepts=arms.concepts,
                documents=choose(documents, data.documents(), "documents"),
                parts=choose(parts, PARTS, "parts"),
                replicates=parse_count(replicates, "replicates", most=20, least=1),
                system=system_turn(system),
                seed=arms.seed,
                descriptions=described,
            )
        )
    )
    trials = concept_trials("identification", conversations, arms, plan_of(conversations))
    plan_trials(trials.dataset, trials.arm_batches, trials.questions)
    return Task(
        dataset=trials.dataset,
        solver=inject_prior_turn(trials.arm_batches, trials.questions),
        scorer=identified(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=2,
        metadata=run_facts(checkpoint, arms)
        | chat_facts(checkpoint, conversations)
        | ({"descriptions": described} if described else {}),
    )


def _viewer() -> ViewerConfig:
    labels = {
        "p": "P(injected concept)",
        "p_sham": "P(same) sham",
        "rank": "Rank",
        "p_nothing": "P(nothing)",
        "mass": "P(any option)",
    }
    probability = ScoreColorScale(palette="neutral", min=0, max=1)
    return samples_view("Reports", "identified", labels, {"p": probability, "p_sham": probability})
