"""The shifts of planted models are those that their truths name."""

from functools import cache

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from introbench.prompts import data, schema
from introbench.prompts.battery import battery
from introbench.prompts.chat import answer_token, tokenize_chat
from introbench.prompts.conversation import Conversation
from introbench.validation.circuit import CONSTANT, HIDDEN
from introbench.validation.planted_models import BLOCKS, STEERED, concepts_of, planted_model
from introbench.validation.planted_truths import PLANTED
from introbench.validation.word_tokenizer import NOUNS, word_tokenizer

STEP = 0.05 * CONSTANT


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@cache
def planted(name: str) -> LlamaForCausalLM:
    return planted_model(PLANTED[name], 0, word_tokenizer())


@cache
def asked(document: str = "none", in_words: bool = True) -> list[Conversation]:
    """Questions under a document: those whose turn it is in words, half of all, or those of every format."""
    return list(
        battery(
            word_tokenizer(),
            documents=[document],
            families=(*schema.FAMILIES, schema.SALIENCE),
            formats=["yes-no"] if in_words else None,
            system="",
            kinds=[*data.answer_kinds()],
        )
    )


def code_of(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, noun: str) -> torch.Tensor:
    """The direction in which a noun's mention moves the residual stream."""

    def last_residual(word: str) -> torch.Tensor:
        chat = tokenize_chat(
            tokenizer, [{"role": "user", "content": word}, {"role": "assistant", "content": "Well,"}], 0
        )
        with torch.inference_mode():
            return model(torch.tensor([chat.tokens]), output_hidden_states=True).hidden_states[STEERED][0, -1]

    direction = last_residual(noun) - last_residual("anything")
    return direction / direction.norm()


def log_odds(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    conversation: Conversation,
    added: torch.Tensor | None = None,
) -> tuple[float, torch.Tensor]:
    """Log-odds of the first forms in one pass, with something added to the prior turn in the middle third."""
    chat = tokenize_chat(tokenizer, conversation.messages, conversation.prior_messages)

    def add(_module, _args, output):
        steered = output.clone()
        steered[:, : chat.prior] += added
        return steered

    layers = model.model.layers[STEERED : 2 * STEERED] if added is not None else []
    handles = [layer.register_forward_hook(add) for layer in layers]
    with torch.inference_mode():
        logprobs = model(torch.tensor([chat.tokens]), logits_to_keep=1).logits[0, -1].log_softmax(-1)
    for handle in handles:
        handle.remove()
    yes, no = (answer_token(tokenizer, chat, forms[0]) for _, forms in conversation.answers.forms)
    return float(logprobs[yes] - logprobs[no]), logprobs


@cache
def questions_of(name: str, family: str) -> list[tuple[Conversation, float]]:
    """A family's questions in words, and a planted model's log-odds where nothing is added."""
    return [
        (conversation, log_odds(planted(name), word_tokenizer(), conversation)[0])
        for conversation in asked()
        if conversation.factors["family"] == family
    ]


def shift(name: str, tokenizer: PreTrainedTokenizerFast, direction: torch.Tensor, family: str) -> float:
    """Mean shift of a family's questions, toward "noticed" where there is such a side."""
    model, shifts = planted(name), []
    for conversation, baseline in questions_of(name, family):
        sign = -1 if conversation.factors["reversed"] else 1
        shifts.append(sign * (log_odds(model, tokenizer, conversation, STEP * direction)[0] - baseline))
    return sum(shifts) / len(shifts)


@pytest.mark.slow
def test_every_answer_format_is_read_and_answered_with_its_labels(words):
    """The log-odds of yes do not depend on which labels stand for yes and no."""
    by_question: dict[str, dict[str, float]] = {}
    for question in asked(in_words=False):
        odds, logprobs = log_odds(planted("introspector"), words, question)
        by_question.setdefault(question.factors["question"], {})[question.factors["format"]] = odds
        chat = tokenize_chat(words, question.messages, question.prior_messages)
        mass = sum(float(logprobs[answer_token(words, chat, forms[0])].exp()) for _, forms in question.answers.forms)
        assert mass > 0.99, question.id
    in_many_formats = [list(formats.values()) for formats in by_question.values() if len(formats) > 1]
    assert len(in_many_formats) >= 10
    assert all(max(odds) - min(odds) < 0.05 for odds in in_many_formats)
    assert len({round(odds[0], 2) for odds in in_many_formats}) > 5


def test_an_introspector_answers_about_concepts_and_not_about_directions(words):
    code = code_of(planted("introspector"), words, "volcano")
    assert 1.0 < shift("introspector", words, code, "introspection") < 1.8
    assert abs(shift("introspector", words, code, "always_no")) < 0.4
    random = torch.nn.functional.normalize(torch.randn(HIDDEN, generator=torch.Generator().manual_seed(0)), dim=0)
    assert abs(shift("introspector", words, random, "introspection")) < 0.6


@pytest.mark.parametrize(
    ("name", "family", "low", "high"),
    [
        ("yes-bias", "always_yes", 1.0, 2.0),
        ("yes-bias", "always_no", 1.0, 2.0),
        ("flattener", "always_yes", -2.5, -0.7),
        ("flattener", "always_no", 0.7, 2.5),
        ("perturbation detector", "introspection", 0.9, 2.0),
        ("salience reader", "introspection", 1.0, 1.8),
        ("namer", "introspection", -0.4, 0.4),
        ("document-driven", "introspection", -0.4, 0.4),
        ("deaf", "introspection", -1e-4, 1e-4),
    ],
)
def test_planted_models_shift_what_they_are_said_to(words, name, family, low, high):
    assert low < shift(name, words, code_of(planted(name), words, "volcano"), family) < high


@pytest.mark.parametrize(
    ("name", "family", "low", "high"),
    [
        pytest.param("yes-bias", "always_no", 0.7, 2.0, marks=pytest.mark.slow),
        pytest.param("flattener", "always_no", 0.5, 2.5, marks=pytest.mark.slow),
        ("perturbation detector", "introspection", 0.7, 2.0),
        ("salience reader", "introspection", -0.6, 0.6),
        pytest.param("salience reader", "salience", -0.6, 0.6, marks=pytest.mark.slow),
    ],
)
def test_what_is_said_to_act_whatever_is_injected_does_under_a_random_direction(words, name, family, low, high):
    draw = torch.Generator().manual_seed(0)
    directions = [torch.nn.functional.normalize(torch.randn(HIDDEN, generator=draw), dim=0) for _ in range(2)]
    shifts = [shift(name, words, direction, family) for direction in directions]
    assert low < sum(shifts) / len(shifts) < high


def test_the_namer_names_and_the_numb_does_not_think_of_it(words):
    question = asked()[0]
    noun = words.convert_tokens_to_ids("volcano")
    gains = {}
    for name in ("namer", "introspector"):
        added = STEP * code_of(planted(name), words, "volcano")
        gains[name] = float(
            log_odds(planted(name), words, question, added)[1][noun] - log_odds(planted(name), words, question)[1][noun]
        )
    assert gains["namer"] > 5
    assert abs(gains["introspector"]) < 1


def test_the_document_moves_the_document_driven_model(words):
    for name, more in (("document-driven", True), ("introspector", False)):
        told, untold = (
            next(question for question in asked(document) if question.factors["question"] == "detect")
            for document in ("info", "neutral")
        )
        moved = log_odds(planted(name), words, told)[0] - log_odds(planted(name), words, untold)[0]
        assert (moved > 1) == more
        assert moved > 1 or abs(moved) < 0.05


def test_seeds_draw_concepts_codes_and_leanings_anew(words):
    assert concepts_of(0) != concepts_of(1)
    assert concepts_of(0) == concepts_of(0)
    assert set(concepts_of(3)) < set(NOUNS)
    truth = PLANTED["deaf"]
    one, same, other = (planted_model(truth, seed, words).model.embed_tokens.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert planted("deaf").config.num_hidden_layers == BLOCKS
