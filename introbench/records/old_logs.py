"""What logs of release 0.1.0 and before leave out, and how it follows from what they say.

Those logs hold an arm's name and its row, and no identity; and an answer format's name, and not its kind. Names were
taken apart to tell arms; this is the one place that still does, for those logs alone.
"""

import re
from collections.abc import Callable

from introbench.records.arm import (
    ACTIVE,
    CACHE,
    CONCEPT,
    CONTRAST,
    CONTROL_VECTORS,
    FINETUNE,
    IMPACT,
    NORM,
    RANDOM,
    SHAM,
    Arm,
)

ANSWER_KINDS = {
    "yes-no": "words",
    "one-zero": "digits",
    "zero-one": "digits",
    "a-b": "letters",
    "b-a": "letters",
    "red-blue": "colours",
    "blue-red": "colours",
}
_NAMES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], int], Arm]], ...] = (
    (re.compile(r"sham.*"), lambda name, row: Arm(SHAM, row)),
    (re.compile(r"concept( active)?"), lambda name, row: Arm(CONCEPT, row, steering=_steering(name[1]))),
    (re.compile(r"random (\d+)( active)?"), lambda name, row: Arm(RANDOM, row, int(name[1]), _steering(name[2]))),
    (re.compile(r"(concept|random) at (.+)"), lambda name, row: Arm(name[1], row, place=name[2])),
    (
        re.compile(rf"({'|'.join(CONTROL_VECTORS)})( \(impact\))?"),
        lambda name, row: Arm(name[1], row, matched=IMPACT if name[2] else NORM),
    ),
    (re.compile(r"finetune(, contrast -)?"), lambda name, row: Arm(FINETUNE, row, number=-1 if name[1] else 0)),
    (re.compile(r"contrast ([+-])"), lambda name, row: Arm(CONTRAST, row, number=int(f"{name[1]}1"))),
)


def _steering(suffix: str | None) -> str:
    return ACTIVE if suffix else CACHE


def answer_kind(answer_format: str) -> str:
    """The kind of an answer format: that of the release's own formats, and of others their name."""
    return ANSWER_KINDS.get(answer_format, answer_format)


def arm(name: str, row: int) -> Arm:
    """The arm of a name. Sweeps name their arms by vector, and need no more than the order in which they stand."""
    for pattern, make in _NAMES:
        if match := pattern.fullmatch(name):
            return make(match, row)
    return Arm(CONCEPT, row, place=name)
