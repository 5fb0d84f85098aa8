"""Does a model notice a concept that was injected while it read an earlier turn? (experiments 1 to 4)."""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.viewer import ScoreColorScale, TaskSamplesColumn, TaskSamplesSort, TaskSamplesView, ViewerConfig

from introbench import data
from introbench.battery import (
    Bank,
    Trial,
    choose,
    distinct_questions,
    make_trials,
    parse_concepts,
    parse_count,
    split_into_banks,
)
from introbench.checkpoint import software_versions
from introbench.injection import VectorRecipe, parse_layers, parse_strength
from introbench.provider import active_checkpoint, one_line_errors
from introbench.scorers.yes_shift import yes_shift
from introbench.solvers.inject_prior_turn import inject_prior_turn

UNKNOWN_MODEL_STRENGTH = "residual:0.05"
"""For models without a known setting: about what strength 8 is for the embedded model."""
TRIALS_IN_FLIGHT = 1000


@task
def introspection(
    concepts: str | list[str] | None = None,
    documents: str | list[str] | None = None,
    families: str | list[str] | None = None,
    formats: str | list[str] | None = None,
    method: str = "pca_center",
    layers: str | int | list[int] | None = None,
    strength: float | str | None = None,
    random_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
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
        families: Question families: introspection, always_no, always_yes, ambiguous, confusing; all by default.
        formats: Answer formats: yes-no, one-zero; all that a family is asked in by default.
        method: How a concept's vector is extracted: pca_center or mean_diff.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        strength: Norm of what is added at each layer, or residual:SHARE of the model's median residual norm; the
            model's known setting or residual:0.05 by default.
        random_vectors: Random vectors per trial.
        seed: Seed of the random vectors.
        system: Content of the system turn; "none" for no system turn.
    """
    with one_line_errors():
        checkpoint = active_checkpoint()
        checkpoint.check()
        known = data.known_settings(checkpoint.name)
        number, relative = parse_strength(
            strength if strength is not None else known.get("strength", UNKNOWN_MODEL_STRENGTH)
        )
        whole = Bank(
            concepts=parse_concepts(concepts),
            method=VectorRecipe(method, "any").method,
            layers=parse_layers(layers if layers is not None else known.get("layers"), checkpoint.n_layers),
            strength=number,
            relative=relative,
            random_arms=parse_count(random_vectors, "random_vectors", most=9),
            seed=parse_count(seed, "seed", most=2**32 - 1),
        )
        banks = split_into_banks(whole)
        chosen_documents = choose(documents, data.documents(), "documents")
        chosen_families = choose(families, data.FAMILIES, "families")
        trials = list(
            make_trials(
                checkpoint.tokenizer,
                banks=banks,
                documents=chosen_documents,
                families=chosen_families,
                formats=choose(formats, data.answer_formats(), "formats"),
                system=None if system in (None, "none") else system,
            )
        )
        plan = {"documents": list(chosen_documents), "families": list(chosen_families)}
        samples = [_sample(trial, plan) for trial in trials]
    return Task(
        dataset=MemoryDataset(samples, name="introspection"),
        solver=inject_prior_turn([bank.to_json() for bank in banks], distinct_questions(trials)),
        scorer=yes_shift(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=1,
        metadata={
            "layers": f"{whole.layers[0]}:{whole.layers[1]} of {checkpoint.n_layers}",
            "strength": f"{'residual:' if relative else ''}{number:g}",
            "method": method,
            "seed": seed,
            "model_revision": checkpoint.revision_digest,
            "versions": software_versions(),
        },
    )


def _sample(trial: Trial, plan: dict[str, list[str]]) -> Sample:
    makers = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    return Sample(
        id=trial.id,
        input=[makers[message["role"]](content=message["content"]) for message in trial.messages],
        target=trial.question.expected,
        metadata={
            "document": trial.document,
            "family": trial.question.family,
            "question": trial.question.id,
            "format": trial.answer_format.name,
            "concept": trial.concept,
            "reversed": trial.question.reversed,
            "bank": trial.bank,
            "plan": plan,
            "prior_messages": trial.prior_messages,
            "forms": [list(pair) for pair in trial.answer_format.forms],
        },
    )


def _viewer() -> ViewerConfig:
    """Columns that a person understands, largest shifts first, red and green around no shift."""
    scores = {
        "shift": "Shift (nats)",
        "random": "Random vectors (nats)",
        "p_yes_sham": "P(yes) sham",
        "p_yes": "P(yes) injected",
        "mass": "P(yes or no)",
    }
    symmetric = ScoreColorScale(palette="diverging", min=-2, max=2)
    return ViewerConfig(
        task_samples_view=TaskSamplesView(
            name="Shifts",
            columns=[
                TaskSamplesColumn(id="sampleId"),
                *(TaskSamplesColumn.score("yes_shift", name) for name in scores),
                TaskSamplesColumn(id="sampleStatus", visible=False),
                TaskSamplesColumn(id="target", visible=False),
                TaskSamplesColumn(id="answer", visible=False),
                TaskSamplesColumn(id="input", visible=False),
                TaskSamplesColumn(id="tokens", visible=False),
                TaskSamplesColumn(id="duration", visible=False),
            ],
            sort=[TaskSamplesSort.score("yes_shift", "shift", dir="desc")],
            score_labels=scores,
            score_color_scales={
                "shift": symmetric,
                "random": symmetric,
                "p_yes_sham": ScoreColorScale(palette="neutral", min=0, max=1),
                "p_yes": ScoreColorScale(palette="neutral", min=0, max=1),
            },
            color_scales_enabled=True,
            multiline=False,
        )
    )
