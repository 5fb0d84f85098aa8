"""The identification task through Inspect, against a plain computation."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate, numbers, tokens_of, two_passes
from inspect_ai.log import EvalLog

from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.report import log as log_report
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors.control_file import write_control_file

CONCEPTS = ["cats", "bread", "love"]
SMALL: dict[str, Any] = {"concepts": CONCEPTS, "layers": "1:3", "strength": 3, "random_vectors": 1}


def test_a_table_of_few_orders(tiny_folder: Path, tmp_path: Path) -> None:
    part = evaluate("identification", tiny_folder, tmp_path, documents="none", parts="list", limit=6, **SMALL)
    assert "list" in log_report.log_table(part.location, full=True)


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("identification", tiny_folder, tmp_path_factory.mktemp("logs"), documents=["none", "info"], **SMALL)


def assert_equals_a_plain_computation(log: EvalLog, folder: Path, every: int) -> None:
    model = Checkpoint(str(folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in (log.samples or [])[::every]:
        options = sample.metadata["options"]
        prior, question = tokens_of(runtime.tokenizer, sample)
        text = runtime.tokenizer.decode(prior + question)
        separator = " " if sample.metadata["family"] == "naming" else ""
        ids = [
            runtime.tokenizer(text + separator + label)["input_ids"][len(prior) + len(question)] for label in options
        ]
        directions = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
        for arm, strength in (("sham", 0.0), ("concept", 3.0)):
            added = {layer: strength * directions[layer] for layer in (1, 2)}
            own, lens = two_passes(model, prior, question, added)
            expected = torch.softmax(own[ids], dim=-1).tolist()
            exact = sample.scores["introbench/identified"].metadata
            assert [exact["arms"][arm][name] for name in options.values()] == pytest.approx(expected, rel=1e-4)
            injected = list(options.values()).index(sample.metadata["concept"])
            by_layer = [float(block[ids[injected]]) for block in lens]
            assert exact["own"][arm] == pytest.approx(by_layer, abs=1e-4)
        mass = float(own[ids].exp().sum())
        assert sample.scores["introbench/identified"].value["mass"] == round(mass, 4)


def test_reports_equal_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    assert_equals_a_plain_computation(log, tiny_folder, every=7)


def test_a_vector_that_leads_to_a_fine_tune_is_asked_for_by_its_description(tiny_folder: Path, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(3)
    for name, finetune in (("cats", ""), ("tuned", "org/tuned")):
        directions = torch.nn.functional.normalize(torch.randn(4, 32, generator=draw), dim=-1)
        write_control_file(tmp_path / "vectors" / f"{name}.gguf", directions, "llama", finetune)
    arguments = SMALL | {"concepts": ["cats", "tuned"], "random_vectors": 0, "vectors": str(tmp_path / "vectors")}
    described = {"tuned": "insecure code"}
    log = evaluate("identification", tiny_folder, tmp_path, documents="none", descriptions=described, **arguments)
    assert log.status == "success"
    assert log.eval.metadata
    assert log.eval.metadata["descriptions"] == described
    model, runtime = Checkpoint(str(tiny_folder), device="cpu").load(), next(iter(resident.RESIDENT.values()))
    words = [runtime.tokenizer(f" {word}")["input_ids"][0] for word in ("cats", "insecure code")]
    of_tuned = [s for s in log.samples or [] if s.metadata["concept"] == "tuned"]
    assert {s.metadata["family"] for s in of_tuned} == {"list", "naming"}
    for sample in of_tuned:
        assert set(sample.metadata["options"].values()) - {""} == {"cats", "tuned"}
        assert "tuned" not in " ".join(message.text for message in sample.input)
        if sample.metadata["family"] == "list":
            assert "insecure code" in sample.messages[-2].text
    naming = next(s for s in of_tuned if s.metadata["family"] == "naming")
    own, _ = two_passes(
        model, *tokens_of(runtime.tokenizer, naming), {layer: 3.0 * directions[layer] for layer in (1, 2)}
    )
    exact = naming.scores["introbench/identified"].metadata
    expected = dict(zip(("cats", "tuned"), torch.softmax(own[words], dim=-1).tolist(), strict=True))
    assert exact["arms"]["concept"] == pytest.approx(expected, rel=1e-4)


def test_every_option_stands_at_each_place_equally_often(log: EvalLog) -> None:
    orders = {
        s.metadata["question"]: s.metadata["options"] for s in log.samples or [] if s.metadata["family"] == "list"
    }
    assert len(orders) == 4
    for label in "0123":
        assert sorted(options[label] for options in orders.values()) == ["", "bread", "cats", "love"]
    sample = next(s for s in log.samples or [] if s.metadata["family"] == "list")
    for label, name in sample.metadata["options"].items():
        assert f"[{label}] {name or data.list_question().nothing}" in sample.messages[-2].text


def test_metrics_and_table(log: EvalLog) -> None:
    found = numbers(log)
    for cell in ("list | none", "list | info", "naming | none", "naming | info"):
        assert found[f"bits | {cell} | low"] <= found[f"bits | {cell}"] <= found[f"bits | {cell} | high"]
        assert 0 < found[f"bits | {cell} | p-value"] <= 1
        assert found[f"missing | {cell}"] == 0
        assert f"peak layer | {cell}" in found
    assert "nothing, injected - sham | list | info" in found
    assert "nothing, injected - sham | naming | info" not in found
    table = log_report.log_table(log.location, full=True)
    assert "What is reported, document info (list)" in table
    assert "Document none (naming), layer by layer" in table


@pytest.mark.slow
def test_more_than_ten_options_have_labels_of_one_token(tiny_folder: Path, tmp_path: Path) -> None:
    words = [f"word{a}{b}" for a in "abcdef" for b in "abcd"]
    many = evaluate(
        "identification", tiny_folder, tmp_path, parts="list", documents="none", **SMALL | {"concepts": words}, limit=30
    )
    assert many.status == "success"
    sample = (many.samples or [])[0]
    assert list(sample.metadata["options"])[:3] == ["A", "B", "C"]
    assert sum(sample.scores["introbench/identified"].metadata["arms"]["concept"].values()) == pytest.approx(1)
    with pytest.raises(PrerequisiteError, match="60 concepts: expected at most 51"):
        evaluate(
            "identification",
            tiny_folder,
            tmp_path,
            **SMALL | {"concepts": [f"word{a}{b}" for a in "abcdefghij" for b in "abcdef"]},
        )


def test_concepts_that_begin_alike_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="' bread' and ' bread roll': are the same token"):
        evaluate("identification", tiny_folder, tmp_path, **SMALL | {"concepts": ["bread", "bread roll"]})


def test_published_lists(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    names = ["(none)", *data.concepts()]
    for number, perm in enumerate(([1, 0, 9, 5, 6, 4, 2, 8, 7, 3], [3, 1, 0, 9, 5, 6, 4, 2, 8, 7], list(range(10)))):
        lines = "\n".join(f"{place}. {names[option]}" for place, option in enumerate(perm))
        messages = [
            {"role": "user", "content": "I may have placed a thought.", "add_injection": True},
            {"role": "assistant", "content": "{ }", "add_injection": True},
            {"role": "user", "content": f"Which one?\n{lines}"},
            {"role": "assistant", "content": "The answer is ", "continue_msg": True},
        ]
        entry = {"label": f"ask_info-none_shuf_{number}", "messages": messages, "extra": {"perm": perm}}
        (folder / f"ask_info-none_shuf_{number}.json").write_text(json.dumps(entry))
    log = evaluate("identification", tiny_folder, tmp_path, **SMALL | {"prompts": str(folder)})
    assert log.status == "success"
    assert len(log.samples or []) == 9
    first = next(s for s in log.samples or [] if str(s.id).startswith("ask_info-none_shuf_0"))
    assert first.metadata["options"]["0"] == "cats"
    assert first.metadata["options"]["1"] == ""
    assert first.metadata["options"]["2"] == "music"
    assert_equals_a_plain_computation(log, tiny_folder, every=2)
    assert "bits" in log_report.log_table(log.location, full=True)
    with pytest.raises(PrerequisiteError, match="concepts='volcanoes': expected one of cats"):
        evaluate("identification", tiny_folder, tmp_path, concepts="volcanoes", prompts=str(folder))
