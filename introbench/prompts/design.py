"""Which wordings are asked in which kinds of answers: a design that is balanced, though not complete.

A kind (words, digits, letters, colours) has one or two formats, and a wording that is asked in a kind is asked in all
of them. Wordings take turns: the first of a group is asked in the first kind, the second in the second kind, and so on,
cyclically; where each is asked in several kinds, the next ones follow. A group is what every kind is to hold alike: a
family's questions of one framing and one expected answer. So a kind has as many reversed introspection wordings as
plain ones, some of each framing, and control questions of every family.
"""

from collections.abc import Mapping, Sequence

from introbench.errors import InputError, shown
from introbench.prompts.schema import FRAMINGS, AnswerFormat, Question

SINGLE, HALF, FULL = CROSSINGS = ("single", "half", "full")
"""In how many kinds each wording is asked: in one, in half of them (rounded up), or in all."""


def crossed(
    questions: Sequence[Question], formats: Mapping[str, AnswerFormat], kinds: Sequence[str], cross: str
) -> dict[str, tuple[str, ...]]:
    """The kinds of answers in which each wording is asked; its place among the questions decides.

    Args:
        questions: All questions, in the order of their file.
        formats: All answer formats, by name.
        kinds: The kinds among which wordings take turns. A question whose formats are of some of these alone, such as
            one on salience, takes turns among those.
        cross: One of `CROSSINGS`.

    Returns:
        Names of kinds by the question's id; none for a question that can be asked in none of them.

    Raises:
        InputError: There is no such design.
    """
    if cross not in CROSSINGS:
        raise InputError(f"cross={shown(cross)}: expected one of {', '.join(CROSSINGS)}; pass e.g. -T cross=full")
    places: dict[tuple[str, str, str], int] = {}
    asked: dict[str, tuple[str, ...]] = {}
    for question in questions:
        group = (question.family, question.framing, question.expected)
        place = places.get(group, 0)
        places[group] = place + 1
        possible = [kind for kind in kinds if any(formats[name].kind == kind for name in question.formats)]
        turns = {SINGLE: min(1, len(possible)), HALF: -(-len(possible) // 2), FULL: len(possible)}[cross]
        # Each framing begins at another kind, so that its four wordings of a side even out over three kinds, too.
        first = place + (FRAMINGS.index(question.framing) if question.framing else 0)
        asked[question.id] = tuple(possible[(first + turn) % len(possible)] for turn in range(turns))
    return asked
