"""Was the information there to report? A linear probe on the model's states, beside its own report."""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, ViewerConfig

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.battery import battery
from introbench.prompts.design import SINGLE
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_probes
from introbench.provider.resident import one_line_errors
from introbench.records.probe_factors import ProbeFactors
from introbench.scorers.probe import probed
from introbench.solvers.probe_states import probe_states
from introbench.steering.arms import separate_batches
from introbench.tasks.arguments import Layers, Names, StrengthText, Words, choose, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.trials import TRIALS_IN_FLIGHT, chat_messages, run_facts, system_turn
from introbench.tasks.viewer import samples_view


@task
@one_line_errors()
@typed_arguments
def probe(
    concepts: Words = None,
    documents: Names = None,
    method: str = "pca_center",
    layers: Layers = None,
    strength: StrengthText = None,
    random_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
    vectors: str | None = None,
) -> Task:
    """Train a linear probe to tell injected from sham, on the states that the model itself has when it answers.

    The baseline behind every "no": a model that reports nothing may have had nothing to report. A probe is tested on
    concepts and questions that it was not trained on, against the model's log-odds on the same trials (six of
    the 24 introspection wordings, in yes-no, to save time); recovered = (report - 0.5) /
    (probe - 0.5), in AUROC. Two states are probed: where the question is answered, and where the prior turn ends (in
    the cache, cross-validated over documents, of which that needs two). A sample is one document. See
    `introbench.analysis.probe`.

        inspect eval evals/probe.py --model inject/smollm2
        inspect eval evals/probe.py -T documents=none,info -T concepts=cats,bread,love,trees

    Args:
        concepts: Words to inject, at least two; the nine published ones by default. Any word can be named.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; all by default.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting or residual:0.05 by default.
        random_vectors: Random vectors per trial: 0 for none; otherwise as many as concepts, or this many if that is
            more. They are scored by the probe that was trained on concepts.
        seed: Seed of the random vectors.
        system: Content of the system turn; "none" for no system turn.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
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
    if len(arms.concepts) < 2:
        raise InputError(
            f"concepts={', '.join(arms.concepts)}: one concept; expected at least two, since each is scored by a "
            f"probe that is trained on the others; pass e.g. -T concepts=cats,bread"
        )
    chosen = choose(documents, data.documents(), "documents")
    conversations = list(
        battery(
            checkpoint.tokenizer,
            documents=chosen,
            families=("introspection",),
            formats=("yes-no",),
            system=system_turn(system),
            cross=SINGLE,
            kinds=data.answer_kinds(),
        )
    )
    asked = [conversation for conversation in conversations if conversation.factors["document"] == chosen[0]]
    prior_turns = {
        str(conversation.factors["document"]): list(conversation.messages[: conversation.prior_messages])
        for conversation in conversations
    }
    dataset = MemoryDataset(
        [
            Sample(
                id=document,
                input=chat_messages(messages),
                metadata=ProbeFactors(
                    document=document,
                    questions=[conversation.factors["question"] for conversation in asked],
                    reversed=[conversation.factors["reversed"] for conversation in asked],
                    first_layer=arms.layers[0],
                    documents=chosen,
                    seed=arms.seed,
                ).to_json(),
            )
            for document, messages in prior_turns.items()
        ],
        name="probe",
    )
    questions = [
        {
            "messages": list(conversation.question),
            "answers": conversation.answers.to_json(),
            "reversed": conversation.factors["reversed"],
        }
        for conversation in asked
    ]
    batch = separate_batches(arms).to_text()
    plan_probes(dataset, batch, questions)
    return Task(
        dataset=dataset,
        solver=probe_states(batch, questions, prior_turns),
        scorer=probed(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=2,
        metadata=run_facts(checkpoint, arms) | chat_facts(checkpoint, conversations),
    )


def _viewer() -> ViewerConfig:
    labels = {
        "probe": "Probe (AUROC)",
        "report": "Report (AUROC)",
        "recovered": "Recovered",
        "random": "Probe, random vectors",
        "cache": "Probe of the cache",
    }
    scale = ScoreColorScale(palette="diverging", min=0, max=1)
    return samples_view(
        "Probe", "probed", labels, dict.fromkeys(("probe", "report", "random", "cache"), scale), ["document"]
    )
