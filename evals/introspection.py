"""Does a model notice a concept that was injected while it read an earlier turn?"""

from functools import partial
from typing import Any

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, ViewerConfig

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.verdict import MARGIN
from introbench.prompts import schema
from introbench.prompts.design import HALF
from introbench.provider.baselines import read_baselines
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.introspection import yes_shift
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.tasks.arguments import Layers, Names, StrengthText, Words, parse_count, parse_margin, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.conversations import asked_conversations, parse_questions_file
from introbench.tasks.near_controls import near_controls
from introbench.tasks.trials import TRIALS_IN_FLIGHT, concept_trials, plan_of, run_facts, system_turn
from introbench.tasks.viewer import samples_view

FEWER_CONCEPTS = 3
"""How many concepts are injected under other documents than the reference by default: the verdict does not rest on
these, and as many contrasts have intervals as with all."""


@task
@one_line_errors()
@typed_arguments
def introspection(
    concepts: Words = None,
    documents: Names = None,
    families: Names = None,
    formats: Names = None,
    method: str = "pca_center",
    layers: Layers = None,
    strength: StrengthText = None,
    random_vectors: int = 3,
    norm_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
    steering: str = "cache",
    prompts: Names = None,
    vectors: str | None = None,
    controls: Names = None,
    margin: float = MARGIN,
    cross: str = HALF,
    controls_near: int | None = None,
    concepts_elsewhere: int | None = None,
    questions: str | None = None,
) -> Task:
    """Ask about an injected thought, and everything that such an injection might disturb as well.

    A concept's vector is added to the residual stream while the model fills its KV cache for the prior turn (system
    turn, setting with a document, short reply). With the injection off, it is asked a question, and the next token's
    yes and no probabilities are compared with those of a sham on the same tokens.

    Run it on the embedded model, on a few concepts, or on a large model:

        inspect eval evals/introspection.py --model inject/smollm2
        inspect eval introbench/introspection -T concepts=cats,bread -T documents=info,lorem --limit 40
        inspect eval introbench/introspection --model inject/Qwen/Qwen2.5-Coder-32B-Instruct \
            -M dtype=bfloat16 -M device_map=auto

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; all by default.
        families: Question families: introspection, always_no, always_yes, ambiguous, confusing, salience (whether
            something stands out in the text; under info alone, or the first document without it); all by default.
        formats: Answer formats: yes-no, one-zero, zero-one, b-a, a-b, red-blue, blue-red; by default the first of each
            kind that is single tokens of the model (yes-no, one-zero, b-a, red-blue), under the document info (or the
            first one without it), and yes-no under the others.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting or residual:0.05 by default.
        random_vectors: Random vectors per trial, at the doses of the concepts' vectors that they are rotations of.
        norm_vectors: How many of these are run at equal norm as well, one of them in each trial (see
            concepts_elsewhere); 0 for none.
        seed: Seed of the random vectors.
        system: Content of the system turn; "none" for no system turn.
        steering: When the injection is on: cache (while the prior turn is read, as published), active (to the end,
            while the model answers too) or both, side by side on the same trials.
        prompts: Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own;
            documents, families, formats and system are then theirs.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors. The strength multiplies them, whatever their own norm is.
        controls: Control vectors beside each concept's, each at its norm and at its impact: gaussian, covariance,
            shuffle, negated, other (another concept's), or all; none by default.
        margin: Smallest effect that matters to you, in nats; the verdict rests on it.
        cross: In how many kinds of answers (words, digits, letters, colours) each wording is asked: half (in half of
            them, in turn, so that every kind has as many plain as reversed wordings, all framings and all families),
            single (in one, which asks half as much) or full (in all, twice as much).
        controls_near: How many control questions to ask: those whose answers without an injection are nearest to those
            to introspection questions; all by default. The model is loaded to choose them, before the run begins.
        concepts_elsewhere: How many of the concepts are injected under documents other than info (or the first one); by
            default all where documents are named, else three, which say less and take a third of the time. Where they
            are not all, random vectors of equal norm are left out there.
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
        norm_vectors=norm_vectors,
        seed=seed,
        steering=steering,
        vectors=vectors,
        controls=controls,
    )
    smallest = parse_margin(margin)
    conversations = asked_conversations(
        checkpoint.tokenizer,
        prompts,
        documents=documents,
        families=families,
        formats=formats,
        system=system_turn(system),
        known_families=(*schema.FAMILIES, schema.SALIENCE),
        cross=cross,
        own=own,
    )
    chosen: dict[str, Any] = {}
    if controls_near is not None:
        near = near_controls(conversations, controls_near, partial(read_baselines, checkpoint))
        conversations, chosen = near.conversations, near.facts
    default = FEWER_CONCEPTS if documents is None and not prompts else len(arms.vectors)
    fewer = (
        default
        if concepts_elsewhere is None
        else parse_count(concepts_elsewhere, "concepts_elsewhere", most=len(arms.vectors), least=1)
    )
    trials = concept_trials(
        "introspection",
        conversations,
        arms,
        plan_of(conversations, margin=smallest),
        elsewhere=arms.of_fewer(fewer),
    )
    plan_trials(trials.dataset, trials.arm_batches, trials.questions, lambda scored: IntrospectionRun(scored).so_far)
    return Task(
        dataset=trials.dataset,
        solver=inject_prior_turn(trials.arm_batches, trials.questions),
        scorer=yes_shift(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(both=len(arms.steerings) > 1),
        version=7,
        metadata=run_facts(checkpoint, arms)
        | chat_facts(checkpoint, conversations, () if prompts else formats)
        | chosen
        | (own.facts if own else {}),
    )


def _viewer(both: bool) -> ViewerConfig:
    """Columns that a person understands, largest shifts first, red and green around no shift."""
    labels = {
        "shift": "Shift (nats)",
        "random": "Random vectors (nats)",
        "p_yes_sham": "P(yes) sham",
        "p_yes": "P(yes) injected",
        "mass": "P(yes or no)",
        **({"active": "Shift, active (nats)"} if both else {}),
    }
    symmetric = ScoreColorScale(palette="diverging", min=-2, max=2)
    probability = ScoreColorScale(palette="neutral", min=0, max=1)
    return samples_view(
        "Shifts",
        "yes_shift",
        labels,
        {"shift": symmetric, "random": symmetric, "p_yes_sham": probability, "p_yes": probability},
    )
