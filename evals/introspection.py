"""Does a model notice a concept that was injected while it read an earlier turn? (experiments 1 to 4)."""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, TaskSamplesColumn, TaskSamplesSort, TaskSamplesView, ViewerConfig

from introbench import data
from introbench.arguments import choose
from introbench.bank import bank_text, make_bank, split_into_banks
from introbench.conversations import battery, published
from introbench.provider import active_checkpoint, one_line_errors
from introbench.scorers.yes_shift import yes_shift
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.trials import TRIALS_IN_FLIGHT, concept_trials, distinct_questions, facts, plan_of, system_turn


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
    steering: str = "cache",
    prompts: str | None = None,
    vectors: str | None = None,
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
        steering: When the injection is on: cache (while the prior turn is read, as published), active (to the end,
            while the model answers too) or both, side by side on the same trials.
        prompts: A file or folder of published conversations (arXiv 2602.20031's format) to run in place of our own;
            documents, families, formats and system are then theirs.
        vectors: A folder of control-vector files (GGUF, as repeng and llama.cpp write them), named by concept, to
            inject in place of extracted vectors.
    """
    with one_line_errors():
        checkpoint = active_checkpoint()
        checkpoint.check()
        bank = make_bank(
            checkpoint,
            concepts=concepts,
            method=method,
            layers=layers,
            strength=strength,
            random_vectors=random_vectors,
            seed=seed,
            steering=steering,
            vectors=vectors,
        )
        banks = split_into_banks(bank)
        conversations = (
            published(checkpoint.tokenizer, prompts)
            if prompts
            else list(
                battery(
                    checkpoint.tokenizer,
                    documents=choose(documents, data.documents(), "documents"),
                    families=choose(families, data.FAMILIES, "families"),
                    formats=choose(formats, data.answer_formats(), "formats"),
                    system=system_turn(system),
                )
            )
        )
        samples = list(concept_trials(conversations, banks, plan_of(conversations)))
    return Task(
        dataset=MemoryDataset(samples, name="introspection"),
        solver=inject_prior_turn([bank_text(each.injections) for each in banks], distinct_questions(conversations)),
        scorer=yes_shift(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(both=len(bank.steerings) > 1),
        version=2,
        metadata=facts(checkpoint, bank),
    )


def _viewer(both: bool) -> ViewerConfig:
    """Columns that a person understands, largest shifts first, red and green around no shift."""
    scores = {
        "shift": "Shift (nats)",
        "random": "Random vectors (nats)",
        "p_yes_sham": "P(yes) sham",
        "p_yes": "P(yes) injected",
        "mass": "P(yes or no)",
        **({"active": "Shift, active (nats)"} if both else {}),
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
