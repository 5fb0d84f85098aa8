"""Doses: how far an injection moves what a model says about neutral things, and strengths that are found by it."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import evaluate, two_passes
from hypothesis import given
from hypothesis import strategies as st

from introbench.analysis.excess import CONCEPTS, RANDOM, RANDOM_BY_NORM
from introbench.analysis.introspection import IntrospectionRun
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.models.disk_cache import sha256_of
from introbench.prompts import data
from introbench.provider import resident
from introbench.provider.loaded_model import LoadedModel
from introbench.records.arm_record import ArmRecord
from introbench.records.factors import TrialFactors
from introbench.report import log as log_report
from introbench.scorers.introspection import _not_finite
from introbench.steering import strength as strengths
from introbench.steering.dose import FORWARDS, find_norms
from introbench.steering.injection import Injection, Strength, VectorRecipe, sham
from introbench.steering.vectors.control_file import write_control_file
from introbench.steering.vectors.store import VectorStore

LAYERS = (1, 3)


@pytest.fixture(scope="module")
def runtime(tiny_folder: Path) -> LoadedModel:
    return LoadedModel(Checkpoint(str(tiny_folder), device="cpu"))


def injection(concept: str, strength: Strength, **options: object) -> Injection:
    return Injection(VectorRecipe("pca_center", concept), LAYERS, strength, **options)  # type: ignore[arg-type]


def doses(runtime: LoadedModel, *injections: Injection) -> list[float]:
    return runtime.strengths.doses(runtime.strengths.resolve([sham(LAYERS), *injections]))


def norm(runtime: LoadedModel, injection: Injection) -> float:
    (resolved,) = runtime.strengths.resolve([injection])
    return resolved.norm


def test_a_dose_is_the_mean_divergence_on_the_carriers(runtime: LoadedModel) -> None:
    own, dose = doses(runtime, injection("cats", Strength(3)))
    assert own == 0
    directions = runtime.library.directions(VectorRecipe("pca_center", "cats"))
    expected = []
    for messages, prior_messages in data.carriers(""):
        text = runtime.tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
        prior = runtime.tokenizer.apply_chat_template(messages[:prior_messages], tokenize=False)
        tokens, first = (runtime.tokenizer(each, add_special_tokens=False)["input_ids"] for each in (text, prior))
        clean, injected = (
            two_passes(
                runtime.engine.model,  # type: ignore[arg-type]
                first,
                tokens[len(first) :],
                {layer: strength * directions[layer] for layer in range(*LAYERS)},
            )[0]
            for strength in (0.0, 3.0)
        )
        expected.append(float((clean.exp() * (clean - injected)).sum()))
    assert len(expected) == 8
    assert dose == pytest.approx(np.mean(expected), rel=1e-3)


def test_a_batch_of_some_of_the_injections_has_doses_that_are_known(
    runtime: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    strengths = runtime.strengths
    whole = strengths.resolve([sham(LAYERS), injection("cats", Strength(2)), injection("bread", Strength(2))])
    measured = strengths.doses_of_batch(whole, [([0, 1, 2], strengths.arms(whole))])
    assert measured == [float(f"{dose:.4g}") for dose in strengths.doses(whole)]
    monkeypatch.setattr(strengths._carriers, "doses", lambda arms: pytest.fail("measured again"))
    fewer = [whole[0], whole[2]]
    assert strengths.doses_of_batch(fewer, [([0, 1], strengths.arms(fewer))]) == [measured[0], measured[2]]


def test_what_was_measured_on_the_way_to_a_dose_is_not_measured_again(
    runtime: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runtime.library, "store", VectorStore(tmp_path))
    own = VectorRecipe("pca_center", "cats")
    rotated = Injection(replace(own, seed=0), LAYERS, Strength(1.7), like=own, match="impact")
    by_norm = replace(rotated, match="norm")
    batch = runtime.strengths.resolve([sham(LAYERS), injection("cats", Strength(1.7)), rotated, by_norm])
    monkeypatch.setattr(runtime.strengths._carriers, "doses", lambda arms: pytest.fail("measured again"))
    known = runtime.strengths.doses_of_batch(batch, [(range(4), runtime.strengths.arms(batch))])
    monkeypatch.undo()
    assert known == [float(f"{dose:.4g}") for dose in runtime.strengths.doses(batch)]
    assert known[2] == pytest.approx(known[1], rel=0.05)


def test_a_later_run_matches_the_doses_that_were_kept_and_records_those_it_measures(
    runtime: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runtime.library, "store", VectorStore(tmp_path))
    own = VectorRecipe("pca_center", "cats")
    rotated = Injection(replace(own, seed=0), LAYERS, Strength(1.6), like=own, match="impact")
    batch = runtime.strengths.resolve([sham(LAYERS), injection("cats", Strength(1.6)), rotated])
    later = strengths.Strengths(runtime.engine, runtime.tokenizer, runtime.library, runtime.strengths._fingerprint)
    monkeypatch.setattr(later, "_measured", lambda injections, norms: [0.25] * len(norms))
    assert later.resolve([each.injection for each in batch]) == batch
    assert later.doses_of_batch(batch, [(range(3), later.arms(batch))]) == [0, 0.25, 0.25]


def test_a_norm_that_was_not_found_has_no_dose(runtime: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = strengths.ResolvedInjection(injection("cats", Strength(3)), math.nan)
    monkeypatch.setattr(runtime.strengths, "_measured", None)
    (nothing,) = runtime.strengths.resolve([sham(LAYERS)])
    arms = runtime.strengths.arms([nothing])
    assert runtime.strengths.doses_of_batch([nothing, lost], [(range(2), arms)]) == [0, None]


def test_the_asked_dose_is_reached_by_every_vector_and_kept(
    runtime: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [injection(concept, Strength(0.05, "kl")) for concept in ("cats", "bread", "love")]
    opposite = injection("cats", Strength(-0.05, "kl"))
    found = doses(runtime, *several, opposite)[1:]
    assert found == pytest.approx([0.05] * 4, rel=0.05)
    norms = [norm(runtime, each) for each in (*several, opposite)]
    assert norms[3] < 0 < min(norms[:3])
    active = injection("cats", Strength(0.05, "kl"), steering="active")
    assert norm(runtime, active) == norms[0], "what is on to the end has the norm of what is in the cache alone"
    to_the_end = runtime.strengths.arms(runtime.strengths.resolve([sham(LAYERS), active]))
    assert runtime.strengths._carriers.doses(to_the_end)[1] > 1.05 * found[0]
    cats = VectorRecipe("pca_center", "cats")
    rotated = Injection(replace(cats, seed=0), LAYERS, Strength(2), like=cats, match="impact")
    of_rotated = norm(runtime, rotated)
    monkeypatch.setattr(runtime.strengths, "_norms", {})
    monkeypatch.setattr(runtime.strengths, "_measured", None)  # whatever is kept needs no measurement
    assert [norm(runtime, each) for each in (*several, opposite)] == norms
    assert norm(runtime, rotated) == of_rotated


def test_an_impact_matched_control_disturbs_as_much_as_the_concept(runtime: LoadedModel) -> None:
    own = VectorRecipe("pca_center", "cats")
    controls = [
        Injection(VectorRecipe("pca_center", "cats", 0, control=control), LAYERS, Strength(2), like=own, match="impact")
        for control in ("rotation", "gaussian", "covariance", "shuffle")
    ]
    controls.append(Injection(own, LAYERS, Strength(-2), like=own, match="impact"))
    controls.append(Injection(VectorRecipe("pca_center", "bread"), LAYERS, Strength(2), like=own, match="impact"))
    by_norm = [injection("cats", Strength(2)), Injection(controls[1].vector, LAYERS, Strength(2))]
    wanted, gaussian, *matched = doses(runtime, *by_norm, *controls)[1:]
    assert abs(gaussian / wanted - 1) > 0.05, "equal norm must not be equal impact for this to test anything"
    assert matched == pytest.approx([wanted] * len(controls), rel=0.05)
    assert norm(runtime, controls[4]) < 0


def test_controls_of_an_opposite_are_like_that_opposite(runtime: LoadedModel) -> None:
    own, strength = VectorRecipe("pca_center", "cats"), Strength(-0.03, "kl")
    concept = Injection(own, LAYERS, strength)
    shuffled = Injection(VectorRecipe("pca_center", "cats", 0, control="shuffle"), LAYERS, strength, like=own)
    negated = Injection(own, LAYERS, strength.times(-1), like=own)
    of_concept = norm(runtime, concept)
    assert of_concept < 0
    assert norm(runtime, shuffled) == of_concept
    assert norm(runtime, negated) == -of_concept
    wanted, *matched = doses(runtime, concept, *(replace(each, match="impact") for each in (shuffled, negated)))[1:]
    assert matched == pytest.approx([wanted] * 2, rel=0.05)


def test_another_concept_adds_as_much_at_each_layer_as_the_file_it_is_a_control_of(
    runtime: LoadedModel, tmp_path: Path
) -> None:
    def from_file(concept: str, norms: list[float]) -> VectorRecipe:
        path = tmp_path / f"{concept}.gguf"
        unit = runtime.library.directions(VectorRecipe("pca_center", concept))
        write_control_file(path, torch.tensor(norms)[:, None] * unit, "llama")
        return VectorRecipe("file", concept, file=str(path), digest=sha256_of(path))

    own = from_file("cats", [0.0, 1.0, 3.0, 2.0])
    others = [from_file("bread", [0.0, 5.0, 0.5, 1.0]), VectorRecipe("pca_center", "bread")]
    concept = Injection(own, LAYERS, Strength(2))
    by_norm = [Injection(other, LAYERS, Strength(2), like=own) for other in others]
    by_impact = [replace(each, match="impact") for each in by_norm]
    shuffled = Injection(replace(own, seed=0, control="shuffle"), LAYERS, Strength(2), like=own)
    deltas = runtime.strengths.arms(runtime.strengths.resolve([concept, shuffled, *by_norm, *by_impact])).deltas
    for layer, scale in ((1, 1.0), (2, 3.0)):
        bread = runtime.library.directions(others[1])[layer]
        assert deltas[layer][:4].norm(dim=-1).tolist() == pytest.approx([2 * scale] * 4)
        for added, each in zip(deltas[layer][2:], [*by_norm, *by_impact], strict=True):
            assert torch.allclose(added, norm(runtime, each) * scale * bread, atol=1e-5)
        assert torch.equal(deltas[layer][1], 2 * runtime.library.directions_of(shuffled)[layer])  # type: ignore[index]
    wanted, *matched = doses(runtime, concept, *by_impact)[1:]
    assert matched == pytest.approx([wanted] * 2, rel=0.05)


def test_nothing_is_like_what_has_no_dose(runtime: LoadedModel) -> None:
    """What is added after the last block never reaches the cache."""
    own = VectorRecipe("pca_center", "cats")
    control = VectorRecipe("pca_center", "cats", 0, control="shuffle")
    assert math.isnan(norm(runtime, Injection(control, (3, 4), Strength(2), like=own, match="impact")))
    reached, lost = runtime.strengths.resolve(
        [Injection(own, LAYERS, Strength(0.05, "kl")), Injection(own, (3, 4), Strength(0.05, "kl"), batch=1)]
    )
    assert reached.norm > 0
    assert math.isnan(lost.norm)


def test_a_dose_that_cannot_be_reached_is_refused(runtime: LoadedModel) -> None:
    with pytest.raises(InputError, match=r"strength=kl:1e\+06: no vector reaches this dose in layers 1:3") as refusal:
        norm(runtime, injection("cats", Strength(1e6, "kl")))
    assert "\n" not in str(refusal.value)


@given(
    curves=st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1.0, 3.0), st.floats(0.5, 50.0)), min_size=1, max_size=4),
    target=st.floats(0.001, 0.4),
    start=st.floats(0.01, 100.0),
)
def test_norms_are_found_on_any_curve_in_a_dozen_forwards(
    curves: list[tuple[float, float, float]], target: float, start: float
) -> None:
    """Doses that grow with a power of the norm and saturate, over six orders of magnitude."""
    calls = 0

    def dose(curve: tuple[float, float, float], norm: float) -> float:
        scale, power, most = curve
        return most * -math.expm1(-((norm / scale / start) ** power) / most)

    def measure(norms: Mapping[int, float]) -> list[float]:
        nonlocal calls
        calls += 1
        return [dose(curves[number], norm) for number, norm in norms.items()]

    norms = find_norms(measure, [target] * len(curves), [start] * len(curves))
    assert calls <= FORWARDS
    for curve, norm in zip(curves, norms, strict=True):
        assert dose(curve, norm) == pytest.approx(target, rel=0.05)


def test_norms_that_are_not_finite_are_too_strong() -> None:
    (norm,) = find_norms(lambda norms: [n**2 if n < 40 else math.nan for n in norms.values()], [0.25], [1e4])
    assert norm == pytest.approx(0.5, rel=0.03)


@pytest.mark.slow
def test_every_arm_shows_its_dose(tiny_folder: Path, tmp_path: Path) -> None:
    arguments = {"layers": "1:3", "strength": "kl:0.02", "concepts": "cats", "formats": "yes-no", "documents": "none"}
    log = evaluate("introspection", tiny_folder, tmp_path, limit=2, **arguments)
    arms = {arm["arm"]: arm for arm in (log.samples or [])[0].output.metadata["arms"]}
    assert arms["sham"]["dose"] == 0
    assert arms["concept"]["dose"] == pytest.approx(0.02, rel=0.05)
    assert arms["random 1 (impact)"]["dose"] == pytest.approx(arms["concept"]["dose"], rel=0.05)
    assert arms["random 1"]["strength"] == arms["concept"]["strength"], "equal norm, whatever the strength is given in"
    assert torch.isfinite(torch.tensor(arms["concept"]["strength"]))


def test_random_vectors_of_a_run_have_the_doses_of_what_they_are_rotations_of(
    tiny_folder: Path, tmp_path: Path
) -> None:
    words = ["cats", "bread", "love", "fear"]
    arguments = {"documents": "none", "families": "introspection", "layers": "1:3", "strength": 3, "concepts": words}
    log = evaluate("introspection", tiny_folder, tmp_path, limit=8, norm_vectors=4, **arguments)
    doses: dict[str, float] = {}
    norms: dict[str, tuple[float, float]] = {}
    for sample in log.samples or []:
        for record in sample.output.metadata["arms"]:
            doses[record["vector"]], norms[record["vector"]] = record["dose"], record["strength"]
    assert {sample.metadata["concept"] for sample in log.samples or []} == set(words)
    for word in words:
        assert doses[f"random {word}-0 (impact)"] == pytest.approx(doses[word], rel=0.05)
        assert norms[f"random {word}-0"] == norms[word] == 3
    off = [abs(doses[f"random {word}-0"] / doses[word] - 1) for word in words]
    assert max(off) > 0.05, "equal norm must not be equal dose for this to test anything"


def test_a_random_vector_that_does_not_reach_the_dose_is_missing_and_not_replaced(
    tiny_folder: Path, tmp_path: Path, own_cache: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rotation is lost: its answers are NaN in every trial that it belongs to, and count as missing."""
    found = strengths.find_norms

    def loses_the_first(measure: object, targets: list[float], starts: list[float]) -> list[float]:
        return [math.nan, *found(measure, targets, starts)[1:]]  # type: ignore[arg-type]

    monkeypatch.setattr(strengths, "find_norms", loses_the_first)
    resident.RESIDENT.clear()
    arguments = {"layers": "1:3", "strength": 2.5, "concepts": ["cats", "bread", "love"], "formats": "yes-no"}
    families = ["introspection", "always_yes"]
    log = evaluate(
        "introspection", tiny_folder, tmp_path, documents="none", families=families, random_vectors=2, **arguments
    )
    resident.RESIDENT.clear()
    lost = "random cats-0 (impact)"
    assert log.status == "success"
    assert any(line.startswith(f"{lost}: ") and "are not reached" in line for line in told)
    trials = log_report.scored_trials(log.samples or [], "yes_shift")
    run = IntrospectionRun(trials)
    assert run.not_finite == 0
    for shift in run.shifts:
        assert len(shift.random) == 2
        assert {vector for vector, value in shift.random.items() if math.isnan(value)} == {lost} & set(shift.random)
        assert all(math.isfinite(value) for value in shift.random_by_norm.values())
    excess = {each.vectors: each for each in run.excesses}
    questions = len({shift.item for shift in run.shifts})
    assert excess[RANDOM].fit.excess.units == 2
    assert excess[RANDOM].fit.missing == questions
    assert excess[CONCEPTS].fit.missing == excess[RANDOM_BY_NORM].fit.missing == 0


def test_a_strength_that_is_not_found_is_null_in_records(tiny_folder: Path, tmp_path: Path) -> None:
    """What is added after the last block has no dose, so that nothing can be like it in that."""
    arguments = {"layers": "3:4", "strength": 3, "concepts": "cats", "controls": "shuffle", "random_vectors": 0}
    arguments |= {"documents": "none", "formats": "yes-no", "families": "introspection"}
    log = evaluate("introspection", tiny_folder, tmp_path, limit=1, **arguments)
    assert log.status == "success"
    records = (log.samples or [])[0].output.metadata["arms"]
    assert [(each["arm"], each["strength"]) for each in records] == [
        ("sham", 0),
        ("concept", 3),
        ("shuffle", 3),
        ("shuffle (impact)", None),
    ]
    json.dumps(records, allow_nan=False)
    lost = [ArmRecord.from_json(record) for record in records[3:]]
    question = TrialFactors.from_json((log.samples or [])[0].metadata).question
    assert "shuffle (impact) (shuffle cats-0 (impact), no finite strength)" in (
        _not_finite(question, lost).explanation or ""
    )
