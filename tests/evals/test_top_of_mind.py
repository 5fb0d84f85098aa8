"""The top-of-mind task through Inspect, against a plain loop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate, numbers
from inspect_ai.log import EvalLog
from transformers import PreTrainedModel

from introbench.models.checkpoint import Checkpoint
from introbench.page.top_of_mind import figures
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.report import log as log_report
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors.control_file import write_control_file

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "strengths": [1, 4],
    "layers": "1:3",
    "length": 6,
    "samples": 2,
    "random_vectors": 1,
}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("top_of_mind", tiny_folder, tmp_path_factory.mktemp("logs"), temperature=0, **SMALL)


def steered_logprobs(model: PreTrainedModel, tokens: list[int], added: dict[int, torch.Tensor]) -> torch.Tensor:
    """Log-probabilities of what goes on after some tokens, steered at every position, [vocabulary]."""
    handles = [
        model.model.layers[layer].register_forward_hook(lambda _m, _a, output, add=add: output + add)
        for layer, add in added.items()
    ]
    with torch.inference_mode():
        logits = model(torch.tensor([tokens])).logits[0, -1]
    for handle in handles:
        handle.remove()
    return torch.log_softmax(logits, dim=-1)


def greedy(model: PreTrainedModel, tokens: list[int], added: dict[int, torch.Tensor], length: int) -> list[int]:
    """The whole text again for every token, steered at every position, without a cache."""
    handles = [
        model.model.layers[layer].register_forward_hook(lambda _m, _a, output, add=add: output + add)
        for layer, add in added.items()
    ]
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(length):
            written.append(int(model(torch.tensor([tokens + written]), use_cache=False).logits[0, -1].argmax()))
    for handle in handles:
        handle.remove()
    return written


def test_texts_equal_a_plain_loop(log: EvalLog, tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in log.samples or []:
        messages = [{"role": m.role, "content": m.text} for m in sample.messages[:2]]
        tokens = runtime.tokenizer.apply_chat_template(messages, continue_final_message=True, return_dict=False)
        vector = runtime.library.directions(VectorRecipe("pca_center", str(sample.id)))
        records = {record["arm"]: record for record in (sample.output.metadata or {})["arms"]}
        assert list(records) == ["sham", "concept at 1", "random 1 at 1", "concept at 4", "random 1 at 4"]
        for arm, strength in (("sham", 0.0), ("concept at 1", 1.0), ("concept at 4", 4.0)):
            written = greedy(model, tokens, {layer: strength * vector[layer] for layer in (1, 2)}, 6)
            assert records[arm]["texts"] == [runtime.tokenizer.decode(written)] * 2
            with torch.inference_mode():
                logits = model(torch.tensor([tokens + written])).logits[0, len(tokens) - 1 : -1]
            expected = torch.log_softmax(logits, dim=-1)[range(6), written].mean()
            assert records[arm]["mean_logprobs"][0] == pytest.approx(float(expected), abs=1e-4)


def test_gains_equal_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    for sample in log.samples or []:
        messages = [{"role": m.role, "content": m.text} for m in sample.messages[:2]]
        tokens = runtime.tokenizer.apply_chat_template(messages, continue_final_message=True, return_dict=False)
        vector = runtime.library.directions(VectorRecipe("pca_center", str(sample.id)))
        word = runtime.tokenizer(f" {sample.id}")["input_ids"][0]
        found = {
            strength: float(
                steered_logprobs(model, tokens, {layer: strength * vector[layer] for layer in (1, 2)})[word]
            )
            for strength in (0.0, 1.0, 4.0)
        }
        gains = sample.scores["introbench/top_of_mind_texts"].metadata["gains"]
        assert {name: len(each) for name, each in gains.items()} == {"1": 20, "4": 20}
        assert gains["1"][0] == pytest.approx(found[1.0] - found[0.0], abs=1e-4)
        assert gains["4"][0] == pytest.approx(found[4.0] - found[0.0], abs=1e-4)
        assert sample.scores["introbench/top_of_mind_texts"].value["gain"] == round(gains["4"][0], 2)


def test_strengths_are_summed_up(log: EvalLog) -> None:
    assert log.status == "success"
    found = numbers(log)
    assert {"live vectors", "live | 1", "coherent | 4", "concept words | 4", "log-prob per token | 1"} <= set(found)
    assert "concept at 4" in (log.samples or [])[0].scores["introbench/top_of_mind_texts"].explanation
    table = log_report.log_table(log.location, full=True)
    assert "cats" in table
    assert "live" in table


def test_a_vector_that_leads_to_a_fine_tune_writes_beside_its_opposite(tiny_folder: Path, tmp_path: Path) -> None:
    directions = torch.nn.functional.normalize(torch.randn(4, 32, generator=torch.Generator().manual_seed(3)), dim=-1)
    write_control_file(tmp_path / "vectors" / "tuned.gguf", directions, "llama", "org/tuned")
    arguments = {"concepts": "tuned", "vectors": str(tmp_path / "vectors"), "descriptions": {"tuned": "cats"}}
    log = evaluate("top_of_mind", tiny_folder, tmp_path, temperature=0, **SMALL | arguments | {"samples": 1})
    assert log.status == "success"
    (sample,) = log.samples or []
    model, runtime = Checkpoint(str(tiny_folder), device="cpu").load(), next(iter(resident.RESIDENT.values()))
    messages = [{"role": m.role, "content": m.text} for m in sample.messages[:2]]
    tokens = runtime.tokenizer.apply_chat_template(messages, continue_final_message=True, return_dict=False)
    word = runtime.tokenizer(" cats")["input_ids"][0]
    exact = sample.scores["introbench/top_of_mind_texts"].metadata
    logprobs, texts = {}, {}
    for arm, strength in (("sham", 0.0), ("concept at 4", 4.0), ("negated at 4", -4.0)):
        added = {layer: strength * directions[layer] for layer in (1, 2)}
        texts[arm] = runtime.tokenizer.decode(greedy(model, tokens, added, 6))
        logprobs[arm] = float(steered_logprobs(model, tokens, added)[word])
    assert {arm: exact["texts"][arm] for arm in texts} == texts
    assert exact["gains"]["4"][0] == pytest.approx(logprobs["concept at 4"] - logprobs["sham"], abs=1e-4)
    assert exact["opposite_gains"]["4"] == pytest.approx(logprobs["negated at 4"] - logprobs["sham"], abs=1e-4)
    assert len(exact["gains"]["4"]) == 20, "an opposite is no random vector"
    assert numbers(log)["gain of the word, opposite | 4"] == exact["opposite_gains"]["4"]
    assert "under its opposite (-)" in log_report.log_table(log.location)
    (figure,) = figures([(sample.metadata, exact)], {})
    shown = {row["group"]: row["y"] for row in figure.panels[-1].rows}
    assert shown["the vector's opposite"] == exact["opposite_gains"]["4"]
    with pytest.raises(PrerequisiteError, match="descriptions='cats': expected one of tuned"):
        evaluate("top_of_mind", tiny_folder, tmp_path, **SMALL | arguments | {"descriptions": {"cats": "tuned"}})


@pytest.mark.slow
def test_sampling_depends_on_the_seed_alone(tiny_folder: Path, tmp_path: Path) -> None:
    def texts(**arguments: Any) -> list[Any]:
        log = evaluate("top_of_mind", tiny_folder, tmp_path, **SMALL | arguments)
        return [[r["texts"] for r in (s.output.metadata or {})["arms"]] for s in log.samples or [] if s.id == "cats"]

    first = texts()
    assert texts(concepts="cats") == first, "whatever else is run"
    assert texts(seed=1) != first
    assert first[0][0][0] != first[0][0][1], "two samples, two texts"


def test_published_prompt(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mind.json"
    messages = [{"role": "user", "content": "And now?"}, {"role": "assistant", "content": "I am dreaming of"}]
    path.write_text(json.dumps({"label": "mind", "messages": messages, "extra": {}}))
    log = evaluate("top_of_mind", tiny_folder, tmp_path, prompts=str(path), **SMALL)
    assert [(m.role, m.text) for m in (log.samples or [])[0].messages[:2]] == [
        (m["role"], m["content"]) for m in messages
    ]
    messages[0]["add_injection"] = True  # type: ignore[assignment]
    path.write_text(json.dumps({"label": "mind", "messages": messages, "extra": {}}))
    with pytest.raises(PrerequisiteError, match="expected one conversation without marks"):
        evaluate("top_of_mind", tiny_folder, tmp_path, prompts=str(path), **SMALL)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"strengths": [4, 4.0]}, "expected each once"),
        ({"strengths": "much"}, "strength='much'"),
        ({"samples": 0}, "samples=0: expected a whole number from 1"),
        ({"temperature": -1}, "temperature=-1: expected a number from 0 to 10"),
    ],
)
def test_bad_arguments_are_refused(
    tiny_folder: Path, tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(PrerequisiteError, match=complaint):
        evaluate("top_of_mind", tiny_folder, tmp_path, **SMALL | arguments)
