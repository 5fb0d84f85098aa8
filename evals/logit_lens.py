"""At which layers does an injected thought move the answer?"""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ViewerConfig

from introbench.prompts import data
from introbench.prompts.design import SINGLE
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.logit_lens import lens_gap
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.tasks.arguments import Layers, Names, StrengthText, Words, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.conversations import asked_conversations, parse_questions_file
from introbench.tasks.trials import TRIALS_IN_FLIGHT, concept_trials, plan_of, run_facts, system_turn
from introbench.tasks.viewer import samples_view


@task
@one_line_errors()
@typed_arguments
def logit_lens(
    concepts: Words = None,
    documents: Names = None,
    families: Names = "introspection",
    formats: Names = "yes-no",
    method: str = "pca_center",
    layers: Layers = None,
    strength: StrengthText = None,
    random_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
    prompts: Names = None,
    vectors: str | None = None,
    questions: str | None = None,
) -> Task:
    """Read the answer after every block: the final norm and the unembedding applied to the residual stream there.

    Trials are those of the introspection task, with a quarter of its wordings to save time: by default six of the 24
    introspection wordings, in yes-no. What is shown is the gap in the log-odds of yes between injected and sham, the
    layer where it peaks, and how much of it the last layers take away.

        inspect eval evals/logit_lens.py --model inject/smollm2
        inspect eval evals/logit_lens.py -T documents=none,info -T concepts=cats,bread

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; all by default.
        families: Question families: introspection, always_no, always_yes, ambiguous, confusing; introspection by
            default.
        formats: Answer formats: yes-no, one-zero, zero-one, b-a, a-b, red-blue, blue-red; yes-no by default.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting or residual:0.05 by default.
        random_vectors: Random vectors per trial, at the doses of the concepts' vectors that they are rotations of.
        seed: Seed of the random vectors.
        system: Content of the system turn; "none" for no system turn.
        prompts: Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
        questions: A YAML file of your own questions, by family as in datasets/questions.yaml; a family of the file
            takes the place of ours of that name. It may also have `documents` and `concepts` of your own.
    """
    checkpoint = active_checkpoint()
    own = parse_questions_file(questions, prompts)
    checkpoint.check()
    arms = plan_arms(
        checkpoint,
        concepts=own.concepts_unless(concepts, vectors) if own else concepts,
        method=method,
        layers=layers,
        strength=strength,
        random_vectors=random_vectors,
        seed=seed,
        vectors=vectors,
    )
    conversations = asked_conversations(
        checkpoint.tokenizer,
        prompts,
        documents=documents,
        families=families,
        formats=formats,
        system=system_turn(system),
        lens=True,
        cross=SINGLE,
        kinds=data.answer_kinds(),
        own=own,
    )
    trials = concept_trials("logit_lens", conversations, arms, plan_of(conversations))
    plan_trials(trials.dataset, trials.arm_batches, trials.questions)
    return Task(
        dataset=trials.dataset,
        solver=inject_prior_turn(trials.arm_batches, trials.questions),
        scorer=lens_gap(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=2,
        metadata=run_facts(checkpoint, arms)
        | chat_facts(checkpoint, conversations, () if prompts else formats)
        | (own.facts if own else {}),
    )


def _viewer() -> ViewerConfig:
    labels = {
        "peak": "Largest gap (nats)",
        "layer": "At layer",
        "final": "Gap in the answer (nats)",
        "p_yes_peak": "P(yes) at the peak",
    }
    return samples_view("Logit lens", "lens_gap", labels)
