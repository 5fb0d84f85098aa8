"""A tokenizer whose tokens are words: those of the instrument's own texts, and nouns to inject."""

from collections.abc import Iterable
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from introbench.prompts import data

BEGIN, SYSTEM, USER, ASSISTANT, END, OVER, UNKNOWN = SPECIAL = (
    "<begin>",
    "<system>",
    "<user>",
    "<assistant>",
    "<end>",
    "<over>",
    "<unknown>",
)
"""`OVER` ends a turn of the assistant, `END` every other."""

PIECES = 3000
"""Pieces that `piece_tokenizer` has at most: enough for every word of the texts."""


# fmt: off
NOUNS = (
    "volcano", "violin", "pepper", "castle", "dolphin", "lantern", "orchid", "compass", "thunder", "saddle",
    "marble", "falcon", "glacier", "ribbon", "copper", "pumpkin", "velvet", "anchor", "cactus", "feather", "hammer",
    "biscuit", "jungle", "kettle", "lemon", "mirror", "needle", "oyster", "parrot", "quartz", "rocket", "spider",
    "temple", "umbrella", "vinegar", "whistle", "zebra", "barrel", "candle", "dragon", "carpet", "forest", "guitar",
    "honey", "ivory", "jacket", "lobster", "meadow",
)
# fmt: on
"""What can be injected; none of them is a word of the instrument's texts."""

_TEMPLATE = (
    "{{ '" + BEGIN + "' }}{% for message in messages %}"
    "{{ '<' + message.role + '>' + message.content }}"
    "{{ '" + OVER + "' if message.role == 'assistant' else '" + END + "' }}{% endfor %}"
)


@cache
def word_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, with a chat template."""
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[A-Za-z]+|[^A-Za-z]"), behavior="isolated")]
    )
    seen: dict[str, None] = dict.fromkeys(SPECIAL)
    for text in _texts():
        seen |= dict.fromkeys(word for word, _ in split.pre_tokenize_str(text))
    if taken := sorted(set(NOUNS) & set(seen)):
        raise ValueError(f"nouns {', '.join(taken)}: expected none of the instrument's own words")
    seen |= dict.fromkeys(NOUNS)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(seen)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    return _with_template(tokenizer)


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of pieces of bytes (BPE), which knows the words of the same texts, with the same chat template.

    For some families transformers cuts texts by bytes whatever a folder's tokenizer says.
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
    made = _with_template(tokenizer)
    made.bos_token = BEGIN  # the template writes it, so that it can be checked that there is one
    return made


def _with_template(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=UNKNOWN, additional_special_tokens=[*SPECIAL[:-1]]
    )
    made.chat_template = _TEMPLATE
    return made


def _texts() -> Iterable[str]:
    """Whatever the introspection task lets a model read, and the answers that it reads."""
    told = data.setting()
    yield from (told.setting, *told.location.values(), told.reply)
    documents = data.documents()
    for document in documents.values():
        yield from (document.text, document.words, document.words.title(), *document.sentences, *document.fillers)
    yield from (question.text for question in data.questions())
    for each in data.answer_formats().values():
        yield from (each.instruction, each.prefill, *(form for pair in each.forms for form in pair))
    yield from data.openings()
    yield from (message["content"] for message in data.top_of_mind())
    yield from (message["content"] for messages, _ in data.carriers("") for message in messages)
    yield "Please talk about anything."
