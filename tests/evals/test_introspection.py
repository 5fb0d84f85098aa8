"""The introspection task through Inspect: what a user runs, on a tiny model."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import evaluate, numbers, two_passes
from inspect_ai import eval, eval_retry, score
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.model import get_model
from scipy.special import logsumexp
from transformers import PreTrainedTokenizerFast

from introbench import cli
from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.contrasts import contrasts
from introbench.analysis.excess import CONCEPTS, RANDOM, RANDOM_BY_NORM, excesses
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.verdict import StepName
from introbench.engine import Want
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import steering
from introbench.engine.readout import summarise
from introbench.errors import InputError
from introbench.evals.introspection import introspection
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data, schema
from introbench.prompts.published import published
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.records.arm import CONTROL_VECTORS
from introbench.records.factors import Plan
from introbench.report import log as log_report
from introbench.report import verdict as report_verdict
from introbench.scorers.introspection import yes_shift
from introbench.steering.arms import IMPACT_SUFFIX
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors.control_file import write_control_file

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread", "love"],
    "documents": ["none", "info"],
    "families": ["introspection", "always_yes"],
    "formats": ["yes-no", "one-zero"],
    "layers": "1:3",
    "strength": 3,
}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return run(tiny_folder, tmp_path_factory.mktemp("logs"))


def run(folder: Path, logs: Path, model_args: dict[str, Any] | None = None, **arguments: Any) -> EvalLog:
    """Run the task small; an argument that is None is left out."""
    given = {name: value for name, value in {**SMALL, **arguments}.items() if value is not None}
    return evaluate("introspection", folder, logs, model_args, **given)


def values(log: EvalLog) -> dict[str, dict[str, Any]]:
    """Everything measured, by sample."""
    assert log.samples
    scores = {str(sample.id): sample.scores["introbench/yes_shift"] for sample in log.samples}
    return {name: {"value": score.value, **score.metadata} for name, score in scores.items()}


def test_every_trial_is_run_and_scored(log: EvalLog) -> None:
    assert log.status == "success"
    assert log.eval.task == "introbench/introspection"
    assert len(log.samples or []) == 2 * 3 * (2 * 12 + 2 * 4)
    measured = numbers(log)
    assert measured["concepts"] == 3
    assert measured["low"] < measured["noticed"] < measured["high"]
    assert measured["not finite"] == 0
    assert sum(value for name, value in measured.items() if name.startswith("verdict: ")) == 1
    assert math.isfinite(measured["introspection - always_yes | info"])
    assert measured["introspection - always_yes | info | pairs"] == 3
    assert measured["info - none | pairs"] == 72
    assert measured["concept - random vector | none | low"] < measured["concept - random vector | none | high"]


def metadata_of(sample: EvalSample) -> dict[str, Any]:
    """What the model's output says of a trial."""
    return sample.output.metadata or {}


def test_the_log_says_what_ran(log: EvalLog) -> None:
    facts = log.eval.metadata or {}
    assert facts["layers"] == "1:3 of 4"
    assert facts["model_revision"].startswith("local-")
    assert set(facts["versions"]) >= {"torch", "transformers", "introbench"}
    sample = (log.samples or [])[0]
    output = sample.output.metadata or {}
    (of_model, *others) = [said["model"] for said in map(metadata_of, log.samples or []) if "model" in said]
    assert (of_model["dtype"], of_model["device"]) == ("float32", "cpu")
    assert len(others) < len(log.samples or []) / 4, "trials that are read together say it once"
    arms = {arm["arm"]: arm for arm in output["arms"]}
    of_dose = [f"random {number}{IMPACT_SUFFIX}" for number in (1, 2, 3)]
    assert list(arms) == ["sham", "concept", *of_dose, "random 1"]
    assert len({arm["sha256"] for arm in arms.values() if arm["sha256"]}) == 4
    assert arms["random 1"]["sha256"] in {arms[name]["sha256"] for name in of_dose}, "the same rotation"
    (choice,) = sample.output.choices
    assert choice.message.text == arms["sham"]["top"][0][0]
    assert all(len(arm["top"]) == 4 for arm in arms.values())
    explanation = sample.scores["introbench/yes_shift"].explanation
    assert "% -> " in explanation
    assert "| random 3 (impact) |" in explanation


def test_scores_equal_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    """One unpadded, uncached forward pass per arm, steered on the prior turn, read off the model's own logits."""
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    layers = find_parts(model).layers
    runtime = next(iter(resident.RESIDENT.values()))
    tokenizer = runtime.tokenizer
    for sample in [s for s in log.samples or [] if "untouched" in str(s.id) or "detect.one-zero" in str(s.id)][:8]:
        messages = [{"role": m.role, "content": m.text} for m in sample.messages[:5]]
        text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
        prior = tokenizer.apply_chat_template(messages[:3], tokenize=False)
        tokens, steered = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, prior))
        yes, no = (
            [
                tokenizer(form, add_special_tokens=False)["input_ids"][-1]
                for form in (sample.output.metadata or {})["forms"][side]
            ]
            for side in ("yes", "no")
        )
        log_odds = []
        for strength in (0.0, 3.0):
            directions = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
            added = {layer: strength * directions[layer : layer + 1] for layer in (1, 2)}
            with torch.inference_mode(), steering(layers, added, slice(0, len(steered))):
                logits = model(torch.tensor([tokens]), use_cache=False, logits_to_keep=1).logits[0, -1].double().numpy()
            log_odds.append(logsumexp(logits[yes]) - logsumexp(logits[no]))
        sign = -1 if sample.metadata["reversed"] else 1
        exact = sample.scores["introbench/yes_shift"].metadata["shift"]
        assert exact == pytest.approx(sign * (log_odds[1] - log_odds[0]), abs=1e-4), sample.id
        assert abs(exact) > 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_the_same_run_twice_gives_the_same_values(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    again = run(tiny_folder, tmp_path)
    assert values(again) == values(log)
    assert repr(numbers(again)) == repr(numbers(log)), "NaN included"


@pytest.mark.usefixtures("nothing_loaded")
def test_a_trial_does_not_depend_on_its_neighbours(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    """Few of the trials, in another order."""
    few = run(tiny_folder, tmp_path, sample_shuffle=5, limit=12)
    assert len({(s.metadata["document"], s.metadata["format"]) for s in few.samples or []}) > 2
    for name, measured in values(few).items():
        assert measured == values(log)[name], "bit for bit, since an arm batch is always run whole"


def test_a_trial_with_other_arms_beside_it_agrees(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    alone = run(tiny_folder, tmp_path, concepts=["cats"], documents=["info"], random_vectors=0, families=["always_yes"])
    for name, measured in values(alone).items():
        assert measured["shift"] == pytest.approx(values(log)[name]["shift"], abs=1e-4)
        assert measured["log_odds"]["sham"] == pytest.approx(values(log)[name]["log_odds"]["sham"], abs=1e-4)


def test_strength_zero_moves_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    still = run(tiny_folder, tmp_path, strength=0, limit=12)
    for measured in values(still).values():  # two rows of one batch may be rounded differently, in the last bit
        assert [measured["shift"], *measured["random"].values()] == pytest.approx([0, 0, 0, 0], abs=1e-5)


@pytest.mark.slow
def test_limit_leaves_contrasts_without_pairs_and_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    part = run(tiny_folder, tmp_path, documents=["info", "none"], limit=3)
    measured = numbers(part)
    for unmatched in ("noticed", "introspection - always_yes | info", "info - none", "always_yes | none"):
        assert math.isnan(measured[unmatched]), unmatched
    assert measured["info - none | pairs"] == 0
    assert measured["info - none | missing"] == 3
    table = log_report.log_table(part.location, full=True)
    assert "3 of 3 trials scored" in table
    contrasts_listed = table[table.index("Mean shift toward yes") :]
    assert len([line for line in contrasts_listed.splitlines() if "no pairs" in line]) == 3 + 2 + 1 + 1
    assert "Verdict under document info" in table
    assert "excess not measured" in table


def test_numbers_that_are_not_finite_are_shown_and_counted(tiny_folder: Path, tmp_path: Path) -> None:
    broken = run(tiny_folder, tmp_path, strength=1e300, limit=12)
    assert broken.status == "success"
    scores = [sample.scores["introbench/yes_shift"] for sample in broken.samples or []]
    assert all(math.isnan(s.value["shift"]) for s in scores)
    assert "not finite under: concept (" in scores[0].explanation
    assert numbers(broken)["not finite"] == 12
    assert math.isnan(numbers(broken)["introspection | none"])
    assert "no pairs" in log_report.log_table(broken.location, full=True)


def test_relative_strength_is_a_share_of_the_residual_norm(tiny_folder: Path, tmp_path: Path) -> None:
    relative = run(tiny_folder, tmp_path, strength="residual:0.1", limit=2)
    runtime = next(iter(resident.RESIDENT.values()))
    (arm,) = [a for a in (relative.samples or [])[0].output.metadata["arms"] if a["arm"] == "concept"]
    assert arm["strength"] == pytest.approx(0.1 * runtime.library.residual_norm((1, 3)))


@pytest.mark.usefixtures("nothing_loaded")
def test_rescoring_needs_no_model_and_changes_nothing(log: EvalLog) -> None:
    again = score(read_eval_log(log.location), yes_shift(), action="overwrite", display="none")
    assert resident.RESIDENT == {}
    assert values(again) == values(log)
    assert repr(numbers(again)) == repr(numbers(log)), "NaN included"


@pytest.mark.slow
def test_retry_completes_an_interrupted_run(tiny_folder: Path, tmp_path: Path) -> None:
    whole = run(tiny_folder, tmp_path, limit=8)
    interrupted = read_eval_log(whole.location)
    interrupted.status, interrupted.samples = "cancelled", (interrupted.samples or [])[:3]
    (retried,) = eval_retry(interrupted, log_dir=str(tmp_path), display="none")
    assert retried.status == "success"
    assert values(retried) == values(whole)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"concept": "cats"}, "'concept': introspection has no such argument"),
        ({"concepts": "a<|im_end|>"}, "concept 'a<|im_end|>': has '<|im_end|>', which this model's tokenizer reads as"),
        ({"concepts": None}, "concepts=null: expected a value; leave concepts out to have its default"),
        ({"documents": "lorm"}, "documents='lorm': expected one of"),
        ({"families": "control"}, "families='control'"),
        ({"formats": "one-two"}, "formats='one-two'"),
        ({"method": "pca"}, "method='pca'"),
        ({"layers": "3:9"}, "layers=3:9: expected START:STOP with 0 <= START < STOP <= 4"),
        ({"layers": "2:2"}, "layers=2:2"),
        ({"strength": math.nan}, "strength=nan"),
        ({"strength": math.inf}, "strength=inf"),
        ({"random_vectors": -1}, "random_vectors=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"steering": "on"}, "steering='on': expected one of cache, active, both"),
        ({"vectors": "nowhere"}, "nowhere"),
        ({"prompts": "nowhere"}, "prompts nowhere: does not exist"),
        ({"documents": ["none", "none"]}, "each once"),
        ({"families": "salience", "formats": "one-zero"}, "no question is asked in these"),
        ({"cross": "most"}, "cross='most': expected one of single, half, full"),
        ({"controls_near": 2}, "controls_near=2: expected a whole number from 6 to 8"),
        ({"controls_near": 6.5}, "controls_near=6.5: expected a whole number; correct it"),
        ({"controls": "gausian"}, "controls='gausian': expected one of gaussian"),
        ({"margin": 0}, "margin=0: expected a number of nats above 0"),
        ({"strength": "kl:much"}, "strength='kl:much': expected a finite number"),
    ],
)
@pytest.mark.usefixtures("nothing_loaded")
def test_bad_arguments_are_refused_before_weights_load(
    tiny_folder: Path, arguments: dict[str, Any], complaint: str
) -> None:
    get_model(f"inject/{tiny_folder}")
    with pytest.raises(PrerequisiteError) as refusal:
        eval(
            introspection,
            model=f"inject/{tiny_folder}",
            task_args={**SMALL, **arguments},
            display="none",
            log_dir="unused",
        )
    assert complaint in str(refusal.value.message)
    assert "\n" not in str(refusal.value.message)
    assert resident.RESIDENT == {}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in"),
        (lambda folder: [path.unlink() for path in folder.glob("token*")], "its tokenizer cannot be loaded"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "mamba"}'), "mamba: keeps a recurrent"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "clip"}'), "cannot be set up|expected"),
    ],
)
@pytest.mark.usefixtures("nothing_loaded")
def test_unusable_folders_are_refused_before_weights_load(
    tiny_folder: Path, tmp_path: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    spoil(folder)
    with pytest.raises(PrerequisiteError) as refusal:
        eval(introspection, model=f"inject/{folder}", task_args=SMALL, display="none", log_dir=str(tmp_path))
    assert re.search(complaint, str(refusal.value.message)), refusal.value.message
    assert "\n" not in str(refusal.value.message)
    assert resident.RESIDENT == {}


def test_unknown_attention_is_refused_before_weights_load(tiny_folder: Path, tmp_path: Path) -> None:
    model_args = {"attn_implementation": "bogus"}
    with pytest.raises(PrerequisiteError) as refusal:
        run(tiny_folder, tmp_path, model_args)
    assert "cannot be set up" in str(refusal.value.message)


@pytest.mark.slow
def test_broken_weights_are_one_line_and_one_attempt(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def load(checkpoint: Checkpoint) -> None:
        attempts.append(checkpoint.name)
        raise InputError(f"model {checkpoint.name}: cannot be loaded; choose another")

    monkeypatch.setattr(Checkpoint, "load", load)
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    for _ in range(2):
        with pytest.raises(PrerequisiteError, match="cannot be loaded; choose another"):
            run(folder, tmp_path, limit=4)
    assert len(attempts) == 1
    assert not [*tmp_path.glob("*.eval")], "no run begins"
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(PrerequisiteError, match=r"model\.safetensors is damaged"):
        run(folder, tmp_path, limit=4)
    assert len(attempts) == 1, "what can be seen before weights load is refused before"


@pytest.mark.slow
def test_options_that_are_mappings_work(tiny_folder: Path, tmp_path: Path) -> None:
    assert run(tiny_folder, tmp_path, {"device_map": {"": "cpu"}}, limit=1).status == "success"


@pytest.mark.slow
def test_several_models_are_loaded_once_each(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    attempts: list[str] = []
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda self: attempts.append(self.name) or load(self))
    logs = eval(
        introspection,
        model=[f"inject/{tiny_folder}", f"inject/{other}"],
        task_args=SMALL | {"documents": "none"},
        log_dir=str(tmp_path),
        display="none",
        max_tasks=2,
    )
    assert [log.status for log in logs] == ["success", "success"]
    assert len(attempts) <= 3
    assert values(logs[0]) == values(logs[1])


def test_other_providers_are_refused() -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        eval(introspection, model="mockllm/model", display="none", log_dir="unused")
    assert "model mockllm/model: cannot be injected into; expected inject/NAME" in str(refusal.value.message)


def test_unknown_model_arguments_are_refused() -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        get_model("inject/smollm2", dtyp="float32")
    assert "-M 'dtyp': unknown; expected one of dtype, device" in str(refusal.value.message)


def test_ordinary_generation_is_refused_in_one_line(tiny_folder: Path) -> None:
    import asyncio

    with pytest.raises(Exception, match="inject/ models answer injection trials only"):
        asyncio.run(get_model(f"inject/{tiny_folder}", memoize=False).generate("Hello"))


def run_of(log: EvalLog) -> IntrospectionRun:
    return IntrospectionRun(log_report.scored_trials(log.samples or [], "yes_shift"))


def test_the_table_recomputes_what_the_log_says(log: EvalLog) -> None:
    run = run_of(log)
    for result in contrasts(run.shifts, run.plan):
        assert numbers(log)[result.key] == result.interval.estimate
        assert numbers(log)[f"{result.key} | low"] == result.interval.low


def test_the_excess_is_recomputed_from_the_log_and_heads_it(log: EvalLog) -> None:
    own = {(each.document, each.vectors): each for each in run_of(log).excesses}
    assert set(own) == {(d, v) for d in ("info", "none") for v in (CONCEPTS, RANDOM, RANDOM_BY_NORM)}
    measured = numbers(log)
    head = own["info", CONCEPTS].fit
    assert measured["noticed"] == head.excess.estimate == measured["excess | concepts | info"]
    assert measured["spread"] == pytest.approx(abs(head.by_kind["words"].estimate - head.by_kind["digits"].estimate))
    beside = own["info", RANDOM].beside_concepts
    assert beside is not None
    assert measured["behind concepts | random vectors | info"] == beside.difference.estimate
    random = own["info", RANDOM].fit.excess
    assert beside.difference.estimate == pytest.approx(head.excess.estimate - random.estimate)
    assert (head.questions, head.controls, random.units) == (24, 8, 3)
    table = log_report.log_table(log.location, full=True)
    assert "Introspection in excess of what control questions" in table
    doses = {vectors: excess.dose for (document, vectors), excess in own.items() if document == "info"}
    assert doses[RANDOM] == pytest.approx(doses[CONCEPTS], rel=0.05)
    assert own["info", RANDOM].dose_ratio == doses[RANDOM] / doses[CONCEPTS]
    assert abs(doses[RANDOM_BY_NORM] / doses[CONCEPTS] - 1) > 0.05
    for vectors, dose in doses.items():
        assert re.search(rf"^info +{re.escape(vectors)} +{dose:.3f} ", table, re.MULTILINE), vectors


def test_the_line_is_through_the_raw_shifts_of_the_controls(log: EvalLog) -> None:
    """By hand: one concept, one document, in words: bias, flattening, and the signed excess of introspection."""
    trials = [
        trial
        for trial in run_of(log).shifts
        if (trial.document, trial.concept, trial.answer_format) == ("none", "bread", "yes-no")
    ]
    controls = [t for t in trials if t.family == "always_yes"]
    x, y = (np.array([getattr(t, name) for t in controls]) for name in ("baseline", "shift"))
    slope, level, scale = 0.0, float(np.median(y)), math.inf
    for _ in range(200):  # Huber's line, with the scale from the residuals beyond the two that a line can always meet
        residuals = np.abs(y - level - slope * x)
        scale = float(np.median(np.sort(residuals)[2:])) / 0.6745
        weights = np.minimum(1, 1.345 * scale / np.maximum(residuals, 1e-300))
        slope, level = np.polyfit(x, y, 1, w=np.sqrt(weights))
    excess = np.mean([t.side * (t.shift - level - slope * t.baseline) for t in trials if t not in controls])
    mine = excesses(trials, Plan(["none"], ["introspection", "always_yes"]))[0].fit
    assert mine.excess.estimate == pytest.approx(excess, abs=1e-6)
    assert mine.flattening.estimate == pytest.approx(-slope, abs=1e-6)


def test_every_kind_of_control_vector_at_both_matches(tiny_folder: Path, tmp_path: Path) -> None:
    two: dict[str, Any] = {"concepts": ["cats", "bread"], "documents": "none", "formats": "yes-no"}
    wide = run(tiny_folder, tmp_path, controls="all", random_vectors=0, **two)
    names = [name + suffix for name in CONTROL_VECTORS for suffix in ("", IMPACT_SUFFIX)]
    runtime = next(iter(resident.RESIDENT.values()))
    own = runtime.library.directions(VectorRecipe("pca_center", "cats"))
    for sample in wide.samples or []:
        arms = {arm["arm"]: arm for arm in sample.output.metadata["arms"]}
        assert list(arms) == ["sham", "concept", *names]
        for name in CONTROL_VECTORS:
            assert abs(arms[name]["strength"]) == pytest.approx(3), "the norm of the concept's own"
            assert arms[f"{name}{IMPACT_SUFFIX}"]["dose"] == pytest.approx(arms["concept"]["dose"], rel=0.05)
            assert arms[name]["sha256"] == arms[f"{name}{IMPACT_SUFFIX}"]["sha256"]
        assert arms["negated"]["vector"] == f"minus {sample.metadata['concept']}"
        assert arms["negated"]["strength"] == -3
        assert {arms["other"]["vector"], sample.metadata["concept"]} == {"cats", "bread"}
    shuffled = runtime.library.directions(VectorRecipe("pca_center", "cats", 0, control="shuffle"))
    assert torch.equal(shuffled.sort(dim=1).values, own.sort(dim=1).values)
    assert torch.allclose(shuffled @ shuffled.T, own @ own.T, atol=1e-5), "angles between layers stay"
    found = numbers(wide)
    for name in names:
        shifts = [s.scores["introbench/yes_shift"].metadata["controls"][name] for s in wide.samples or []]
        assert len(shifts) == 2 * (24 + 8)
        assert math.isfinite(found[f"{name}: always_yes | none"])
        assert found[f"concept - {name}: introspection | none"] == pytest.approx(
            found["introspection | none"] - found[f"{name}: introspection | none"]
        )
        assert math.isfinite(found[f"excess | {name} | none"])
    assert "Control vectors, at the norm and at the impact" in log_report.log_table(wide.location, full=True)


@pytest.mark.slow
def test_a_format_of_each_kind_by_default(tiny_folder: Path, tmp_path: Path) -> None:
    wide = run(tiny_folder, tmp_path, documents="none", concepts="cats", formats=None, families=None, random_vectors=0)
    asked = Counter((s.metadata["family"], s.metadata["format"]) for s in wide.samples or [])
    introspection_questions = sum(question.family == "introspection" for question in data.questions())
    assert {name for _, name in asked} == {"yes-no", "one-zero", "b-a", "red-blue"}
    for name in ("yes-no", "one-zero", "b-a", "red-blue"):
        assert asked["introspection", name] == introspection_questions / 2, "each wording in two of the four kinds"
        assert asked["always_no", name] >= 4
        assert asked["always_yes", name] >= 4
    found = numbers(wide)
    kinds = [found[f"excess in {kind} | concepts | none"] for kind in ("words", "digits", "letters", "colours")]
    assert found["noticed"] == pytest.approx(np.mean(kinds)), "the headline averages over kinds of answers"
    assert found["spread"] == pytest.approx(max(kinds) - min(kinds))


def test_control_questions_near_introspection_are_chosen_from_shams_alone(tiny_folder: Path, tmp_path: Path) -> None:
    """Against the distances between the baselines of a run that asks them all."""
    arguments: dict[str, Any] = {"concepts": "cats", "formats": "yes-no", "random_vectors": 0}
    whole = run(tiny_folder, tmp_path / "whole", documents="info", **arguments)
    baselines: dict[str, dict[str, float]] = {"introspection": {}, "always_yes": {}}
    for sample in whole.samples or []:
        numbers = sample.scores["introbench/yes_shift"].metadata["log_odds"]
        baselines[sample.metadata["family"]][sample.metadata["question"]] = numbers["sham"]
    distances = {
        control: min(abs(baseline - other) for other in baselines["introspection"].values())
        for control, baseline in baselines["always_yes"].items()
    }
    expected = sorted(distances, key=lambda control: distances[control])[:4]

    near = run(tiny_folder, tmp_path / "near", documents=["none", "info"], controls_near=4, **arguments)
    recorded = (near.eval.metadata or {})["controls_near"]
    assert list(recorded["kept"]) == expected
    assert recorded["kept"] == pytest.approx({control: distances[control] for control in expected}, abs=2e-3)
    asked = {(s.metadata["document"], s.metadata["question"]) for s in near.samples or []}
    controls = {(document, name) for document, name in asked if name in distances}
    assert controls == {(document, name) for document in ("none", "info") for name in expected}
    assert len(asked - controls) == 2 * 24


@pytest.mark.slow
def test_salience_is_asked_by_default_under_the_reference_document_alone(tiny_folder: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"concepts": ["cats", "bread"], "documents": ["none", "info"], "families": None}
    asked = run(tiny_folder, tmp_path, **arguments)
    count = Counter((s.metadata["document"], s.metadata["family"], s.metadata["format"]) for s in asked.samples or [])
    wordings = sum(question.family == "salience" for question in data.questions())
    assert {key: n for key, n in count.items() if key[1] == "salience"} == {
        ("info", "salience", "yes-no"): 2 * wordings
    }
    found = numbers(asked)
    assert found["beyond salience | low"] < found["beyond salience"] < found["beyond salience | high"]
    assert found["introspection - salience | info | pairs"] == 2
    assert math.isfinite(found["salience | info"])
    assert not {"salience | none", "introspection - salience | none"} & set(found)
    table = log_report.log_table(asked.location, full=True)
    assert report_verdict.WORDS[StepName.BEYOND_SALIENCE][0] in table
    assert f"difference {found['beyond salience']:+.3f}" in table
    words = found["excess in words | concepts | info"]
    without = run(tiny_folder, tmp_path, **arguments | {"families": [*schema.FAMILIES]})
    assert numbers(without)["excess in words | concepts | info"] == pytest.approx(words, abs=1e-4), "it is no control"
    assert math.isnan(numbers(without)["beyond salience"])
    assert "difference not measured" in log_report.log_table(without.location, full=True)


@pytest.mark.slow
def test_formats_that_a_model_cannot_be_read_in_are_left_out_by_default(
    tiny_folder: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.answer_formats()
    spoilt = whole | {"a-b": replace(whole["a-b"], forms=(("Absolutely", "Balderdash"),))}
    monkeypatch.setattr(data, "answer_formats", lambda: spoilt)
    without = run(tiny_folder, tmp_path, documents="none", concepts="cats", formats=None, limit=1)
    assert without.status == "success"
    assert any("answer format a-b is left out" in line for line in told)
    with pytest.raises(PrerequisiteError, match="'Absolutely': is not one token"):
        run(tiny_folder, tmp_path, documents="none", concepts="cats", formats="a-b", limit=1)


@pytest.mark.slow
def test_both_ways_to_steer_on_the_same_trials(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    both = run(tiny_folder, tmp_path, steering="both", documents=["info"])
    alone = run(tiny_folder, tmp_path, steering="active", documents=["info"])
    for name, measured in values(both).items():
        assert measured["shift"] == pytest.approx(values(log)[name]["shift"], abs=1e-4)
        assert measured["active"]["shift"] == pytest.approx(values(alone)[name]["shift"], abs=1e-4)
        assert measured["active"]["random"].keys() == measured["random"].keys()
        assert "random_by_norm" in measured
        assert "random_by_norm" not in measured["active"]
        assert measured["value"]["active"] == round(measured["active"]["shift"], 3)
    assert any(abs(m["active"]["shift"] - m["shift"]) > 0.05 for m in values(both).values())
    found = numbers(both)
    assert found["introspection: active - cache | info"] == pytest.approx(
        found["introspection (active) | info"] - found["introspection | info"]
    )
    assert found["introspection (active) | info"] == pytest.approx(numbers(alone)["introspection | info"], abs=1e-4)
    assert "introspection: active - cache" in log_report.log_table(both.location, full=True)
    assert "active - cache" not in log_report.log_table(log.location, full=True)
    assert (both.eval.metadata or {})["steering"] == "cache and active"


def test_active_steering_equals_a_forward_pass_that_is_steered_throughout(tiny_folder: Path, tmp_path: Path) -> None:
    active = run(tiny_folder, tmp_path, steering="active", limit=3, random_vectors=0)
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in active.samples or []:
        messages = [{"role": m.role, "content": m.text} for m in sample.messages[:5]]
        tokens = runtime.tokenizer.apply_chat_template(messages, continue_final_message=True, return_dict=False)
        directions = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
        layers, added = find_parts(model).layers, {layer: 3.0 * directions[layer : layer + 1] for layer in (1, 2)}
        with torch.inference_mode(), steering(layers, added):
            logits = model(torch.tensor([tokens]), use_cache=False, logits_to_keep=1).logits[0, -1]
        yes, no = (runtime.tokenizer(form)["input_ids"] for form in (" yes", " no"))
        record = sample.output.metadata["arms"][1]["logprobs"]
        expected = torch.log_softmax(logits, dim=-1)
        assert record["yes"][0] == pytest.approx(float(expected[yes[0]]), abs=1e-4)
        assert record["no"][0] == pytest.approx(float(expected[no[0]]), abs=1e-4)


def published_file(folder: Path, label: str, yes: str, no: str, question: str, prefill: str, **extra: Any) -> None:
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "I may have placed a thought in you.", "add_injection": True},
        {"role": "assistant", "content": "{ }", "add_injection": True},
        {"role": "user", "content": question},
        {"role": "assistant", "content": prefill, "continue_msg": True},
    ]
    entry = {"label": label, "yes_token": yes, "no_token": no, "extra": extra, "messages": messages}
    folder.mkdir(exist_ok=True)
    (folder / f"{label}.json").write_text(json.dumps(entry))


def test_published_prompts_run_as_they_are(tiny_folder: Path, tmp_path: Path) -> None:
    """Against transformers' own cache, filled in one pass under a hook and continued in another without."""
    prompts = tmp_path / "prompts"
    published_file(prompts, "ask_info-none_fmt-yes-no", " yes", " no", "Is there one?", "The answer is")
    published_file(prompts, "ask_info-none_fmt-0-1", "1", "0", "Is there one?", "The answer is ")
    published_file(prompts, "ask_info-none_fmt-yes-no_no_03", " yes", " no", "Is it raining?", "It is", group="no")
    published_file(prompts, "only_yes", " yes", "", "Is there one at all?", "The answer is")
    given = {"documents": None, "families": None, "prompts": str(prompts)}
    ours = run(tiny_folder, tmp_path / "logs", random_vectors=0, **given)
    assert ours.status == "success"
    assert len(ours.samples or []) == 12
    assert {s.metadata["family"] for s in ours.samples or []} == {"introspection", "always_no"}
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    tokenizer = runtime.tokenizer
    for sample in ours.samples or []:
        entry = json.loads((prompts / f"{str(sample.id).rpartition('.')[0]}.json").read_text())
        messages = [{"role": m["role"], "content": m["content"]} for m in entry["messages"]]
        assert [(m.role, m.text) for m in sample.messages[:5]] == [(m["role"], m["content"]) for m in messages]
        text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
        prior = tokenizer(tokenizer.apply_chat_template(messages[:3], tokenize=False))["input_ids"]
        tokens = tokenizer(text)["input_ids"]
        direction = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
        added = {layer: 3.0 * direction[layer] for layer in (1, 2)}
        expected = two_passes(model, prior, tokens[len(prior) :], added)[0].exp()
        yes = float(expected[tokenizer(entry["yes_token"])["input_ids"][0]])
        no = float(expected[tokenizer(entry["no_token"])["input_ids"][0]]) if entry["no_token"] else 1 - yes
        score = sample.scores["introbench/yes_shift"].metadata
        assert score["p_yes"]["concept"] == pytest.approx(yes, rel=1e-4)
        assert score["p_no"]["concept"] == pytest.approx(no, rel=1e-4)


def test_published_questions_are_told_apart_and_stay_the_same_under_every_document(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    for label, prompt in {
        "inject_info-none_fmt-yes-no": "inject_info-none",
        "inject_info-lorem_fmt-yes-no": "inject_info-lorem",
        "echo_info-none_fmt-yes-no": "echo_info-none",
        "inject_info-none_fmt-yes-no_no_03": "inject_info-none",
        "echo_info-none_fmt-yes-no_no_03": "echo_info-none",
    }.items():
        published_file(tmp_path / "prompts", label, " yes", " no", "Is there one?", "The answer is", prompt=prompt)
    found = {each.id: each.factors for each in published(tokenizer, [tmp_path / "prompts"])}
    items = {name: factors["question"] for name, factors in found.items()}
    assert items["inject_info-none_fmt-yes-no"] == items["inject_info-lorem_fmt-yes-no"] == "inject"
    assert items["echo_info-none_fmt-yes-no"] == "echo"
    assert items["inject_info-none_fmt-yes-no_no_03"] == "inject_no_03"
    assert items["echo_info-none_fmt-yes-no_no_03"] == "echo_no_03"


def test_a_certain_yes_has_log_odds_of_what_float32_can_tell() -> None:
    certain, nearly = (ArmReading("sham", "sham", {"yes": value}) for value in (0.0, math.log1p(-1e-4)))
    assert certain.log_odds == pytest.approx(math.log(1e6))
    assert nearly.log_odds == pytest.approx(math.log((1 - 1e-4) / 1e-4))
    assert ArmReading("sham", "sham", {"yes": 1e-7}).log_odds < 14, "rounded up"


@pytest.mark.slow
def test_liveness_is_found_for_vectors_and_not_for_their_opposites(tiny_folder: Path, tmp_path: Path) -> None:
    for strength, kinds in ((3, {True, False}), (-3, {None})):
        ran = run(tiny_folder, tmp_path, documents="none", families="always_yes", formats="yes-no", strength=strength)
        found = {s.scores["introbench/yes_shift"].metadata["live"] for s in ran.samples or []}
        assert found <= kinds
        arms = {a["arm"]: a["live"] for a in (ran.samples or [])[0].output.metadata["arms"]}
        assert arms["sham"] is None
        assert arms["random 1"] is None
        assert arms["random 1 (impact)"] is None


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda entry: entry["messages"][3].update(role="tool"), r"messages\[3\].role 'tool'"),
        (lambda entry: entry.update(yes_token=""), "yes_token is missing, empty"),
        (lambda entry: [m.pop("add_injection", None) for m in entry["messages"]], "no add_injection"),
        (
            lambda entry: entry.update(yes_token="", extra={"yes_variant_tokens": [" yes", " Yes"]}),
            "no_token is missing",
        ),
        (lambda entry: entry.update(yes_token=" indubitably so"), "' indubitably so': is not one token"),
    ],
)
def test_published_prompts_that_do_not_suit_are_refused(
    tiny_folder: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], object], complaint: str
) -> None:
    published_file(tmp_path / "prompts", "ask", " yes", " no", "Is there one?", "The answer is")
    path = tmp_path / "prompts" / "ask.json"
    entry = json.loads(path.read_text())
    spoil(entry)
    path.write_text(json.dumps(entry))
    with pytest.raises(PrerequisiteError) as refusal:
        run(tiny_folder, tmp_path, prompts=str(path))
    assert re.search(complaint, str(refusal.value.message)), refusal.value.message
    assert "\n" not in str(refusal.value.message)


@pytest.mark.slow
def test_vectors_from_files_are_injected_as_they_are(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    runtime_log = run(tiny_folder, tmp_path, limit=1)
    runtime = next(iter(resident.RESIDENT.values()))
    directions = runtime.library.directions(VectorRecipe("pca_center", "bread"))
    write_control_file(tmp_path / "vectors" / "bread.gguf", directions, "llama")
    arguments = {"concepts": None, "vectors": str(tmp_path / "vectors"), "documents": ["info"]}
    from_file = run(tiny_folder, tmp_path, **arguments)
    assert runtime_log.status == from_file.status == "success"
    assert len(values(from_file)) == 2 * 12 + 2 * 4
    for name, measured in values(from_file).items():
        assert measured["shift"] == pytest.approx(values(log)[name]["shift"], abs=1e-4)
    with pytest.raises(PrerequisiteError, match="concepts='loaf': expected one of bread"):
        run(tiny_folder, tmp_path, **arguments | {"concepts": "loaf"})
    with pytest.raises(PrerequisiteError, match="has no direction for layers 0 of layers=0:2"):
        run(tiny_folder, tmp_path, **arguments | {"layers": "0:2"})
    table = " ".join(log_report.log_table(from_file.location).split())
    assert "strength 3 times the files' own norms (1), file;" in table
    write_control_file(tmp_path / "vectors" / "bread.gguf", directions[:3], "mistral")
    with pytest.raises(PrerequisiteError, match=r"has no direction for layers 3 of layers=1:4; .*; pass -T layers=1:3"):
        run(tiny_folder, tmp_path, **arguments | {"layers": "1:4"})
    assert run(tiny_folder, tmp_path, **arguments | {"layers": "1:3", "limit": 1}).status == "success"


def command(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "INSPECT_DISPLAY": "plain", **environment},
    )


@pytest.mark.slow
def test_commands_from_the_checkout_and_from_anywhere(tiny_folder: Path, tmp_path: Path) -> None:
    listed = command("inspect_ai", "list", "tasks", "--json", folder=ROOT)
    assert "evals/introspection.py" in [task["file"] for task in json.loads(listed.stdout)], listed.stderr
    options = ["--model", f"inject/{tiny_folder}", "--limit", "2", "--log-dir", str(tmp_path), "-T", "layers=1:3"]
    options += ["-T", "concepts=cats,bread", "-T", "documents=none"]
    by_file = command("inspect_ai", "eval", "evals/introspection.py", *options, folder=ROOT)
    assert by_file.returncode == 0, by_file.stdout + by_file.stderr
    by_name = command(
        "inspect_ai", "eval", "introbench/introspection", *options, "--log-format", "json", folder=tmp_path
    )
    assert by_name.returncode == 0, by_name.stdout + by_name.stderr
    first, second = (read_eval_log(str(next(tmp_path.glob(f"*.{kind}")))) for kind in ("eval", "json"))
    assert values(first) == values(second)
    assert (first.eval.metadata or {})["layers"] == "1:3 of 4"
    table = command("introbench.cli", "table", str(tmp_path), folder=tmp_path)
    assert "2 of 2 trials scored" in table.stdout, table.stderr


def test_the_table_command_refuses_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(tmp_path)]) == 2
    assert "no introbench log there" in capsys.readouterr().err


def test_an_answer_of_probability_zero_is_not_scored() -> None:
    certain = torch.full((1, 49152), -torch.inf)
    certain[0, 7] = 0.0
    assert summarise(certain, Want((7, 8), top=3)).finite == [False]
    assert summarise(certain, Want((7,), top=3)).finite == [True]
    certain[0, 3] = torch.nan
    assert summarise(certain, Want((7,), top=3)).finite == [False]
