"""The instrument without Inspect: the numbers of the tasks, and models that stay as they were."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import evaluate
from transformers import PreTrainedModel

import introbench
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.notebook.arm_answer import ArmAnswer
from introbench.notebook.steered_model import SteeredModel
from introbench.prompts import data

WORDINGS = {question.id: question for question in data.questions() if question.family == "always_yes"}
QUESTIONS = [question.text for question in WORDINGS.values()]
HOW: dict[str, Any] = {"strength": 3, "layers": "1:3", "random_vectors": 2}


@pytest.fixture(scope="module")
def steered(tiny_folder: Path) -> SteeredModel:
    return introbench.SteeredModel(str(tiny_folder))


@pytest.fixture
def given(tiny_folder: Path) -> PreTrainedModel:
    """A model as somebody has it who trains it: in training mode, with gradients and a hook of their own."""
    model = Checkpoint(str(tiny_folder)).load()
    model.requires_grad_(True)
    model.train()
    model.model.layers[0].mlp.eval()
    model.model.layers[1].register_forward_hook(lambda _m, _a, output: output)
    return model


def state(model: PreTrainedModel) -> dict[str, Any]:
    """Everything of a model that reading must leave alone."""
    modules = dict(model.named_modules())
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in modules.items()},
        "own": {name: sorted(vars(module)) for name, module in modules.items()},
        "weights": {name: (id(w), w.dtype, w.device, w.requires_grad, w._version, w.is_inference())
                    for name, w in [*model.named_parameters(), *model.named_buffers()]},
        "config": model.config.to_json_string(),
        "attention": model.config._attn_implementation,
    }  # fmt: skip


def shifts(answers: list[ArmAnswer]) -> dict[tuple[str, str], float]:
    return {(answer.question, answer.arm): answer.shift for answer in answers}


def test_the_numbers_are_those_of_the_task(steered: SteeredModel, tiny_folder: Path, tmp_path: Path) -> None:
    log = evaluate(
        "introspection", tiny_folder, tmp_path, concepts=["cats", "bread"], documents=["info"], formats=["yes-no"],
        families=["always_yes"], norm_vectors=0, strength=3, layers="1:3", random_vectors=2,
    )  # fmt: skip
    vectors = [steered.vector(concept) for concept in ("cats", "bread")]
    answers = steered.ask(steered.prior_turn("info"), QUESTIONS, vectors, **HOW)
    by_arm = {(answer.question, answer.arm): answer for answer in answers}
    assert len(by_arm) == len(QUESTIONS) * 5 == len(answers)
    seen = set()
    for sample in log.samples or []:
        text = WORDINGS[sample.metadata["question"]].text
        exact = sample.scores["introbench/yes_shift"].metadata
        for record in (sample.output.metadata or {})["arms"]:
            answer = by_arm[text, record["vector"]]
            assert answer.log_odds == pytest.approx(exact["log_odds"][record["arm"]], abs=1e-6)
            assert answer.p_yes == pytest.approx(exact["p_yes"][record["arm"]], abs=1e-6)
            assert answer.p_no == pytest.approx(exact["p_no"][record["arm"]], abs=1e-6)
            assert answer.norm == pytest.approx(record["strength"], abs=1e-6)
            assert answer.dose == pytest.approx(record["dose"], abs=1e-6)
            assert answer.live == record["live"]
            seen.add((text, record["vector"]))
        assert by_arm[text, sample.metadata["concept"]].shift == pytest.approx(exact["shift"], abs=1e-6)
        assert abs(exact["shift"]) > 1e-3
    assert seen == by_arm.keys()


def test_a_question_asked_alone_differs_by_rounding_alone(steered: SteeredModel) -> None:
    cats, chat = steered.vector("cats"), steered.prior_turn("none")
    together = shifts(steered.ask(chat, QUESTIONS[:3], cats, strength=3))
    for answer in steered.ask(chat, QUESTIONS[1], cats, strength=3):
        assert answer.shift == pytest.approx(together[QUESTIONS[1], answer.arm], abs=1e-5)


def test_a_model_that_was_handed_over_gives_the_same_and_stays_as_it_was(
    steered: SteeredModel, given: PreTrainedModel, tokenizer: Any
) -> None:
    before, template = state(given), tokenizer.chat_template
    own = introbench.SteeredModel(given, tokenizer)
    assert state(given) == before
    answers = [
        model.ask(model.prior_turn("info"), QUESTIONS[:2], model.vector("cats"), **HOW) for model in (steered, own)
    ]
    assert state(given) == before
    assert tokenizer.chat_template == template
    assert shifts(answers[1]) == pytest.approx(shifts(answers[0]), abs=1e-5)
    given(torch.tensor([[5, 9, 33]])).logits.sum().backward()
    assert all(weight.grad is not None for weight in given.model.layers.parameters())


def test_a_model_stays_as_it_was_after_an_error_in_the_middle(given: PreTrainedModel, tokenizer: Any) -> None:
    own = introbench.SteeredModel(given, tokenizer)
    cats = own.vector("cats")
    fail = False

    def failing(_module: Any, _args: Any, _output: Any) -> None:
        if fail:
            raise RuntimeError("the test's own error")

    given.model.layers[2].register_forward_hook(failing)
    chat = own.prior_turn("none")
    expected = shifts(own.ask(chat, QUESTIONS[0], cats, **HOW))
    before, fail = state(given), True
    with pytest.raises(RuntimeError, match="the test's own error"):
        own.ask(chat, QUESTIONS[1], cats, **HOW)
    assert state(given) == before
    fail = False
    assert shifts(own.ask(chat, QUESTIONS[0], cats, **HOW)) == pytest.approx(expected, abs=1e-6)


def test_weights_that_have_changed_are_read_anew_and_a_vector_stays_what_it_is(
    given: PreTrainedModel, tokenizer: Any
) -> None:
    own = introbench.SteeredModel(given, tokenizer)
    chat, cats = own.prior_turn("none"), own.vector("cats")
    held = cats.directions.clone()
    first = own.ask(chat, QUESTIONS[0], cats, **HOW)
    with torch.no_grad():
        given.model.layers[3].mlp.down_proj.weight.mul_(1.5)
    second = own.ask(chat, QUESTIONS[0], cats, **HOW)
    assert abs(first[0].log_odds - second[0].log_odds) > 1e-3
    assert torch.equal(cats.directions, held)
    anew = introbench.SteeredModel(given, tokenizer).ask(chat, QUESTIONS[0], cats, **HOW)
    assert shifts(second) == pytest.approx(shifts(anew), abs=1e-6)


def test_vectors_come_from_files_tensors_and_arrays(steered: SteeredModel, tmp_path: Path) -> None:
    cats, chat = steered.vector("cats"), steered.prior_turn("none")
    assert cats.directions.norm(dim=-1).tolist() == pytest.approx([1] * 4)
    np.save(tmp_path / "felines.npy", cats.directions.numpy())
    vectors = [
        cats,
        steered.vector_from(tmp_path / "felines.npy"),
        steered.vector_from(cats.directions, name="tensor"),
        steered.vector_from(cats.directions.numpy(), name="array"),
        steered.vector_from(str(tmp_path / "felines.npy"), name="path"),
    ]
    answers = steered.ask(chat, QUESTIONS[0], vectors, strength=3)
    assert [answer.arm for answer in answers] == ["sham", "cats", "felines", "tensor", "array", "path"]
    assert [answer.kind for answer in answers] == ["sham", *["vector"] * 5]
    assert {answer.shift for answer in answers[2:]} == {answers[1].shift}
    assert abs(answers[1].shift) > 1e-3
    once = steered.vector_from(cats.directions[2], name="one")
    assert torch.equal(once.directions, cats.directions[2].expand(4, -1))


def test_without_vectors_there_is_the_sham_alone(steered: SteeredModel) -> None:
    (alone,) = steered.ask(steered.prior_turn("none"), QUESTIONS[0])
    beside = steered.ask(steered.prior_turn("none"), QUESTIONS[0], steered.vector("cats"))[0]
    assert (alone.arm, alone.kind, alone.shift) == ("sham", "sham", 0)
    assert alone.log_odds == pytest.approx(beside.log_odds, abs=1e-5)
    assert alone.log_odds == pytest.approx(math.log(alone.p_yes / alone.p_no))
    assert alone.mass == pytest.approx(alone.p_yes + alone.p_no)


def test_own_texts_stand_in_the_prior_turn(steered: SteeredModel) -> None:
    chat = steered.prior_turn(text="A text of my own.", system=None)
    assert [message["role"] for message in chat] == ["user", "assistant"]
    assert "A text of my own." in chat[0]["content"]
    assert steered.prior_turn("none", system="Be brief.")[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda m, c, v: m.ask(c, "", v), "question=\\[''\\]: expected a question, or several"),
        (lambda m, c, v: m.ask(c, [], v), "question=\\[\\]: expected"),
        (lambda m, c, v: m.ask("Hello", "So?", v), "chat='Hello': expected messages with role and content"),
        (lambda m, c, v: m.ask([], "So?", v), "chat=\\[\\]: expected messages"),
        (lambda m, c, v: m.ask([{"role": "user"}], "So?", v), "expected messages with role and content"),
        (lambda m, c, v: m.ask(c, "So?", [v, v]), "vectors: 'cats' stands twice"),
        (lambda m, c, v: m.ask(c, "So?", v, strength="strong"), "strength='strong': expected a finite number"),
        (lambda m, c, v: m.ask(c, "So?", v, layers="3:9"), "layers=3:9: expected START:STOP"),
        (lambda m, c, v: m.ask(c, "So?", v, random_vectors=-1), "random_vectors=-1: expected a whole number"),
        (lambda m, c, v: m.ask(c, "So?", v, answer_format="maybe"), "answer_format='maybe': expected one of yes-no"),
        (lambda m, c, v: m.ask(c, "So?", v, steering="late"), "steering='late': expected one of cache, active"),
        (lambda m, c, v: m.vector("cats", "pca"), "method='pca': expected one of pca_center"),
        (lambda m, c, v: m.vector(""), "concept='': expected a name"),
        (lambda m, c, v: m.vector_from("none.npy"), "none.npy: no such file"),
        (lambda m, c, v: m.vector_from({"a": 1}), "is of type dict; expected a path, a tensor or an array"),
        (lambda m, c, v: m.vector_from(torch.ones(3)), "vector: the tensor has shape \\[3\\]: expected \\[32\\]"),
        (lambda m, c, v: m.vector_from(torch.ones(32), name="a\nb"), "expected a name in one line"),
        (lambda m, c, v: m.prior_turn("news"), "document='news': expected one of none, info"),
        (lambda m, c, v: SteeredModel("smollm2", object()), "tokenizer: model 'smollm2' has its own"),
        (lambda m, c, v: SteeredModel("smollm2", size=3), "'size': unknown option; expected one of dtype"),
        (lambda m, c, v: SteeredModel(torch.nn.Linear(2, 2)), "model: is of type Linear; expected a name, a folder"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_in_one_line(call: Any, complaint: str, steered: SteeredModel) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        call(steered, steered.prior_turn("none"), steered.vector("cats"))
    assert "\n" not in str(caught.value)


def test_a_model_without_its_tokenizer_is_refused(given: PreTrainedModel) -> None:
    with pytest.raises(InputError, match="tokenizer: none given"):
        SteeredModel(given)
