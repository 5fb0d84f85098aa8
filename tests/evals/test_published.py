"""Every task on published conversations, against two plain passes that share no code with the engine.

Yes and no probabilities of each arm agree to 1e-4 relative, in float32, on the same weights, tokens and vectors. For
lists of options see `test_identification.py`.
"""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate, tokens_of, two_passes
from inspect_ai.log import EvalLog, EvalSample
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.provider.loaded_model import LoadedModel
from introbench.steering.injection import MODEL_CONTRAST, VectorRecipe

STEERED: dict[str, Any] = {"layers": "1:3", "strength": 3}
CONCEPTS: dict[str, Any] = {"concepts": ["cats", "bread"], "random_vectors": 1}

SHORT = [
    {"role": "system", "content": ""},
    {"role": "user", "content": "Now and then I leave a note in your mind.", "add_injection": True},
    {"role": "assistant", "content": "( )", "add_injection": True},
]
LONG = [
    {"role": "user", "content": "An attic keeps what was put there.\n\nSo do you.", "add_injection": True},
    {"role": "assistant", "content": "Like an attic, then.", "add_injection": True},
    {"role": "user", "content": "I may have put a thing there: “…”", "add_injection": True},
    {"role": "assistant", "content": "( )", "add_injection": True},
]


def conversation(
    label: str, prior: list[dict[str, Any]], ask: str, prefill: str, yes: str = "", no: str = "", **extra: Any
) -> dict[str, Any]:
    """What one file holds."""
    asked = [
        {"role": "user", "content": ask},
        {"role": "assistant", "content": prefill, "continue_msg": True},
    ]
    return {"label": label, "yes_token": yes, "no_token": no, "extra": extra, "messages": [*prior, *asked]}


FILES = [
    conversation("note_info-none_fmt-yes-no", SHORT, "Is a note there?", "I would say", " yes", " no"),
    conversation("note_info-none_fmt-0-1", SHORT, "Is a note there? 1 or 0.", "I would say ", "1", "0"),
    conversation("note_info-none", SHORT, "Any note?", "I say", yes_variant_tokens=[" yes", " Yes", " indeed"]),
    conversation("note_info-attic_fmt-yes-no", LONG, "Is a note there?", "I would say", " yes", " no"),
    conversation("note_info-attic_fmt-yes-no_no_04", LONG, "Is snow hot?", "Snow? I say", " yes", " no", group="no"),
    conversation("note_info-attic_fmt-yes-no_yes_02", LONG, "Is ice cold?", "I say:", "Yes", "No", group="yes"),
]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("prompts")
    for entry in FILES:
        (folder / f"{entry['label']}.json").write_text(json.dumps(entry), encoding="utf-8")
    (folder / "_order.json").write_text(json.dumps([entry["label"] for entry in FILES[::-1]]))
    return str(folder)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> PreTrainedModel:
    return Checkpoint(str(tiny_folder), device="cpu").load()


def loaded() -> LoadedModel:
    return next(iter(resident.RESIDENT.values()))


def samples(log: EvalLog, each: int) -> Iterator[tuple[EvalSample, dict[str, Any]]]:
    """The samples with their files, `each` of every file, which they must carry as it is written."""
    assert log.status == "success"
    assert len(log.samples or []) == each * len(FILES)
    written = {str([(m["role"], m["content"]) for m in entry["messages"]]): entry for entry in FILES}
    for sample in log.samples or []:
        entry = written[str([(m.role, m.text) for m in sample.messages[: len(sample.input)]])]
        assert sample.metadata["prior_messages"] == len(entry["messages"]) - 2
        yield sample, entry


def yes_and_no(
    tokenizer: PreTrainedTokenizerFast, tokens: list[int], entry: dict[str, Any], logprobs: Tensor
) -> tuple[float, float]:
    """Probabilities of a file's own answers; without a no of its own, that is every other token."""

    def share(*forms: str) -> float:
        text = tokenizer.decode(tokens)
        after = [tokenizer(text + form, add_special_tokens=False)["input_ids"][len(tokens) :] for form in forms]
        assert [len(ids) for ids in after] == [1] * len(forms)
        return float(logprobs[[ids[0] for ids in after]].exp().sum())

    yes = share(*([entry["yes_token"]] if entry["yes_token"] else entry["extra"]["yes_variant_tokens"]))
    return yes, share(entry["no_token"]) if entry["no_token"] else 1 - yes


def added(vector: VectorRecipe | None, strength: float = STEERED["strength"]) -> dict[int, Tensor]:
    """What an arm adds at each steered layer; zeros for the sham."""
    directions = torch.zeros(4, 32) if vector is None else strength * loaded().library.directions(vector)
    return {layer: directions[layer] for layer in (1, 2)}


def concept_arms(sample: EvalSample) -> dict[str, dict[int, Tensor]]:
    """What the arms of one concept and one random vector add; the norm that has the concept's dose is on record."""
    own = VectorRecipe("pca_center", sample.metadata["concept"])
    arms = {}
    for record in sample.output.metadata["arms"]:
        name = record["arm"]
        vector = None if name.startswith("sham") else replace(own, seed=0) if name.startswith("random") else own
        arms[name] = added(vector, record["strength"] if name.endswith("(impact)") else STEERED["strength"])
    return arms


def same(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=0)


@pytest.mark.slow
def test_introspection_under_both_ways_to_steer(
    prompts: str, model: PreTrainedModel, tiny_folder: Path, tmp_path: Path
) -> None:
    log = evaluate("introspection", tiny_folder, tmp_path, prompts=prompts, steering="both", **CONCEPTS, **STEERED)
    for sample, entry in samples(log, each=2):
        prior, question = tokens_of(loaded().tokenizer, sample)
        measured = sample.scores["introbench/yes_shift"].metadata
        expected = {}
        arms = concept_arms(sample)
        random = ("random 1 (impact)", "random 1 active (impact)")
        assert list(arms) == ["sham", "concept", random[0], "concept active", random[1], "random 1"]
        for arm, injected in arms.items():
            own, _ = two_passes(model, prior, question, injected, to_the_end=" active" in arm)
            expected[arm] = yes_and_no(loaded().tokenizer, prior + question, entry, own)
        assert measured["p_yes"] == same({arm: yes for arm, (yes, _) in expected.items()})
        assert measured["p_no"] == same({arm: no for arm, (_, no) in expected.items()})


def test_the_logit_lens_after_every_block(
    prompts: str, model: PreTrainedModel, tiny_folder: Path, tmp_path: Path
) -> None:
    log = evaluate("logit_lens", tiny_folder, tmp_path, prompts=prompts, **CONCEPTS, **STEERED)
    for sample, entry in samples(log, each=2):
        prior, question = tokens_of(loaded().tokenizer, sample)
        measured = sample.scores["introbench/lens_gap"].metadata
        arms = concept_arms(sample)
        assert list(arms) == ["sham", "concept", "random 1 (impact)"]
        assert measured["p_yes"].keys() == measured["log_odds"].keys() == arms.keys()
        for arm, injected in arms.items():
            own, lens = two_passes(model, prior, question, injected)
            expected = [yes_and_no(loaded().tokenizer, prior + question, entry, block) for block in lens]
            p_yes, odds = measured["p_yes"][arm], measured["log_odds"][arm]
            assert p_yes == same([yes for yes, _ in expected])
            assert [yes / math.exp(each) for yes, each in zip(p_yes, odds, strict=True)] == same(
                [no for _, no in expected]
            )
            assert p_yes[-1] == same(yes_and_no(loaded().tokenizer, prior + question, entry, own)[0])


@pytest.fixture(scope="module")
def finetunes(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random LoRA, and with the model that it was merged into."""
    folder = tmp_path_factory.mktemp("finetunes")
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules=["v_proj", "down_proj"], init_lora_weights=False)
    tuned = get_peft_model(Checkpoint(str(tiny_folder)).load(), config)
    tuned.save_pretrained(folder / "adapter")
    shutil.copytree(tiny_folder, folder / "model")
    tuned.merge_and_unload().save_pretrained(folder / "model")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "adapter"])
def test_a_model_swap_under_every_arm(
    prompts: str, model: PreTrainedModel, tiny_folder: Path, finetunes: Path, tmp_path: Path, kind: str
) -> None:
    name = str(finetunes / kind)
    log = evaluate("model_swap", tiny_folder, tmp_path, prompts=prompts, finetune=name, random_vectors=2, **STEERED)
    tuned = Checkpoint(str(finetunes / "model"), device="cpu").load()
    contrast = VectorRecipe(MODEL_CONTRAST, name)
    arms = {
        "sham": (model, added(None)),
        "finetune": (tuned, added(None)),
        "contrast +": (model, added(contrast)),
        "contrast -": (model, added(contrast, -STEERED["strength"])),
        "finetune, contrast -": (tuned, added(contrast, -STEERED["strength"])),
        "random 1": (model, added(replace(contrast, seed=0, draw=0))),
        "random 2": (model, added(replace(contrast, seed=0, draw=1))),
    }
    for sample, entry in samples(log, each=1):
        prior, question = tokens_of(loaded().tokenizer, sample)
        measured = sample.scores["introbench/arm_shifts"].metadata
        expected = {}
        for arm, (filler, injected) in arms.items():
            own, _ = two_passes(model, prior, question, injected, filler=filler)
            expected[arm] = yes_and_no(loaded().tokenizer, prior + question, entry, own)
        assert measured["p_yes"] == same({arm: yes for arm, (yes, _) in expected.items()})
        assert measured["p_no"] == same({arm: no for arm, (_, no) in expected.items()})


def test_what_is_on_top_of_the_mind_token_for_token(model: PreTrainedModel, tiny_folder: Path, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "What was that?"}, {"role": "assistant", "content": "I seem to remember"}]
    entry = {"label": "what_was_that", "messages": turns, "yes_token": "", "no_token": "", "extra": {}}
    (tmp_path / "what_was_that.json").write_text(json.dumps(entry))
    log = evaluate(
        "top_of_mind",
        tiny_folder,
        tmp_path / "logs",
        prompts=str(tmp_path / "what_was_that.json"),
        layers=STEERED["layers"],
        strengths=STEERED["strength"],
        temperature=0,
        samples=1,
        length=6,
        **CONCEPTS,
    )
    assert len(log.samples or []) == 2
    for sample in log.samples or []:
        assert [{"role": m.role, "content": m.text} for m in sample.messages[:2]] == turns
        tokenizer = loaded().tokenizer
        tokens = tokenizer.apply_chat_template(turns, continue_final_message=True, return_dict=False)
        records = (sample.output.metadata or {})["arms"]
        assert len(records) == 3
        for record, injected in zip(records, concept_arms(sample).values(), strict=True):
            written: list[int] = []
            logprobs = []
            for _ in range(6):
                *before, last = tokens + written
                steered, _ = two_passes(model, before, [last], injected, to_the_end=True)
                clean, _ = two_passes(model, before, [last], {})
                written.append(int(steered.argmax()))
                logprobs.append(float(clean[written[-1]]))
            assert record["texts"] == [tokenizer.decode(written)], record["arm"]
            assert record["mean_logprobs"] == pytest.approx([sum(logprobs) / 6], abs=1e-4)
