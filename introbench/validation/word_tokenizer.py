"""A tokenizer whose tokens are words: the words of the instrument's texts, and nouns to inject."""

from collections.abc import Iterable
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from introbench.prompts import data
from introbench.prompts.schema import AnswerFormat

BEGIN, SYSTEM, USER, ASSISTANT, END, OVER, UNKNOWN = SPECIAL = (
    "<begin>",
    "<system>",
    "<user>",
    "<assistant>",
    "<end>",
    "<over>",
    "<unknown>",
)
"""`OVER` ends a turn of the assistant, `END` every other turn."""

PIECES = 3000
"""Largest vocabulary of `piece_tokenizer`: enough for every word of the texts."""


# fmt: off
NOUNS = (
    "volcano", "violin", "pepper", "castle", "dolphin", "lantern", "orchid", "compass", "thunder", "saddle",
    "marble", "falcon", "glacier", "ribbon", "copper", "pumpkin", "velvet", "anchor", "cactus", "feather", "hammer",
    "biscuit", "jungle", "kettle", "lemon", "mirror", "needle", "oyster", "parrot", "quartz", "rocket", "spider",
    "temple", "umbrella", "vinegar", "whistle", "zebra", "barrel", "candle", "dragon", "carpet", "forest", "guitar",
    "honey", "ivory", "jacket", "lobster", "meadow",
)
# fmt: on
"""Concepts to inject; none of them is a word of the instrument's texts."""

_TEMPLATE = (
    "{{ '" + BEGIN + "' }}{% for message in messages %}"
    "{{ '<' + message.role + '>' + message.content }}"
    "{{ '" + OVER + "' if message.role == 'assistant' else '" + END + "' }}{% endfor %}"
)


@cache
def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a chat template, whose tokens are the words of the instrument's texts and `NOUNS`.

    Raises:
        ValueError: A noun is a word of the texts.
    """
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[A-Za-z]+|[^A-Za-z]"), behavior="isolated")]
    )
    words: dict[str, None] = dict.fromkeys(SPECIAL)  # a set in the order of first use
    for text in _texts():
        words |= dict.fromkeys(word for word, _ in split.pre_tokenize_str(text))
    if taken := sorted(set(NOUNS) & set(words)):
        raise ValueError(f"nouns {', '.join(taken)}: expected none of the instrument's own words")
    words |= dict.fromkeys(NOUNS)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    return _with_template(tokenizer)


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that was trained on the same texts, with the same chat template.

    For some model families, transformers splits texts by bytes whatever tokenizer a folder holds.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[*SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_texts(), *(f" {noun}" for noun in NOUNS)], trainer)
    with_template = _with_template(tokenizer)
    with_template.bos_token = BEGIN  # the template writes it, so that the self-check for a single BOS can be made
    return with_template


def format_texts(answer_format: AnswerFormat) -> list[str]:
    """The texts of an answer format: its instruction, its prefill, and its forms."""
    return [answer_format.instruction, answer_format.prefill, *(form for pair in answer_format.forms for form in pair)]


def _with_template(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer of the tokenizers package as one of transformers, with the chat template."""
    with_template = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, additional_special_tokens=[*SPECIAL[:-1]]
    )
    with_template.chat_template = _TEMPLATE
    return with_template


def _texts() -> Iterable[str]:
    """All texts that the introspection task shows to a model, and the answers that are read."""
    setting = data.setting()
    yield from (setting.setting, *setting.location.values(), setting.reply)
    documents = data.documents()
    for document in documents.values():
        yield from (document.text, document.words, document.words.title(), *document.sentences, *document.fillers)
    yield from (question.text for question in data.questions())
    for answer_format in data.answer_formats().values():
        yield from format_texts(answer_format)
    yield from data.openings()
    yield from (message["content"] for message in data.top_of_mind())
    yield from (message["content"] for messages, _ in data.carriers("") for message in messages)
    yield "Please talk about anything."
