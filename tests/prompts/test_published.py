"""Published conversations as conversations of this project: factors, answers, and files that do not suit."""

from pathlib import Path
from typing import Any

import pytest
from published_entries import LABEL, control_question, conversation, free_text, write
from transformers import PreTrainedTokenizerFast

from introbench.errors import InputError
from introbench.prompts import data
from introbench.prompts.published import published


def options(places: list[int]) -> Any:
    return conversation("tell_info-none_mix_03", "", "", {"perm": places}, "Which?", "Number ")


def test_a_control_question_keeps_its_messages_and_gets_factors(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    entry = control_question()
    write(tmp_path, entry)
    (read,) = published(tokenizer, [tmp_path])
    assert read.id == LABEL
    assert [turn["content"] for turn in read.messages] == [turn["content"] for turn in entry["messages"]]
    assert read.prior_messages == 3
    assert read.answers.to_json()["forms"] == {"yes": [" yes"], "no": [" no"]}
    expected = {"document": "manual", "family": "always_no", "question": "tell_no_07", "format": "yes-no"}
    assert {key: read.factors[key] for key in expected} == expected
    assert (read.factors["reversed"], read.factors["expected"]) == (False, "no")


def test_without_a_no_token_yes_is_the_only_answer(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write(tmp_path, control_question() | {"no_token": ""})
    (read,) = published(tokenizer, [tmp_path])
    assert read.answers.names == ("yes",)


def test_a_list_has_a_place_for_nothing_and_for_every_concept(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    order = [3, 0, 1, 2, 4, 5, 6, 7, 8, 9]
    write(tmp_path, options(order))
    (read,) = published(tokenizer, [tmp_path], options=True)
    names = ["", *data.concepts()]
    assert read.factors["options"] == {str(place): names[option] for place, option in enumerate(order)}
    assert read.factors["family"] == "list"
    assert read.answers.names == tuple("0123456789")


@pytest.mark.parametrize(
    ("entry", "as_options", "complaint"),
    [
        (free_text(), False, "messages: no add_injection is missing"),
        (control_question(), True, "extra.perm is missing"),
        (options([0, 1]), True, "extra.perm has 2 places; expected 10"),
        (options([0, 1]), False, "yes_token is missing"),
    ],
)
def test_files_of_another_experiment_are_refused(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, entry: Any, as_options: bool, complaint: str
) -> None:
    write(tmp_path, entry)
    with pytest.raises(InputError, match=complaint):
        published(tokenizer, [tmp_path], options=as_options)


def test_one_label_in_two_folders_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, control_question())
    with pytest.raises(InputError, match="also stands in"):
        published(tokenizer, [tmp_path / "a", tmp_path / "b"])
