"""Self-checks: runs that are as they should be pass, and each way to be broken ends the run under its own name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate
from inspect_ai.log import EvalLog
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from introbench.checks.record import SECONDS
from introbench.checks.self_checks import CHECKS
from introbench.engine import Engine, Reading, Request, engine
from introbench.engine.packed_path import FastPath
from introbench.errors import SelfCheckError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import answers, chat
from introbench.prompts.answers import Answers
from introbench.prompts.chat import Chat, next_token, render
from introbench.prompts.tokenized import TokenizedQuestion
from introbench.provider import questions, resident
from introbench.provider.inject_api import InjectAPI
from introbench.provider.loaded_model import LoadedModel
from introbench.report import log as log_report
from introbench.report.self_checks import summary
from introbench.steering.deltas import _Deltas
from introbench.steering.injection import Injection, Strength, VectorRecipe, sham
from introbench.steering.vectors import VectorLibrary
from introbench.validation.tiny_models import tiny_model

SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread"],
    "documents": ["none"],
    "families": ["introspection"],
    "formats": ["yes-no"],
    "layers": "1:3",
    "strength": 3,
    "random_vectors": 1,
    "limit": 4,
}
TURNS = (
    ("system", ""),
    ("user", "In half of my runs I place a thought in you."),
    ("assistant", "So be it."),
    ("user", "Do you detect a thought?"),
    ("assistant", "The answer is"),
)
YES_NO = Answers.of({"yes": [" yes"], "no": [" no"]})
CATS, BREAD = VectorRecipe("pca_center", "cats"), VectorRecipe("pca_center", "bread")
BANK = (sham((1, 3)), *(Injection(vector, (1, 3), Strength(3.0)) for vector in (CATS, BREAD, replace(CATS, seed=0))))


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    """A runtime that has failed answers nothing any more."""
    resident.RESIDENT.clear()
    yield
    resident.RESIDENT.clear()


def folder_of(architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, **options: object) -> Path:
    options |= {"n_positions": 1024} if architecture == "gpt2" else {"max_position_embeddings": 1024}
    if architecture == "gemma2":
        options |= {"sliding_window": 512}
    tiny_model(architecture, vocab_size=49152, **options).save_pretrained(tmp_path / architecture)
    tokenizer.save_pretrained(tmp_path / architecture)
    return tmp_path / architecture


def asked_of(folder: Path, turns: Sequence[tuple[str, str]] = TURNS, read: Answers = YES_NO) -> TokenizedQuestion:
    return InjectAPI(str(folder)).questions.of((tuple(turns), read), 3).tokenized


def record_of(log: EvalLog) -> dict[str, Any]:
    assert log.status == "success", log.error
    assert log.samples
    return (log.samples[0].output.metadata or {})["self_checks"]


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gpt2", "falcon"])
def test_a_run_that_is_as_it_should_be_passes(
    architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    log = evaluate("introspection", folder_of(architecture, tokenizer, tmp_path), tmp_path, **SMALL)
    record = record_of(log)
    assert set(record) == set(CHECKS) | {SECONDS}
    assert not [name for name, value in record.items() if str(value).startswith("not checked")]
    for name in ("sham is plain", "cache is clean", "spans"):
        assert record[name] < 1e-4
    assert record["arms in order"] > 1e-3
    (line,) = [line for line in log_report.log_table(log.location).splitlines() if line.startswith("Self-checks:")]
    assert line.startswith("Self-checks: 12 passed (")
    assert "sham is plain" in line
    assert line.endswith("% of the time.")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_checked_too(tiny_folder: Path, dtype: str) -> None:
    runtime = LoadedModel(Checkpoint(str(tiny_folder), dtype=dtype))
    runtime.read(asked_of(tiny_folder), BANK)
    found = runtime.self_checks(BANK).values
    assert found["float32 readout"] == "ok"
    assert 0 < float(found["spans"]) < 0.3


@pytest.mark.parametrize("architecture", ["llama", "falcon"])
def test_every_kind_of_arm_is_compared(architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    folder = folder_of(architecture, tokenizer, tmp_path)
    runtime = LoadedModel(Checkpoint(str(folder)))
    cats = BANK[1]
    kinds = [
        [replace(cats, steering="active")],
        [replace(cats, spans=((2, 5, 1.0), (7, 9, 0.5))), replace(cats, spans=((4, 6, 1.0),))],
        [replace(cats, strength=Strength(-3.0)), replace(cats, layers=(2, 3))],
        [replace(cats, batch=0), replace(sham((1, 3)), batch=1), replace(cats, vector=BREAD, batch=1)],
    ]
    for number, kind in enumerate(kinds):
        bank = (sham((1, 3)), *kind)
        runtime.begin_run()
        runtime.read(asked_of(folder), bank)
        found = runtime.self_checks(bank).values
        assert float(found["spans"]) < 1e-4, number
        assert number == 0 or float(found["arms in order"]) > 1e-3


def test_what_cannot_be_checked_says_so(tiny_folder: Path) -> None:
    runtime = LoadedModel(Checkpoint(str(tiny_folder)))
    asked = asked_of(tiny_folder)
    for bank in (BANK[:1], BANK[:2], BANK[:3]):
        runtime.read(asked, bank)
    assert runtime.self_checks(BANK[:1]).values["spans"] == "not checked: nothing is injected"
    assert runtime.self_checks(BANK[:3]).values["spans"] == "not checked: on banks 1, 2, 4, 8 and so on of a run alone"
    absurd = (BANK[0], replace(BANK[1], strength=Strength(1e300)))
    runtime.read(asked, absurd)
    assert runtime.self_checks(absurd).values["finite"] == "ok", "arms that are not finite are counted elsewhere"


# --- what breaks a run ---


def rewritten(change: Callable[[Request], Request]) -> Callable[[pytest.MonkeyPatch], None]:
    """The engine runs something else than it is asked for, where that leaves a question."""

    def spoil(patch: pytest.MonkeyPatch) -> None:
        read = Engine.read

        def changed(self: Engine, requests: Sequence[Request]) -> list[Reading]:
            return read(
                self,
                [change(request) if request.arms and len(request.question) > 1 else request for request in requests],
            )

        patch.setattr(Engine, "read", changed)

    return spoil


def reread(change: Callable[[Reading], Reading]) -> Callable[[pytest.MonkeyPatch], None]:
    """The engine answers something else than it has read."""

    def spoil(patch: pytest.MonkeyPatch) -> None:
        read = Engine.read
        patch.setattr(Engine, "read", lambda self, requests: [change(reading) for reading in read(self, requests)])

    return spoil


def by_tokens(change: Callable[[Chat], Chat]) -> Callable[[pytest.MonkeyPatch], None]:
    """Chats are cut elsewhere than they should be."""

    def spoil(patch: pytest.MonkeyPatch) -> None:
        tokenize = questions.tokenize_chat
        patch.setattr(questions, "tokenize_chat", lambda *given: change(tokenize(*given)))

    return spoil


def by_logits(change: Callable[[Tensor], Tensor]) -> Callable[[pytest.MonkeyPatch], None]:
    """Logits are not what the readout gave."""

    def spoil(patch: pytest.MonkeyPatch) -> None:
        summarise = engine.summarise
        patch.setattr(engine, "summarise", lambda logits, want: summarise(change(logits), want))

    return spoil


def swapped(reading: Reading) -> Reading:
    if len(reading.logprobs) < 3:
        return reading
    order = [0, 2, 1, *range(3, len(reading.logprobs))]
    return replace(
        reading,
        logprobs=reading.logprobs[order],
        top_ids=reading.top_ids[order],
        top_logprobs=reading.top_logprobs[order],
    )


def leave_a_hook(patch: pytest.MonkeyPatch) -> None:
    read = Engine.read

    def and_leave(self: Engine, requests: Sequence[Request]) -> list[Reading]:
        self.parts.layers[1].register_forward_hook(lambda *_: None)
        return read(self, requests)

    patch.setattr(Engine, "read", and_leave)


def swap_what_is_added(patch: pytest.MonkeyPatch) -> None:
    added = _Deltas.__getitem__

    def others(self: _Deltas, layer: int) -> Tensor:
        rows = added(self, layer)
        return rows[[0, 2, 1, *range(3, len(rows))]] if len(rows) > 2 else rows

    patch.setattr(_Deltas, "__getitem__", others)


def forget_a_vector(patch: pytest.MonkeyPatch) -> None:
    directions = VectorLibrary.directions
    patch.setattr(
        VectorLibrary,
        "directions",
        lambda self, recipe: directions(self, recipe) * (recipe.concept != "bread" or recipe.is_random),
    )


def add_to_the_sham(patch: pytest.MonkeyPatch) -> None:
    added = _Deltas.__getitem__

    def more(self: _Deltas, layer: int) -> Tensor:
        rows = added(self, layer)
        rows[0] += 0.05
        return rows

    patch.setattr(_Deltas, "__getitem__", more)


def leave_traces(patch: pytest.MonkeyPatch) -> None:
    """What was asked stays in the keys that the next question is answered from."""
    ask = FastPath._ask

    def and_stay(self: FastPath, arms: Any, *rest: Any) -> Any:
        seen = ask(self, arms, *rest)
        assert self._filled
        for _, values in self._filled[2]._blocks.values():
            values[0, :, :5] += 1.0
        return seen

    patch.setattr(FastPath, "_ask", and_stay)


def leak_between_rows(patch: pytest.MonkeyPatch) -> None:
    """The sham's values take up something of the next arm's, where several share a batch."""
    fill = FastPath._fill

    def and_leak(self: FastPath, arms: Any, *rest: Any) -> Any:
        filled = fill(self, arms, *rest)
        if arms.rows > 2:
            for _, values in filled._blocks.values():
                values[0] = values[:2].mean(dim=0)
        return filled

    patch.setattr(FastPath, "_fill", and_leak)


def begin_twice(patch: pytest.MonkeyPatch) -> None:
    encode = chat.encode

    def twice(tokenizer: Any, text: str) -> tuple[int, ...]:
        tokens = encode(tokenizer, text)
        return (tokenizer.bos_token_id, *tokens) if text.startswith(tokenizer.bos_token) else tokens

    patch.setattr(chat, "encode", twice)


def nan_in_the_sham(logits: Tensor) -> Tensor:
    return logits.index_fill(0, torch.tensor([0]), torch.nan)


BROKEN: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "a token too few is steered": ("spans", rewritten(lambda cut: replace(cut, prior=cut.prior - 1))),
    "a token too many is steered": ("spans", rewritten(lambda cut: replace(cut, prior=cut.prior + 1))),
    "the prior turn is cut too early": ("spans", by_tokens(lambda cut: replace(cut, prior=cut.prior - 1))),
    "the prior turn is cut too late": ("spans", by_tokens(lambda cut: replace(cut, prior=cut.prior + 1))),
    "another token is run": (
        "spans",
        rewritten(lambda run: replace(run, tokens=(*run.tokens[:9], run.tokens[9] + 1, *run.tokens[10:]))),
    ),
    "a hook is left on": ("hooks gone", leave_a_hook),
    "a vector of zeros": ("vectors live", forget_a_vector),
    "two arms' numbers are swapped": ("arms in order", reread(swapped)),
    "two arms' vectors are swapped": ("arms in order", swap_what_is_added),
    "a rounded readout": ("float32 readout", by_logits(lambda logits: logits.bfloat16().float())),
    "a readout in half precision": (
        "same shape",
        reread(lambda reading: replace(reading, logprobs=reading.logprobs.bfloat16())),
    ),
    "the cache keeps traces": ("cache is clean", leave_traces),
    "the cache leaks between arms": ("cache is clean", leak_between_rows),
    "something is added to the sham": ("sham is plain", add_to_the_sham),
    "two BOS": ("one BOS", begin_twice),
    "NaN in the sham": ("finite", by_logits(nan_in_the_sham)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_run_ends_by_name(
    how: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, spoil = BROKEN[how]
    spoil(monkeypatch)
    folder = tmp_path / "model"  # a name of its own: Inspect keeps models, and they keep their questions
    folder.symlink_to(tiny_folder)
    log = evaluate("introspection", folder, tmp_path, **SMALL)
    assert log.status == "error"
    assert log.error
    assert log.error.message.startswith(f'self-check "{name}": found '), log.error.message
    assert ", expected " in log.error.message
    assert "\n" not in log.error.message
    assert not [sample for sample in log.samples or [] if sample.scores]


def test_an_answer_form_of_several_tokens_ends_the_run(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "answer_token", next_token)
    slipped = asked_of(tiny_folder, read=Answers.of({"yes": [" yes, truly"], "no": [" no"]}))
    with pytest.raises(SelfCheckError, match="self-check \"single tokens\": found answer form ' yes, truly' to be"):
        LoadedModel(Checkpoint(str(tiny_folder))).read(slipped, BANK)


def test_a_prior_turn_that_changes_ends_the_run(
    tiny_folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trusting(tokenizer: Any, messages: Any, prior_messages: int) -> Chat:
        text, prior = render(tokenizer, messages), render(tokenizer, messages[:prior_messages], prefill=False)
        return Chat(text, chat.encode(tokenizer, text), len(chat.encode(tokenizer, prior)))

    template = tmp_path / "template.jinja"
    template.write_text(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if loop.last and m['content'] == 'So be it.' %}(thinking) {% endif %}{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}"
    )
    monkeypatch.setattr(questions, "tokenize_chat", trusting)
    checkpoint = Checkpoint(str(tiny_folder), chat_template=str(template))
    api = InjectAPI(str(tiny_folder), chat_template=str(template))
    asked = api.questions.of((TURNS, YES_NO), 3).tokenized
    with pytest.raises(SelfCheckError, match='self-check "prefix stable": found another token at'):
        LoadedModel(checkpoint).read(asked, BANK)


def test_nothing_is_read_after_a_failure(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = LoadedModel(Checkpoint(str(tiny_folder)))
    with monkeypatch.context() as patch:
        reread(swapped)(patch)
        with pytest.raises(SelfCheckError, match="arms in order") as failure:
            runtime.read(asked_of(tiny_folder), BANK)
    with pytest.raises(SelfCheckError) as again:
        runtime.read(asked_of(tiny_folder), BANK[:2])
    assert again.value is failure.value
    runtime.begin_run()
    runtime.read(asked_of(tiny_folder), BANK[:2])  # what an earlier run found is not held against the next one
    assert runtime.self_checks(BANK[:2]).values["arms in order"] != "ok"


def test_the_line_takes_the_worst_of_all_banks() -> None:
    later = "not checked: on banks 1, 2, 4, 8 and so on of a run alone"
    records = [
        {"finite": "ok", "spans": 1e-6, "arms in order": 0.5, "one BOS": "not checked: no BOS", SECONDS: 1.0},
        {"finite": "ok", "spans": 3e-6, "arms in order": 0.2, "one BOS": "not checked: no BOS", SECONDS: 0.5},
        {"finite": "ok", "spans": later, "arms in order": later, "one BOS": "not checked: no BOS", SECONDS: 0.5},
    ]
    assert summary(records, 100.0) == (
        "Self-checks: 3 passed (finite; spans 3e-06 nats; arms in order 0.2 nats), 2.0% of the time. "
        "one BOS: not checked: no BOS."
    )


def test_the_line_of_a_run_that_was_cut_off_has_seconds() -> None:
    assert summary([{"finite": "ok", SECONDS: 1.5}], 0.0) == "Self-checks: 1 passed (finite), 1.5 s."
