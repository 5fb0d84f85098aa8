"""The probe task through Inspect: states and reports against plain forward passes, metrics, table, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import evaluate, numbers, two_passes
from inspect_ai.log import EvalLog
from transformers import PreTrainedModel

from introbench.analysis.probe import States, aurocs, balanced_weights, held_out_scores, scores_of
from introbench.engine import Reading, Want
from introbench.models.checkpoint import Checkpoint
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.probe_record import probe_record
from introbench.report import log as log_report
from introbench.steering.arms import CONCEPTS_PER_BATCH, separate_batches
from introbench.steering.injection import VectorRecipe
from introbench.tasks.arms import plan_arms

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread", "love"],
    "documents": ["none", "info", "lorem"],
    "layers": "1:3",
    "strength": 3,
    "random_vectors": 2,
}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("probe", tiny_folder, tmp_path_factory.mktemp("logs"), **SMALL)


def runtime_of(log: EvalLog) -> LoadedModel:
    assert log.status == "success", log.error
    found = next(iter(resident.RESIDENT.values()))
    assert isinstance(found, LoadedModel)
    return found


def questions_of(log: EvalLog) -> list[dict[str, Any]]:
    assert log.plan.steps[0].params
    return log.plan.steps[0].params["questions"]


def plain_states(
    model: PreTrainedModel, prior: list[int], question: list[int], added: dict[int, torch.Tensor]
) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """One uncached pass with plain hooks: [layers, hidden] at the answer and at the prior turn's end, and logits."""

    def steer(add: torch.Tensor) -> Any:
        def hook(_m: Any, _a: Any, output: torch.Tensor) -> torch.Tensor:
            return torch.cat([output[:, : len(prior)] + add, output[:, len(prior) :]], dim=1)

        return hook

    answer: list[np.ndarray] = []
    end: list[np.ndarray] = []

    def look(_m: Any, _a: Any, output: torch.Tensor) -> None:
        answer.append(output[0, -1].numpy())
        end.append(output[0, len(prior) - 1].numpy())

    handles = [model.model.layers[layer].register_forward_hook(steer(add)) for layer, add in added.items()]
    handles += [layer.register_forward_hook(look) for layer in model.model.layers]
    with torch.inference_mode():
        logits = model(torch.tensor([prior + question]), use_cache=False, logits_to_keep=1).logits[0, -1]
    for handle in handles:
        handle.remove()
    return np.stack(answer), np.stack(end), torch.log_softmax(logits.double(), dim=-1)


def split(
    runtime: LoadedModel, prior: list[dict[str, str]], question: list[dict[str, str]]
) -> tuple[list[int], list[int]]:
    messages = prior + question
    text = runtime.tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    first = runtime.tokenizer.apply_chat_template(prior, tokenize=False)
    tokens, before = (runtime.tokenizer(each, add_special_tokens=False)["input_ids"] for each in (text, first))
    return before, tokens[len(before) :]


def turns(sample: Any) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.text} for m in sample.input]


def test_the_runtime_hands_over_the_states_of_a_plain_forward_pass(log: EvalLog, tiny_folder: Path) -> None:
    model, runtime = Checkpoint(str(tiny_folder), device="cpu").load(), runtime_of(log)
    bank = next(iter(key for _, key in runtime._ends))
    assert [each.label for each in bank[:4]] == ["sham", "cats", "bread", "love"]
    prior, asked = turns((log.samples or [])[0]), questions_of(log)[2]["messages"]
    chat = tokenize_chat(runtime.tokenizer, prior + asked, len(prior))
    (answer,) = runtime.answer_states([TokenizedQuestion(chat, Want())], bank)
    end = runtime.cache_states(chat.prior_tokens, bank)
    before, after = split(runtime, prior, asked)
    for row, strength in ((0, 0.0), (2, 3.0)):
        vector = runtime.library.directions(VectorRecipe("pca_center", "bread"))
        at_answer, at_end, _ = plain_states(model, before, after, {layer: strength * vector[layer] for layer in (1, 2)})
        np.testing.assert_allclose(answer.residuals[:, row].numpy(), at_answer, atol=1e-4)
        np.testing.assert_allclose(end.residuals[:, row].numpy(), at_end, atol=1e-4)
    assert not np.allclose(end.residuals[2, 2], end.residuals[2, 0], atol=0.1), "the prior turn's end is steered"


def test_scores_and_reports_equal_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    model, runtime = Checkpoint(str(tiny_folder), device="cpu").load(), runtime_of(log)
    asked = questions_of(log)
    recipes = [None, *(VectorRecipe("pca_center", word) for word in ("cats", "bread", "love"))]
    rotations = [VectorRecipe("pca_center", word, seed=0) for word in ("cats", "bread", "love")]
    recipes += rotations
    plan = plan_arms(
        Checkpoint(str(tiny_folder)),
        **{name: SMALL[name] for name in ("concepts", "layers", "strength", "random_vectors")},
        method="pca_center",
        seed=0,
    )
    norms = {resolved.injection.vector: resolved.norm for resolved in runtime.strengths.resolve(plan.batch)}
    samples = {sample.id: sample for sample in log.samples or []}
    ends: dict[str, np.ndarray] = {}
    for name, sample in samples.items():
        states, odds = [], []
        for question in asked[:6]:
            before, after = split(runtime, turns(sample), question["messages"])
            forms = (sample.output.metadata or {})["forms"]
            ids = {which: [runtime.tokenizer(form)["input_ids"][0] for form in each] for which, each in forms.items()}
            for recipe in recipes:
                added = {} if recipe is None else {
                    layer: norms[recipe] * runtime.library.directions(recipe)[layer] for layer in (1, 2)
                }  # fmt: skip
                at_answer, at_end, logprobs = plain_states(model, before, after, added)
                states.append(at_answer)
                odds.append(float(logprobs[ids["yes"]].logsumexp(0) - logprobs[ids["no"]].logsumexp(0)))
                if question is asked[0]:
                    ends[f"{name} {recipe}"] = at_end
        grid = np.stack(states, axis=1).reshape(4, 6, 7, -1)
        expected = held_out_scores(States(grid[:, :, 1:], grid[:, :, :1], [0] * 6, 3))
        record = (sample.output.metadata or {})["probe"]
        found = scores_of(record["answer"])
        np.testing.assert_allclose(found.injected[1:], expected.injected[1:], atol=2e-3)
        np.testing.assert_allclose(found.sham[1:], expected.sham[1:], atol=2e-3)
        for layer in (0, 1):
            assert (found.injected[layer] == found.sham[layer]).all(), "the first steered block is read one block later"
            assert set(sample.scores["introbench/probed"].metadata["answer"]["same"][layer]) == {0.5}
        signs = np.array([-1.0 if question["reversed"] else 1.0 for question in asked])
        by_arm = np.array(odds).reshape(6, 7).T * signs
        np.testing.assert_allclose(scores_of(record["report"]).injected[0], by_arm[1:], atol=1e-4)
        # The direct count: plain and reversed questions weigh the same, all together.
        wins = (by_arm[1:] > by_arm[0]).astype(float)
        counted = (wins[:, signs > 0].mean(axis=1) + wins[:, signs < 0].mean(axis=1)) / 2
        assert sample.scores["introbench/probed"].metadata["report"]["same"] == pytest.approx(counted.tolist())
    names = ["none", "info", "lorem"]
    every = np.stack([np.stack([ends[f"{name} {recipe}"] for recipe in recipes], axis=1) for name in names], axis=1)
    cache = held_out_scores(States(every[:3, :, 1:], every[:3, :, :1], [0] * 6, 3))
    for column, name in enumerate(names):
        found = scores_of((samples[name].output.metadata or {})["probe"]["cache"])
        np.testing.assert_allclose(found.injected[1:, :, 0], cache.injected[1:, :, column], atol=2e-3)
        np.testing.assert_allclose(found.sham[1:, :, 0], cache.sham[1:, :, column], atol=2e-3)


def test_the_report_is_that_of_a_cached_injection(log: EvalLog, tiny_folder: Path) -> None:
    """Two passes with transformers' own cache give the log-odds, too: the question itself is not steered."""
    model, runtime = Checkpoint(str(tiny_folder), device="cpu").load(), runtime_of(log)
    sample, question = (log.samples or [])[1], questions_of(log)[0]
    vector = runtime.library.directions(VectorRecipe("pca_center", "love"))
    added = {layer: 3.0 * vector[layer] for layer in (1, 2)}
    logprobs, _ = two_passes(model, *split(runtime, turns(sample), question["messages"]), added)
    forms = (sample.output.metadata or {})["forms"]
    yes, no = (logprobs[[runtime.tokenizer(form)["input_ids"][0] for form in forms[name]]] for name in ("yes", "no"))
    found = (sample.output.metadata or {})["probe"]["report"]["injected"][0][2][0]
    assert found == pytest.approx(float(yes.logsumexp(0) - no.logsumexp(0)), abs=1e-4)


def test_metrics_and_table(log: EvalLog) -> None:
    found = numbers(log)
    info = next(sample for sample in log.samples or [] if sample.id == "info")
    exact = info.scores["introbench/probed"].metadata
    assert found["probe"] == pytest.approx(np.mean(exact["answer"]["same"][-1][:3])), "info is the reference"
    assert found["report"] == pytest.approx(np.mean(exact["report"]["same"][:3]))
    assert found["concepts"] == 3
    assert found["missing"] == 0
    for kind in ("concepts", "random"):
        for sham in ("same", "any"):
            for document, state in (("info", "answer"), ("lorem", "answer"), ("all", "cache")):
                assert {
                    f"probe, last layer | {state} | {kind} | {sham} sham | {document} | low",
                    f"recovered, mean of layers | {state} | {kind} | {sham} sham | {document}",
                } <= set(found)
    every = [
        np.array(s.scores["introbench/probed"].metadata["answer"]["any"], dtype=float)[2:, 3:]
        for s in log.samples or []
    ]
    documents = [sample.id for sample in log.samples or []]
    name = "probe, mean of layers | answer | random | any sham"
    for document, curve in zip(documents, every, strict=True):
        assert found[f"{name} | {document}"] == pytest.approx(curve.mean()), "from where the answer can differ"
    table = log_report.log_table(log.location, full=True)
    assert "Was the information there to report?" in table
    assert "cache, document all" in table
    explanation = info.scores["introbench/probed"].explanation.splitlines()
    assert sum(line.startswith("| ") for line in explanation) == 2 + 4


@pytest.mark.slow
def test_a_document_does_not_depend_on_what_else_runs(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    again = evaluate("probe", tiny_folder, tmp_path, sample_id="info", **SMALL)
    (sample,) = again.samples or []
    first = next(each for each in log.samples or [] if each.id == "info")
    assert (sample.output.metadata or {})["probe"] == (first.output.metadata or {})["probe"]
    alone = evaluate("probe", tiny_folder, tmp_path, **SMALL | {"documents": "info"})
    (sample,) = alone.samples or []
    record = (sample.output.metadata or {})["probe"]
    assert record["answer"] == (first.output.metadata or {})["probe"]["answer"]
    assert record["cache"]["injected"] == [[[None]] * 6] * 3, "without another document no sham is left to train on"
    assert "With one document no other sham is left" in log_report.log_table(alone.location, full=True)


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_counted(tiny_folder: Path, tmp_path: Path) -> None:
    broken = evaluate("probe", tiny_folder, tmp_path, **SMALL | {"strength": 1e300, "documents": ["none", "info"]})
    assert broken.status == "success", broken.error
    found = numbers(broken)
    assert found["missing"] == 2 * 6
    assert np.isnan(found["recovered"])
    assert "not finite: 6" in (broken.samples or [])[0].scores["introbench/probed"].explanation
    assert "Was the information there" in log_report.log_table(broken.location, full=True)


def test_many_concepts_take_several_batches_each_beside_its_own_sham(tiny_folder: Path) -> None:
    words = [f"{first}{second}" for first in "abcde" for second in "xyz"]
    plan = plan_arms(
        Checkpoint(str(tiny_folder)), concepts=words, method="pca_center", layers="1:3", strength=3,
        random_vectors=1, seed=0,
    )  # fmt: skip
    injections = separate_batches(plan)
    shams = [row for row, each in enumerate(injections) if each.vector is None]
    assert shams == [0, 1 + 2 * CONCEPTS_PER_BATCH]
    assert [injections[row].batch for row in shams] == [0, 1]
    assert [each.label for each in injections if each.vector and not each.vector.is_random] == words


def test_rows_of_several_batches_are_told_apart_and_one_that_is_not_finite_is_left_out(tiny_folder: Path) -> None:
    words = [f"{first}{second}" for first in "abcde" for second in "xyz"]
    checkpoint = Checkpoint(str(tiny_folder))
    plan = plan_arms(
        checkpoint, concepts=words, method="pca_center", layers="1:3", strength=3, random_vectors=1, seed=0
    )
    injections = separate_batches(plan)
    rows = len(injections)
    generator = torch.Generator().manual_seed(0)
    finite = [row != 5 for row in range(rows)]
    readings = [
        Reading(
            empty := torch.empty(rows, 0), empty, empty, finite, residuals=torch.randn(3, rows, 8, generator=generator)
        )
        for _ in range(4)
    ]
    odds = [[float(10 * question + row) for row in range(rows)] for question in range(4)]
    record = probe_record(injections, odds, [1.0, 1.0, 1.0, -1.0], readings, readings[:2])
    assert record["concepts"] == words
    assert record["random"] == [f"random {word}-0 (impact)" for word in words]
    report = scores_of(record["report"])
    assert report.sham[0, 0].tolist() == [0, 10, 20, -30], "the first batch's sham"
    assert report.sham[0, 12].tolist() == [25, 35, 45, -55], "the second batch's"
    assert report.injected[0, 12].tolist() == [26, 36, 46, -56]
    lost = np.isnan(report.injected).all(axis=(0, 2))
    assert lost.nonzero()[0].tolist() == [4], "row 5 is the fifth concept"
    assert np.isnan(scores_of(record["answer"]).injected).any(axis=(0, 2)).nonzero()[0].tolist() == [4]
    assert np.array(record["cache"]["injected"]).shape == (2, 30, 1)


def test_weights_of_the_report_are_those_of_the_task(log: EvalLog) -> None:
    sample = (log.samples or [])[0]
    report = scores_of((sample.output.metadata or {})["probe"]["report"])
    weights = balanced_weights(sample.metadata["reversed"])
    again = aurocs(report, weights, "any")[0]
    assert sample.scores["introbench/probed"].metadata["report"]["any"] == pytest.approx(again.tolist())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"concepts": "cats"}, "concepts=cats: one concept; expected at least two"),
        ({"documents": "nothing"}, "documents='nothing'"),
        ({"layers": "3:1"}, "layers=3:1"),
        ({"strength": "much"}, "strength='much'"),
        ({"random_vectors": -1}, "random_vectors=-1"),
    ],
)
@pytest.mark.usefixtures("nothing_loaded")
def test_refusals_come_before_weights_load(
    tiny_folder: Path, tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(PrerequisiteError, match=complaint):
        evaluate("probe", tiny_folder, tmp_path, **SMALL | arguments)
    assert resident.RESIDENT == {}
