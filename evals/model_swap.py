"""Does a model notice that another one filled its cache?"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale

from introbench.errors import InputError
from introbench.models import smollm2
from introbench.models.checkpoint import Checkpoint, software_versions
from introbench.models.finetune import Finetune
from introbench.prompts import data
from introbench.prompts.design import HALF
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.model_swap import arm_shifts
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.steering.injection import UNKNOWN_MODEL_STRENGTH, parse_layers, parse_strength
from introbench.steering.model_swap import Swap
from introbench.tasks.arguments import Layers, Names, StrengthText, parse_count, typed_arguments, user_path
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.conversations import asked_conversations, parse_questions_file, with_lens
from introbench.tasks.trials import TRIALS_IN_FLIGHT, plan_of, question_groups, system_turn, trial
from introbench.tasks.viewer import samples_view

EMBEDDED_FINETUNE = "lora:cats"


@task
@one_line_errors()
@typed_arguments
def model_swap(
    finetune: str | None = None,
    documents: Names = None,
    families: Names = None,
    formats: Names = "yes-no",
    layers: Layers = None,
    strength: StrengthText = None,
    random_vectors: int = 3,
    seed: int = 0,
    system: str | None = "",
    prompts: Names = None,
    lens: bool = True,
    questions: str | None = None,
) -> Task:
    """Let a fine-tune fill the prior turn's cache, and ask the base model, which goes on from it.

    No steering vector is needed for that, so it is a control of the whole approach. Beside it, the vector that leads
    from the base to the fine-tune (the same prompts through both) is injected, forwards and backwards, and random
    rotations of it. The control questions are asked under all of these arms. To save time, half of the wordings are
    asked: 12 of introspection, 24 of control questions. Answers to introspection questions are read after every block,
    too, by the logit lens.

        inspect eval evals/model_swap.py --model inject/smollm2
        inspect eval evals/model_swap.py --model inject/Qwen/Qwen2.5-Coder-32B-Instruct -M dtype=bfloat16 \
            -M device_map=auto -T finetune=emergent-misalignment/Qwen-Coder-Insecure -T strength=10

    Args:
        finetune: A model id or folder, a LoRA adapter's id or folder, or lora:CONCEPT (or lora:CONCEPT:SEED), which is
            trained on the spot and kept. By default lora:cats for the embedded model; others have no default.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; all by default.
        families: Question families: introspection, always_no, always_yes, ambiguous, confusing; all by default.
        formats: Answer formats: yes-no, one-zero, zero-one, b-a, a-b, red-blue, blue-red; yes-no by default.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the middle
            third by default.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting for such a vector or for any, or residual:0.05 by default.
        random_vectors: Random vectors per trial: rotations of the vector from base to fine-tune.
        seed: Seed of the random vectors.
        system: Content of the system turn; "none" for no system turn.
        prompts: Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own.
        lens: Whether introspection questions are also read after every block (logit lens).
        questions: A YAML file of your own questions, by family as in datasets/questions.yaml; a family of the file
            takes the place of ours of that name. It may also have `documents` and `concepts` of your own.
    """
    checkpoint = active_checkpoint()
    own = parse_questions_file(questions, prompts)
    checkpoint.check()
    swap = _swap(checkpoint, finetune, layers, strength, random_vectors, seed)
    conversations = asked_conversations(
        checkpoint.tokenizer,
        prompts,
        documents=documents,
        families=families,
        formats=formats,
        system=system_turn(system),
        cross=HALF,
        kinds=data.answer_kinds(),
        own=own,
    )
    if lens:
        conversations = with_lens(conversations, "introspection")
    plan = plan_of(conversations)
    asked, groups = question_groups(conversations)
    name = swap.finetune.rstrip("/").rsplit("/", 1)[-1]
    dataset = MemoryDataset(
        [trial(conversation, groups, name, 0, swap.arms, plan) for conversation in conversations], name="model_swap"
    )
    batches = [swap.batch.to_text()]
    plan_trials(dataset, batches, asked)
    labels = {
        arm: f"{arm} (nats)" for arm in ("finetune", "contrast +", "contrast -", "finetune, contrast -", "random")
    }
    symmetric = ScoreColorScale(palette="diverging", min=-2, max=2)
    return Task(
        dataset=dataset,
        solver=inject_prior_turn(batches, asked),
        scorer=arm_shifts(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Arms", "arm_shifts", labels, dict.fromkeys(labels, symmetric)),
        version=2,
        metadata={
            "layers": f"{swap.layers[0]}:{swap.layers[1]} of {checkpoint.n_layers}",
            "strength": str(swap.strength),
            "method": f"cache of {swap.finetune}",
            "seed": swap.seed,
            "model_revision": checkpoint.revision_digest,
            "versions": software_versions(),
            **chat_facts(checkpoint, conversations, () if prompts else formats),
            **(own.facts if own else {}),
        },
    )


def _swap(
    checkpoint: Checkpoint, finetune: str | None, layers: object, strength: object, random_vectors: object, seed: object
) -> Swap:
    """Read what the arguments say about the fine-tune and its vector, and refuse what does not fit the base."""
    if finetune is None and checkpoint.name != smollm2.NAME:
        raise InputError(
            f"finetune: none given for inject/{checkpoint.name}; expected a fine-tune of it; pass -T finetune=ID, a "
            f"folder, or -T finetune=lora:cats to train one"
        )
    known = data.known_settings(checkpoint.name)
    usual = known.get("contrast", known.get("strength", UNKNOWN_MODEL_STRENGTH))
    name = finetune or EMBEDDED_FINETUNE
    swap = Swap(
        finetune=str(user_path(name)) if user_path(name).exists() else name,
        layers=parse_layers(layers if layers is not None else known.get("layers"), checkpoint.n_layers),
        strength=parse_strength(usual if strength is None else strength),
        random_arms=parse_count(random_vectors, "random_vectors", most=9),
        seed=parse_count(seed, "seed", most=2**32 - 1),
    )
    Finetune(swap.finetune, checkpoint).check()
    return swap
