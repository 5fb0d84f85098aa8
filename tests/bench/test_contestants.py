"""What the benchmarks compare gives the same numbers: a user's script, Inspect's provider, and the engine."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from introbench.engine import TransformersEngine
from introbench.models.checkpoint import Checkpoint
from introbench.prompts.chat import Chat, tokenize_chat

if TYPE_CHECKING:
    from contestants import Workload


def chats(folder: Path) -> list[Chat]:
    turns = [{"role": "user", "content": "Look within."}, {"role": "assistant", "content": "Ok."}]
    return [
        tokenize_chat(
            Checkpoint(str(folder)).tokenizer,
            [*turns, {"role": "user", "content": question}, {"role": "assistant", "content": "Answer:"}],
            2,
        )
        for question in ("Do you?", "Is there a thought in you that is not yours?", "Why?")
    ]


def workload(folder: Path, rows: int) -> "Workload":
    from contestants import Workload

    made = Workload(str(folder), rows, 3, 0)
    made.__dict__["chats"] = chats(folder)
    return made


@pytest.mark.parametrize("rows", [1, 3])
def test_a_users_script_gives_the_engines_numbers(
    tiny_folder: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import users_script

    monkeypatch.setattr(users_script, "ROWS", 2 * rows)  # two questions at a time, of different lengths
    work = workload(tiny_folder, rows)
    assert [len(batch) for batch in work.script.batches] == [2, 1]
    for reading, logprobs in zip(work.engine.read(work.requests), work.script.run(), strict=True):
        torch.testing.assert_close(logprobs[:, [10, 11, 12, 13]], reading.logprobs, atol=1e-4, rtol=0)
    if rows > 1:
        assert not torch.allclose(logprobs[0], logprobs[1], atol=1e-3), "the vectors do something"


def test_inspects_provider_gives_the_shams_numbers(tiny_folder: Path) -> None:
    from contestants import hf_logprobs

    work = workload(tiny_folder, 1)
    tokenizer = Checkpoint(str(tiny_folder)).tokenizer
    readings = TransformersEngine(work.model).read(work.requests)
    for found, reading in zip(hf_logprobs(work.hf, work.chats), readings, strict=True):
        tokens = tokenizer.convert_ids_to_tokens(reading.top_ids[0].tolist())
        expected = dict(zip(tokens, reading.top_logprobs[0].tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-4)


def test_contestants_take_time_and_only_the_sham_is_for_inspects_provider(tiny_folder: Path) -> None:
    from contestants import CONTESTANTS, able

    work = workload(tiny_folder, 1)
    assert list(able(work)) == list(CONTESTANTS)
    assert "hf provider" not in able(work.same_model(3))
    assert all(contestant(work, sample) > 0 for sample in (0, 1) for contestant in able(work).values())
