"""Self-checks: each way for a run to be broken ends it under the name of a check."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checked_readings import BATCH, SMALL, TURNS, YES_NO, asked_of
from helpers import evaluate
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from introbench.engine import Engine, Reading, Request, engine
from introbench.engine.packed_path import FastPath
from introbench.errors import SelfCheckError
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import answers, chat, readable
from introbench.prompts.answers import Answers
from introbench.prompts.chat import Chat, next_token, render
from introbench.prompts.rendering import apply
from introbench.provider import resident
from introbench.provider.inject_api import InjectAPI
from introbench.provider.loaded_model import LoadedModel
from introbench.steering.deltas import _Deltas
from introbench.steering.vectors import VectorLibrary


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    """A loaded model whose run has failed a check answers nothing any more."""
    resident.RESIDENT.clear()
    yield
    resident.RESIDENT.clear()


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
        tokenize = readable.tokenize_chat
        patch.setattr(readable, "tokenize_chat", lambda *given: change(tokenize(*given)))

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
def test_a_broken_reading_is_refused_by_name(how: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, spoil = BROKEN[how]
    spoil(monkeypatch)
    with pytest.raises(SelfCheckError) as failure:
        LoadedModel(Checkpoint(str(tiny_folder))).read(asked_of(tiny_folder), BATCH)
    message = str(failure.value)
    assert message.startswith(f'self-check "{name}": found '), message
    assert ", expected " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "how",
    [pytest.param(how, marks=[] if how == "two arms' numbers are swapped" else pytest.mark.slow) for how in BROKEN],
)
def test_a_broken_run_ends_by_name(
    how: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, spoil = BROKEN[how]
    spoil(monkeypatch)
    folder = tmp_path / "model"  # a name of its own: Inspect keeps models, and they keep their questions
    folder.symlink_to(tiny_folder)
    log = evaluate("introspection", folder, tmp_path, **SMALL | {"limit": 2})  # Inspect paints every trial's traceback
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
        LoadedModel(Checkpoint(str(tiny_folder))).read(slipped, BATCH)


def test_a_prior_turn_that_changes_ends_the_run(
    tiny_folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trusting(tokenizer: Any, messages: Any, prior_messages: int) -> Chat:
        text, prior = render(tokenizer, messages), apply(tokenizer, messages[:prior_messages])
        return Chat(text, chat.encode(tokenizer, text), len(chat.encode(tokenizer, prior)), prior_text=prior)

    template = tmp_path / "template.jinja"
    template.write_text(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if loop.last and m['content'] == 'So be it.' %}(thinking) {% endif %}{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}"
    )
    monkeypatch.setattr(readable, "tokenize_chat", trusting)
    checkpoint = Checkpoint(str(tiny_folder), chat_template=str(template))
    api = InjectAPI(str(tiny_folder), chat_template=str(template))
    asked = api.questions.of((TURNS, YES_NO), 3).tokenized
    with pytest.raises(SelfCheckError, match='self-check "prefix stable": found another token at'):
        LoadedModel(checkpoint).read(asked, BATCH)


def test_nothing_is_read_after_a_failure(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LoadedModel(Checkpoint(str(tiny_folder)))
    with monkeypatch.context() as patch:
        reread(swapped)(patch)
        with pytest.raises(SelfCheckError, match="arms in order") as failure:
            model.read(asked_of(tiny_folder), BATCH)
    with pytest.raises(SelfCheckError) as again:
        model.read(asked_of(tiny_folder), BATCH[:2])
    assert again.value is failure.value
    model.begin_run()
    model.read(asked_of(tiny_folder), BATCH[:2])  # what an earlier run found is not held against the next one
    assert model.self_checks(BATCH[:2]).values["arms in order"] != "ok"
