"""What logs of release 0.1.0 and before leave out, and how it follows from what they say.

Those logs hold an arm's name and its row, and no identity; an answer format's name, and not its kind; and the families
of the whole run, and not those of each document. Names were taken apart to tell arms; this is the one place that
still does, for those logs alone.
"""

import re
from collections.abc import Sequence

from introbench.prompts.schema import SALIENCE, reference_document
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
_RANDOM = re.compile(r"random (\d+)( active)?")
_PLACED = re.compile(r"(concept|random) at (.+)")


def answer_kind(answer_format: str) -> str:
    """The kind of an answer format: that of the release's own formats, and of others their name."""
    return ANSWER_KINDS.get(answer_format, answer_format)


def families_under(document: str, documents: Sequence[str], families: Sequence[str]) -> list[str]:
    """The families that were asked under a document: questions on salience under the reference document alone."""
    elsewhere = document != reference_document(documents)
    return [family for family in families if not (family == SALIENCE and elsewhere)]


def arm(name: str, row: int) -> Arm:
    """The arm of a name. Sweeps name their arms by vector, and need no more than the order in which they stand."""
    steering = ACTIVE if name.endswith(" active") else CACHE
    control, _, matched = name.partition(" (")
    if name.partition(" ")[0] == SHAM:
        return Arm(SHAM, row)
    if name in (CONCEPT, f"{CONCEPT} active"):
        return Arm(CONCEPT, row, steering=steering)
    if found := _RANDOM.fullmatch(name):
        return Arm(RANDOM, row, int(found[1]), steering)
    if found := _PLACED.fullmatch(name):
        return Arm(found[1], row, place=found[2])
    if control in CONTROL_VECTORS:
        return Arm(control, row, matched=IMPACT if matched else NORM)
    if name.startswith(FINETUNE):
        return Arm(FINETUNE, row, number=-1 if name.endswith("-") else 0)
    if name.startswith(CONTRAST):
        return Arm(CONTRAST, row, number=1 if name.endswith("+") else -1)
    return Arm(CONCEPT, row, place=name)
