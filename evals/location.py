"""Can the model say where a thought was placed, and how strongly?"""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import ScoreColorScale, ViewerConfig

from introbench.prompts import data
from introbench.provider.inject_api import active_checkpoint
from introbench.provider.planned_work import plan_trials
from introbench.provider.resident import one_line_errors
from introbench.scorers.location import located
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.steering.arms import ArmPlan
from introbench.steering.injection import UNKNOWN_MODEL_STRENGTH
from introbench.tasks.arguments import Layers, Names, StrengthText, Words, choose, parse_count, typed_arguments
from introbench.tasks.arms import plan_arms
from introbench.tasks.chat_facts import chat_facts
from introbench.tasks.location import early_and_late, location_trials, scene
from introbench.tasks.trials import TRIALS_IN_FLIGHT, run_facts, system_turn
from introbench.tasks.viewer import samples_view


@task
@one_line_errors()
@typed_arguments
def location(
    concepts: Words = None,
    parts: Names = None,
    passages: Names = "station",
    method: str = "pca_center",
    layers: Layers = None,
    strength: StrengthText = None,
    seed: int = 0,
    system: str | None = "",
    vectors: str | None = None,
    replicates: int = 1,
) -> Task:
    """Ask where a thought was placed: the same question after the same amount of noise, whatever the answer.

    Steering noise may push any answer toward yes; it cannot say in which sentence it was. `halves`: in which half of a
    text the vector was added. `sentences`: in which of five. `layers`: in early or in late blocks; both are a third of
    the model. `stronger`: which of two sentences had it at full and which at half strength. `strength`: at which of
    three levels, after six labelled examples in the same conversation.

    A trial has one arm for each place, for the concept's vector and for a random rotation of it. Every place stands at
    each label equally often, and the label's log-probability under the sham is subtracted. The same prior turns are
    followed by questions with the same options that have nothing to do with thoughts. What counts is how much better
    places are told in answer to introspective questions than to these, and by how much more so under concepts' vectors
    than under random ones: the difference of differences.

    For `layers`, the early third begins at block 1 and the late one ends a sixth of the model before its last block:
    what is added later would hardly reach the cache; see `introbench.tasks.location`. One norm is a larger share of the
    residual stream in early blocks, so unless a strength is given, this part uses residual:0.05, one share in both.

        inspect eval evals/location.py --model inject/smollm2
        inspect eval evals/location.py -T parts=halves,sentences -T passages=station,valley,library -T replicates=2

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        parts: Parts of the experiment: halves, sentences, layers, stronger, strength; all by default.
        passages: What is read: station, valley, library; "all" for all of them.
        method: How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default. The part `layers` has its own.
        strength: Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose
            kl:NATS; the model's known setting or residual:0.05 by default.
        seed: Seed of the random vectors and of the orders.
        system: Content of the system turn; "none" for no system turn.
        vectors: A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in
            place of extracted vectors.
        replicates: How often every option stands at each label.
    """
    checkpoint = active_checkpoint()
    checkpoint.check()
    asked = choose(parts, data.location_parts(), "parts")
    read = choose(None if passages == "all" else passages, data.passages(), "passages")

    def steered(layers: object, strength: object) -> ArmPlan:
        return plan_arms(
            checkpoint,
            concepts=concepts,
            method=method,
            layers=layers,
            strength=strength,
            random_vectors=0,
            seed=seed,
            vectors=vectors,
        )

    arms = steered(layers, strength)
    ranges = early_and_late(checkpoint.n_layers) if "layers" in asked else {}
    same_share = UNKNOWN_MODEL_STRENGTH if strength is None else strength
    by_depth = {place: steered(blocks, same_share) for place, blocks in ranges.items()}
    scenes = [
        scene(
            checkpoint.tokenizer,
            part,
            passage,
            steering=arms,
            by_depth=by_depth,
            replicates=parse_count(replicates, "replicates", most=20, least=1),
            system=system_turn(system),
        )
        for part in asked
        for passage in read
    ]
    trials = location_trials(scenes, arms)
    plan_trials(trials.dataset, trials.arm_batches, trials.questions)
    return Task(
        dataset=trials.dataset,
        solver=inject_prior_turn(trials.arm_batches, trials.questions),
        scorer=located(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=_viewer(),
        version=1,
        metadata={
            **run_facts(checkpoint, arms),
            **chat_facts(checkpoint, [conversation for each in scenes for conversation in each.conversations]),
            **{place: f"{plan.layers[0]}:{plan.layers[1]} at {plan.strength}" for place, plan in by_depth.items()},
        },
    )


def _viewer() -> ViewerConfig:
    labels = {
        "accuracy": "Right",
        "nats": "Right place (nats)",
        "random_accuracy": "Right, random",
        "random_nats": "Right place, random (nats)",
        "mass": "P(any label)",
    }
    share, nats = (
        ScoreColorScale(palette="neutral", min=0, max=1),
        ScoreColorScale(palette="diverging", min=-1, max=1),
    )
    scales = {"accuracy": share, "random_accuracy": share, "nats": nats, "random_nats": nats}
    return samples_view("Places", "located", labels, scales, groups=("part", "passage", "kind"))
