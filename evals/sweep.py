"""In which layers, and how strong: does the pattern of introspection differ from that of control questions?"""

from dataclasses import replace

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, ViewerConfig

from introbench.errors import InputError, shown
from introbench.prompts import data
from introbench.prompts.design import HALF
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.sweep import swept
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.steering.arms import ArmPlan
from introbench.steering.injection import Strength, parse_strength
from introbench.steering.sweep_grid import FACTORS, Grid, parse_ranges
from introbench.tasks.arguments import Names, StrengthTexts, Words, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.conversations import asked_conversations, parse_questions_file
from introbench.tasks.trials import TRIALS_IN_FLIGHT, plan_of, question_groups, run_facts, system_turn, trial
from introbench.tasks.viewer import samples_view

CONCEPTS = ("cats", "bread", "love")


@task
@one_line_errors()
@typed_arguments
def sweep(
    concepts: Words = None,
    ranges: str | int | list[str | int] | None = None,
    strengths: StrengthTexts = None,
    documents: Names = "info",
    families: Names = None,
    formats: Names = "yes-no",
    method: str = "pca_center",
    random_vectors: int = 0,
    seed: int = 0,
    system: str | None = "",
    prompts: Names = None,
    vectors: str | None = None,
    questions: str | None = None,
) -> Task:
    """Sweep layer ranges and strengths, for introspection and for every family of control questions, in log-odds.

    If introspection is noise, its map looks like the control questions' maps. The best cell is chosen on one half of
    the concepts and questions and reported on the others (and the other way round), beside the whole map, so that
    nobody's layers are picked by hand; strengths go up to where the control questions break, too, and that point is
    reported. To save time, half of the wordings are asked: 12 of introspection, 24 of control questions. A trial is one
    question under all cells: its score holds an array of shifts with named axes [layers, strength, vector].
    `introbench plot` draws the maps.

        inspect eval evals/sweep.py --model inject/smollm2
        inspect eval evals/sweep.py -T ranges=single:2 -T strengths=4,8,16 -T documents=none,info -T concepts=cats,bread

    Args:
        concepts: Words to inject; cats, bread and love by default. Any word can be named.
        ranges: Layer ranges: triangle:N (every range between N + 1 evenly spaced boundaries), single or single:STEP
            (layers by themselves), or START:STOP, several of them; triangle:6 by default.
        strengths: Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or
            doses kl:NATS; by default an eighth, one and eight times the model's known setting or residual:0.05.
        documents: What is added to the first turn: none, info, inaccurate, lorem, neutral; info by default.
        families: Question families: introspection, always_no, always_yes, ambiguous, confusing; all by default.
        formats: Answer formats: yes-no, one-zero, zero-one, b-a, a-b, red-blue, blue-red; yes-no by default.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        random_vectors: Random vectors per trial, in every cell.
        seed: Seed of the random vectors and of the halves of the concepts.
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
    # Control-vector files hold no direction for block 0.
    cells = parse_ranges(ranges, checkpoint.n_layers, first=1 if vectors else 0)
    chosen = own.concepts_unless(concepts, vectors) if own else concepts
    arms = plan_arms(
        checkpoint,
        concepts=chosen if chosen is not None or vectors else CONCEPTS,
        method=method,
        layers=[min(start for start, _ in cells), max(stop for _, stop in cells)] if vectors else None,
        strength=None,
        random_vectors=random_vectors,
        seed=seed,
        vectors=vectors,
    )
    rotated = tuple(
        replace(arms.vectors[number % len(arms.vectors)], seed=arms.seed, draw=number // len(arms.vectors))
        for number in range(arms.random_arms)
    )
    grid = Grid(cells, _strengths(arms, strengths), (*arms.vectors, *rotated))
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
    plan = plan_of(conversations, axes=grid.axes, concepts=list(arms.concepts), seed=arms.seed)
    asked, groups = question_groups(conversations)
    cells_by_name = grid.arms
    dataset = MemoryDataset(
        [trial(conversation, groups, "", 0, cells_by_name, plan, silent=True) for conversation in conversations],
        name="sweep",
    )
    batches = [grid.batch.to_text()]
    plan_trials(dataset, batches, asked)
    return Task(
        dataset=dataset,
        solver=inject_prior_turn(batches, asked),
        scorer=swept(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=2,
        metadata=run_facts(checkpoint, arms)
        | chat_facts(checkpoint, conversations, () if prompts else formats)
        | _swept_facts(grid)
        | (own.facts if own else {}),
    )


def _swept_facts(grid: Grid) -> dict[str, str]:
    return {name: ", ".join(grid.axes[name]) for name in ("layers", "strength")}


def _strengths(arms: ArmPlan, strengths: object) -> tuple[Strength, ...]:
    if strengths is None:
        return tuple(arms.strength.times(factor) for factor in FACTORS)
    listed = strengths if isinstance(strengths, list | tuple) else [strengths]
    parsed = [parse_strength(strength) for strength in listed]
    if not parsed or len(set(parsed)) < len(parsed) or len({strength.unit for strength in parsed}) > 1:
        raise InputError(
            f"strengths={shown(strengths)}: expected one or more, each once, in one unit; pass e.g. -T strengths=4,8,16"
        )
    return tuple(sorted(parsed, key=lambda strength: abs(strength.number)))


def _viewer() -> ViewerConfig:
    labels = {
        "most": "Largest shift (nats)",
        "least": "Smallest shift (nats)",
        "usual": "Shift at the usual strength (nats)",
        "baseline": "Log-odds, sham",
    }
    symmetric = ScoreColorScale(palette="diverging", min=-2, max=2)
    return samples_view("Sweep", "swept", labels, dict.fromkeys(("most", "least", "usual"), symmetric))
