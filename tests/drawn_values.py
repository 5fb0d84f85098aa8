"""Values drawn at random, as they may stand in an argument, or in a JSON or YAML file."""

import datetime
import math
import random
from collections.abc import Callable
from typing import Any

CHARACTERS = (
    "aZ09 _-+.,:;/\\~'\"`$%&*#@!?|<>()[]{}=^\t\n\r\0\x07\x1b\x7f\x85\u00e9\u0130\u0928\u093f"
    "\u200d\u200e\u202e\u2028\ufeff\uffff\ud800\U0001f40d"
)
"""Letters, signs, what a terminal obeys, what has no width, half of a surrogate pair."""

ODD_TEXTS = (
    *("", " ", "~", "~root", "~nobody/x", "/", ".", "..", "/dev/null", "/proc/self/mem", "\0", "a\0b", "x" * 300),
    *("x" * 100_000, "a/" * 3000, "null", "None", "nan", "inf", "-0", "1e999", "0x10", "1_000", "1:2:3", "kl:", ":"),
    *("residual:", "residual:nan", "single:0", "triangle:-1", "triangle:" + "9" * 5000, "lora:", "lora::", "new:"),
    *("\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\nb\nc", "[/bold]", "[red]", "{concept}", "{0}", "%s", "<|im_end|>"),
    *("\u0661\u0662", "\u00b2", "\u2460", "\ud800", "\u202eabc", "e\u0301", "\u200d", "true", "no", "2001-09-11"),
)

ODD_NUMBERS = (
    *(0, -1, 1, 2, 3, 9, 10, 59, 60, 61, 620, 10**6, 2**31, 2**32, 2**63, 2**64, -(2**64), 10**400, 10**5000),
    *(0.0, -0.0, 0.5, 1.5, 6.5, 1e-320, 1e308, -1e308, math.inf, -math.inf, math.nan, True, False),
)


def anything(draw: random.Random, depth: int = 0) -> Any:
    """A value of any kind that JSON, YAML or a Python caller may give."""
    makers: list[tuple[float, Callable[[], Any]]] = [
        (6, lambda: draw.choice(ODD_TEXTS)),
        (3, lambda: characters(draw)),
        (5, lambda: draw.choice(ODD_NUMBERS)),
        (1, lambda: None),
        (0.5, lambda: draw.choice([datetime.date(2001, 9, 11), b"bytes", 1j, {1}, object()])),
        (0.5, lambda: deep(draw.choice([10, 500, 5000]))),
    ]
    if depth < 3:
        makers.append((3, lambda: [anything(draw, depth + 1) for _ in range(draw.choice([0, 1, 2, 3, 30]))]))
        makers.append((1, lambda: {characters(draw): anything(draw, depth + 1) for _ in range(draw.choice([0, 1, 2]))}))
    (make,) = draw.choices([make for _, make in makers], [weight for weight, _ in makers])
    return make()


def characters(draw: random.Random) -> str:
    """A short text of any characters."""
    return "".join(draw.choice(CHARACTERS) for _ in range(draw.choice([1, 1, 2, 3, 5, 20, 80])))


def deep(levels: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def mutated(draw: random.Random, text: str) -> str:
    """A text with some characters changed, taken out, put in, or said twice."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(text) + 1)
        way = draw.randrange(5)
        if way == 0:
            text = text[:at] + draw.choice(CHARACTERS) + text[at:]
        elif way == 1:
            text = text[:at] + text[at + 1 :]
        elif way == 2:
            text = text[:at] + draw.choice(CHARACTERS) + text[at + 1 :]
        elif way == 3:
            text = text[:at] + text[max(0, at - draw.randrange(9)) :]
        else:
            text = text.swapcase() if draw.random() < 0.5 else text[::-1]
    return text
