"""Self-checks of what a question is as tokens: it is rendered and tokenised again, and compared with what was run."""

from itertools import pairwise
from typing import Any

from introbench.checks.record import Value
from introbench.errors import InputError, SelfCheckError
from introbench.prompts.round_trip import normalised
from introbench.prompts.tokenized import QuestionSource, TokenizedQuestion

_PROBE = "Is it so?"
_OTHER_QUESTION = "Is this another question?"


def text_checks(tokenizer: Any, question: TokenizedQuestion) -> dict[str, Value]:
    """Check a question's tokens against the texts that it came from.

    Args:
        tokenizer: The model's tokenizer.
        question: The question.

    Returns:
        What each check found, by name.

    Raises:
        SelfCheckError: The tokens are not those of the texts.
    """
    chat, source = question.chat, question.source
    one_bos = _one_bos(tokenizer, chat.tokens)
    try:
        normalised(tokenizer, chat.text, chat.tokens)
    except InputError as error:
        raise SelfCheckError("round trip", str(error), "every text back from its tokens") from error
    if source is None:
        unknown: Value = "not checked: only tokens are known"
        return {"one BOS": one_bos, "prefix stable": unknown, "round trip": "ok", "single tokens": unknown}
    _prefix_stable(tokenizer, question, source)
    for form, token in zip(source.forms, question.want.tokens, strict=True):
        after = _tokens(tokenizer, chat.text + form)
        if source.first_tokens:
            after = after[: len(chat.tokens) + 1]
        if after != (*chat.tokens, token):
            raise SelfCheckError(
                "single tokens",
                f"answer form {form!r} to be tokens {list(after[len(chat.tokens) - 1 :])} from the chat's last one on",
                f"{[chat.tokens[-1], token]}",
            )
    return {"one BOS": one_bos, "prefix stable": "ok", "round trip": "ok", "single tokens": "ok"}


def _one_bos(tokenizer: Any, tokens: tuple[int, ...]) -> Value:
    """The chat begins with what the tokenizer itself puts first, and BOS does not stand there twice."""
    begin = tokenizer.bos_token_id
    twice = [at for at, pair in enumerate(pairwise(tokens)) if pair == (begin, begin)]
    if twice:
        raise SelfCheckError("one BOS", f"{tokenizer.bos_token!r} twice at token {twice[0]}", "one")
    with_first, without = tuple(tokenizer(_PROBE)["input_ids"]), _tokens(tokenizer, _PROBE)
    own = next((with_first[:at] for at in range(len(with_first)) if with_first[at:][: len(without)] == without), ())
    if tokens[: len(own)] != own:
        first = tokenizer.decode(list(tokens[:1]))
        raise SelfCheckError("one BOS", f"{first!r} first", f"{tokenizer.decode(list(own))!r}, as the tokenizer begins")
    return "ok" if own or begin is not None else "not checked: the tokenizer has no BOS"


def _prefix_stable(tokenizer: Any, question: TokenizedQuestion, source: QuestionSource) -> None:
    """The prior turn's tokens begin the conversation, hold its messages, and are the same before another question."""
    chat, count = question.chat, source.prior_messages
    messages = [{"role": role, "content": content} for role, content in source.turns]
    conversation = _rendered(tokenizer, messages)
    tokens = _tokens(tokenizer, conversation)
    if tokens != chat.tokens:
        raise SelfCheckError("spans", f"{len(chat.tokens)} tokens", f"the chat's own {len(tokens)}")
    if not count:
        return
    alone = _alone(tokenizer, messages[:count])
    prior = chat.prior_text if alone is None or not conversation.startswith(alone) else alone
    of_prior = _tokens(tokenizer, prior)
    if len(of_prior) != chat.prior:
        raise SelfCheckError("spans", f"a prior turn of tokens 0:{chat.prior}", f"0:{len(of_prior)}")
    if tokens[: len(of_prior)] != of_prior:
        pairs = enumerate(zip(tokens, of_prior, strict=False))
        at = next((at for at, pair in pairs if pair[0] != pair[1]), len(tokens))
        raise SelfCheckError(
            "prefix stable",
            f"another token at {at} when the prior turn is tokenised alone",
            f"its {len(of_prior)} tokens to begin the conversation",
        )
    if prior == alone:
        return
    reply, asked = messages[count - 1]["content"], messages[count]["content"]
    if not prior.count(reply) or len(prior) > conversation.rindex(asked):
        raise SelfCheckError(
            "prefix stable", f"a prior turn that ends in {prior[-24:]!r}", "its last message and no more"
        )
    other = {**messages[count], "content": _OTHER_QUESTION}
    otherwise = _rendered(tokenizer, [*messages[:count], other, *messages[count + 1 :]])
    if not otherwise.startswith(prior):
        raise SelfCheckError(
            "prefix stable", "another prior turn before another question", "the same before all of them"
        )


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True))


def _alone(tokenizer: Any, messages: list[dict[str, str]]) -> str | None:
    """The prior turn rendered alone; None where the template does not render it."""
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception:  # whatever a template raises; the whole conversation was rendered
        return None


def _tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
