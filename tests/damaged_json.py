"""JSON values with one of them changed, taken out, said twice, put deeper or called otherwise."""

import copy
import random
from typing import Any

from drawn_values import ODD_NUMBERS, ODD_TEXTS, deep


def json_value(draw: random.Random) -> Any:
    """A value that JSON can hold where another is expected."""
    return draw.choice(
        [
            *(None, True, {}, [], [1], {"a": 1}, "", "cats", "\x1b[31mred\x1b[0m", "a\nb", draw.choice(ODD_TEXTS)),
            *(0, -1, 0.5, 1e308, float("nan"), float("inf"), draw.choice([n for n in ODD_NUMBERS if abs(n) < 1e300])),
            deep(draw.choice([3, 60])),
        ]
    )


def containers(value: Any) -> list[Any]:
    """Every mapping and list in a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [each for part in inside for each in containers(part)]
    return [value, *found] if isinstance(value, dict | list) and value else found


def damage(draw: random.Random, value: Any) -> None:
    """Change one value somewhere inside, take it out, say it twice, or give it another name."""
    place = draw.choice(containers(value))
    key = draw.choice(list(place)) if isinstance(place, dict) else draw.randrange(len(place))
    way = draw.randrange(5)
    if way == 0:
        del place[key]
    elif way == 1 and isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    elif way == 2 and isinstance(place, dict):
        place[draw.choice(ODD_TEXTS[:40])] = place.pop(key)
    elif way == 3:
        place[key] = [place[key]] if draw.random() < 0.5 else {"in": place[key]}
    else:
        place[key] = json_value(draw)
