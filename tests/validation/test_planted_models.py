"""Planted models do what they are said to do, and the instrument says so."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from introbench.analysis.verdict import VERDICTS
from introbench.prompts import schema
from introbench.prompts.battery import battery
from introbench.prompts.chat import answer_token, tokenize_chat
from introbench.prompts.conversation import Conversation
from introbench.validation.circuit import CONSTANT, HIDDEN, Circuit
from introbench.validation.error_rates import confusion_matrix, error_rates, found_in_most, power_curve
from introbench.validation.planted_models import BLOCKS, STEERED, concepts_of, planted_model
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Case, Outcome, run_case, run_cases
from introbench.validation.word_tokenizer import NOUNS, word_tokenizer

STEP = 0.05 * CONSTANT


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@cache
def planted(name: str) -> LlamaForCausalLM:
    return planted_model(PLANTED[name], 0, word_tokenizer())


@cache
def asked(document: str = "none") -> list[Conversation]:
    return list(
        battery(
            word_tokenizer(),
            documents=[document],
            families=(*schema.FAMILIES, schema.SALIENCE),
            formats=None,
            system="",
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
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, each: Conversation, added: torch.Tensor | None = None
) -> tuple[float, torch.Tensor]:
    """Log-odds of the first forms in one pass, with something added to the prior turn in the middle third."""
    chat = tokenize_chat(tokenizer, each.messages, each.prior_messages)

    def add(_module, _args, output):
        steered = output.clone()
        steered[:, : chat.prior] += added
        return steered

    layers = model.model.layers[STEERED : 2 * STEERED] if added is not None else []
    handles = [layer.register_forward_hook(add) for layer in layers]
    with torch.inference_mode():
        logprobs = model(torch.tensor([chat.tokens])).logits[0, -1].log_softmax(-1)
    for handle in handles:
        handle.remove()
    yes, no = (answer_token(tokenizer, chat, forms[0]) for _, forms in each.answers.forms)
    return float(logprobs[yes] - logprobs[no]), logprobs


def shift(name: str, tokenizer: PreTrainedTokenizerFast, direction: torch.Tensor, family: str) -> float:
    """Mean shift of a family's questions, toward "noticed" where there is such a side."""
    model, moved = planted(name), []
    for each in asked():
        if each.factors["format"] == "yes-no" and each.factors["family"] == family:
            sign = -1 if each.factors["reversed"] else 1
            odds = [log_odds(model, tokenizer, each, added)[0] for added in (STEP * direction, None)]
            moved.append(sign * (odds[0] - odds[1]))
    return sum(moved) / len(moved)


def test_circuit_multiplies_exactly_and_averages_what_it_attends_to():
    circuit = Circuit(4, 2, {"mark": 1, "number": 1, "mean": 1, "product": 1})
    for token, number in enumerate((0.5, -2.0, 3.0, 1.0)):
        circuit.embed(token, circuit.read("number", weight=number) + circuit.read("mark", weight=float(token < 2)))
    circuit.attend(0, circuit.read("mark", weight=30.0), [(circuit.read("number"), circuit.read("mean"))])
    circuit.multiply(1, circuit.read("number"), circuit.read("mean"), circuit.read("product"))
    with torch.inference_mode():
        stream = circuit.model(torch.tensor([[0, 1, 2, 3]]), output_hidden_states=True).hidden_states[1][0]
        passed = circuit.model.model.layers[1](
            stream[None], position_embeddings=circuit.model.model.rotary_emb(stream[None], torch.arange(4)[None])
        )[0]
    mean = stream[:, 3]
    assert torch.allclose(mean, torch.tensor([0.5, -0.75, -0.75, -0.75]), rtol=2e-3)  # the norm varies a little
    assert torch.allclose(passed[:, 4], stream[:, 2] * mean, rtol=2e-3)


def test_circuit_refuses_more_parts_than_it_has_room_for():
    with pytest.raises(ValueError, match=f"{HIDDEN + 1} dimensions"):
        Circuit(4, 1, {"large": HIDDEN})


def test_every_answer_format_is_read_and_answered_with_its_labels(words):
    """The log-odds of yes do not depend on which labels stand for yes and no."""
    by_question: dict[str, dict[str, float]] = {}
    for each in asked():
        odds, logprobs = log_odds(planted("introspector"), words, each)
        by_question.setdefault(each.factors["question"], {})[each.factors["format"]] = odds
        chat = tokenize_chat(words, each.messages, each.prior_messages)
        mass = sum(float(logprobs[answer_token(words, chat, forms[0])].exp()) for _, forms in each.answers.forms)
        assert mass > 0.99, each.id
    several = [list(formats.values()) for formats in by_question.values() if len(formats) > 1]
    assert len(several) >= 10
    assert all(max(odds) - min(odds) < 0.05 for odds in several)
    assert len({round(odds[0], 2) for odds in several}) > 5


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
        ("yes-bias", "always_no", 0.7, 2.0),
        ("flattener", "always_no", 0.5, 2.5),
        ("perturbation detector", "introspection", 0.7, 2.0),
        ("salience reader", "introspection", -0.6, 0.6),
        ("salience reader", "salience", -0.6, 0.6),
    ],
)
def test_what_is_said_to_act_whatever_is_injected_does_under_a_random_direction(words, name, family, low, high):
    draw = torch.Generator().manual_seed(0)
    several = [torch.nn.functional.normalize(torch.randn(HIDDEN, generator=draw), dim=0) for _ in range(2)]
    moved = [shift(name, words, each, family) for each in several]
    assert low < sum(moved) / len(moved) < high


def test_the_namer_names_and_the_numb_does_not_think_of_it(words):
    each = asked()[0]
    noun = words.convert_tokens_to_ids("volcano")
    gains = {}
    for name in ("namer", "introspector"):
        added = STEP * code_of(planted(name), words, "volcano")
        gains[name] = float(
            log_odds(planted(name), words, each, added)[1][noun] - log_odds(planted(name), words, each)[1][noun]
        )
    assert gains["namer"] > 5
    assert abs(gains["introspector"]) < 1


def test_the_document_moves_the_document_driven_model(words):
    for name, more in (("document-driven", True), ("introspector", False)):
        told, untold = (
            next(each for each in asked(document) if each.factors["question"] == "detect")
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


@pytest.mark.parametrize("name", PLANTED)
def test_the_instrument_gives_the_right_verdict(name):
    families = ["introspection", "always_no", "always_yes", "salience"]
    outcome = run_case(Case(name, seed=0), concepts=concepts_of(0, 4), families=families)
    assert outcome.verdict == PLANTED[name].verdict


def test_every_verdict_but_inconclusive_and_the_opposites_is_planted():
    opposites = {"moves the other way", "no-bias", "sharpening"}  # the same numbers with the sign turned
    assert {truth.verdict for truth in PLANTED.values()} == set(VERDICTS) - opposites - {"inconclusive"}


def outcome(name: str, verdict: str, effect: float | None = None, seed: int = 0) -> Outcome:
    return Outcome(Case(name, seed, effect), verdict, 0.3, 0.2, 0.4)


def test_error_rates_count_claims_by_truth():
    outcomes = [
        *(outcome("deaf", "no effect", seed=seed) for seed in range(3)),
        outcome("yes-bias", "tracks the concept"),
        outcome(SCALED, "tracks the concept"),
        outcome(SCALED, "inconclusive", seed=1),
        outcome(SCALED, "inconclusive", effect=0.1),  # of the power curve, not of the matrix
    ]
    assert error_rates(outcomes) == {"false": (1, 4), "found": (1, 2)}
    table = confusion_matrix(outcomes)
    assert "3/3 = 100.0%" in table
    assert "1/2 = 50.0%" in table


def test_the_power_curve_finds_where_most_are_found():
    outcomes = [
        outcome(SCALED, "tracks the concept" if seed < found else "inconclusive", effect, seed)
        for effect, found in ((0.1, 3), (0.2, 8), (0.4, 10))
        for seed in range(10)
    ]
    assert found_in_most(outcomes) == 0.2
    row = next(line for line in power_curve(outcomes).splitlines() if line.startswith("| 0.1 "))
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["0.1", "+0.300", "0.100"]  # half of 0.4 - 0.2
    assert "3/10 = 30.0%" in row
    assert found_in_most(outcomes[:10]) is None


def test_outcomes_are_kept_and_not_run_again(tmp_path, monkeypatch):
    kept = tmp_path / "outcomes.jsonl"
    known = [outcome("deaf", "no effect"), replace(outcome("deaf", "no effect", seed=1), low=float("nan"))]
    kept.write_text("".join(each.to_json() + "\n" for each in known))
    found = list(run_cases([each.case for each in known], kept, workers=1))
    assert [each.to_json() for each in found] == [each.to_json() for each in known]
