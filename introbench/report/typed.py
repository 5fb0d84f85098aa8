"""The types of what is read of a log: everything behind the reader can trust them, whatever the file holds.

Of what is named here, each value that is present has its type; what is not named is passed on as it is. Numbers may be
missing (None), which is how JSON holds a number that is not finite. Whether values fit together, such as the lengths of
two lists, shows when results are made of them (`fitting_together`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError
from pydantic_core import core_schema as of

from introbench.checks.record import SECONDS
from introbench.errors import InputError, first_line, shown
from introbench.records.scores import own_name

TEXT, INTEGER, TRUTH = of.str_schema(strict=True), of.int_schema(strict=True), of.bool_schema(strict=True)
FLOAT = of.float_schema(strict=True)
NUMBER = of.nullable_schema(FLOAT)
ANY = of.any_schema()


def list_of(items: CoreSchema) -> CoreSchema:
    """A list of values of one type."""
    return of.list_schema(items, strict=True)


def by_name(values: CoreSchema) -> CoreSchema:
    """A mapping of texts to values of one type."""
    return of.dict_schema(TEXT, values, strict=True)


def record(required: Mapping[str, CoreSchema], others: Mapping[str, CoreSchema], rest: CoreSchema = ANY) -> CoreSchema:
    """A mapping with some keys that have to be there, some that may be, and any others."""
    fields = {name: of.typed_dict_field(schema, required=True) for name, schema in required.items()}
    fields |= {name: of.typed_dict_field(schema, required=False) for name, schema in others.items()}
    return of.typed_dict_schema(fields, extra_behavior="allow", extras_schema=rest, strict=True)


_NUMBERS, TEXTS = list_of(NUMBER), list_of(TEXT)
_ARM = record({"kind": TEXT, "row": INTEGER}, {"number": INTEGER, "steering": TEXT, "matched": TEXT, "place": TEXT})
_ARMS = by_name(of.union_schema([INTEGER, _ARM]))
_PLAN = record(
    {},
    {
        "documents": TEXTS,
        "families": TEXTS,
        "margin": NUMBER,
        "reference_only": TEXTS,
        "concepts": TEXTS,
        "parts": by_name(INTEGER),
        "axes": by_name(TEXTS),
        "seed": INTEGER,
    },
)
_FACTORS = record(
    {},
    {
        **dict.fromkeys(("document", "family", "question", "format", "answer_kind", "expected", "framing"), TEXT),
        **dict.fromkeys(
            (
                "half",
                "protocol",
                "begins",
                "asked",
                "concept",
                "asked_with",
                "part",
                "passage",
                "kind",
                "wording",
                "reference",
                "description",
            ),
            TEXT,
        ),
        **dict.fromkeys(("half", "protocol", "begins", "asked"), TEXT),
        **dict.fromkeys(("bank", "prior_messages", "order", "first_layer"), INTEGER),
        "reversed": of.union_schema([TRUTH, list_of(TRUTH)]),
        "options": by_name(TEXT),
        "questions": TEXTS,
        "arms": _ARMS,
        "plan": _PLAN,
        "rows": by_name(list_of(INTEGER)),
        "strengths": by_name(TEXTS),
        "cells": by_name(record({"layer": INTEGER, "fraction": FLOAT, "strength": TEXT}, {})),
        "seeds": list_of(INTEGER),
        "answers": by_name(ANY),
        "silent": TRUTH,
    },
)
"""A trial's factors (`introbench.records.factors`), of any task."""

_BY_ARM = by_name(NUMBER)
_SHIFTS = {
    "shift": FLOAT,
    "random": by_name(FLOAT),
    "random_by_norm": by_name(FLOAT),
    "controls": by_name(FLOAT),
}
_LENS = record({}, dict.fromkeys(("gaps", "log_odds", "p_yes"), by_name(_NUMBERS)))
_ANSWERS = {"log_odds": by_name(FLOAT), "p_yes": _BY_ARM, "p_no": _BY_ARM}
_TEXTS_WRITTEN = record(
    {},
    {
        "measured": by_name(_NUMBERS),
        "gains": by_name(_NUMBERS),
        "strengths": by_name(TEXTS),
        "doses": _BY_ARM,
        "norms": _BY_ARM,
        **dict.fromkeys(("opposites", "texts"), by_name(TEXT)),
        "opposite_gains": _BY_ARM,
    },
)
_LABELS = of.nullable_schema(TEXTS)
_EXACT: Mapping[str, CoreSchema] = {
    "answers_graded": record(
        {},
        {
            "grades": by_name(list_of(_LABELS)),
            "guesses": by_name(list_of(TEXTS)),
            "norms": _BY_ARM,
            "grader": TEXT,
            "without_grade": by_name(INTEGER),
        },
    ),
    "dose_response": _TEXTS_WRITTEN,
    "top_of_mind_texts": _TEXTS_WRITTEN,
    "yes_shift": record(
        {},
        {**_SHIFTS, "live": of.nullable_schema(TRUTH), "dose": _BY_ARM, "active": record({}, _SHIFTS), **_ANSWERS},
    ),
    "lens_gap": _LENS,
    "identified": record({}, {"arms": by_name(by_name(FLOAT)), "lens": by_name(_NUMBERS), "own": by_name(_NUMBERS)}),
    "located": record(
        {}, {"scores": by_name(_NUMBERS), "changes": by_name(_BY_ARM), "among": by_name(_BY_ARM), "mass": _BY_ARM}
    ),
    "arm_shifts": record({}, {"shifts": by_name(FLOAT), "lens": _LENS, **_ANSWERS}),
    "probed": record(
        {},
        {
            "concepts": TEXTS,
            "random": TEXTS,
            "report": by_name(_NUMBERS),
            "answer": by_name(list_of(_NUMBERS)),
            "cache": by_name(list_of(list_of(_NUMBERS))),
        },
    ),
    "swept": record(
        {},
        {
            "axes": by_name(TEXTS),
            "baseline": _NUMBERS,
            "shift": list_of(list_of(_NUMBERS)),
            "dose": list_of(list_of(_NUMBERS)),
        },
    ),
}
"""The exact numbers of a trial, by the scorer's own name."""

_SELF_CHECKS = record({}, {SECONDS: FLOAT}, of.union_schema([FLOAT, TEXT]))
_SCORES = by_name(record({}, {"metadata": of.nullable_schema(by_name(ANY))}))
_OUTPUT = record({}, {"metadata": of.nullable_schema(record({}, {"self_checks": of.nullable_schema(_SELF_CHECKS)}))})
_SAMPLE = SchemaValidator(
    record(
        {"id": of.union_schema([TEXT, INTEGER]), "epoch": INTEGER, "metadata": _FACTORS},
        {"scores": of.nullable_schema(_SCORES), "output": of.nullable_schema(_OUTPUT)},
    )
)
_NUMBERS_OF = {scorer: SchemaValidator(schema) for scorer, schema in _EXACT.items()}
_PARAMS = of.nullable_schema(record({}, {"rules": INTEGER}))
_RESULTS = record(
    {},
    {
        "total_samples": of.nullable_schema(INTEGER),
        "scores": list_of(record({"metrics": by_name(record({"value": NUMBER}, {"params": _PARAMS}))}, {})),
    },
)
_NULLABLE_TEXT = of.nullable_schema(TEXT)
_HEADER = SchemaValidator(
    record(
        {
            "eval": record(
                {"model": TEXT, "task": TEXT},
                {"metadata": of.nullable_schema(by_name(ANY)), "task_args": of.nullable_schema(by_name(ANY))},
            )
        },
        {
            "status": TEXT,
            "stats": of.nullable_schema(record({}, {"started_at": _NULLABLE_TEXT, "completed_at": _NULLABLE_TEXT})),
            "results": of.nullable_schema(_RESULTS),
        },
    )
)


def header_of(location: str, values: object) -> dict[str, Any]:
    """What a log says of its run as a whole.

    Raises:
        InputError: A value has another type; the error says where it stands.
    """
    return checked(_HEADER, values, f"log {shown(location)}", "header")


def sample_of(location: str, values: object) -> dict[str, Any]:
    """What a log says of a trial, with the exact numbers of this project's scorers.

    Raises:
        InputError: A value has another type; the error says where it stands.
    """
    what = f"log {shown(location)}"
    sample = checked(_SAMPLE, values, what, "sample")
    for name, score in (sample.get("scores") or {}).items():
        validator = _NUMBERS_OF.get(own_name(name))
        if validator and score.get("metadata"):
            score["metadata"] = checked(validator, score["metadata"], what, f"sample.scores.{name}")
    return sample


def checked(validator: SchemaValidator, values: object, what: str, where: str) -> dict[str, Any]:
    """Values that have the types of a schema.

    Args:
        validator: Of the schema.
        values: What the file holds.
        what: The file, in a message.
        where: Of which part of it these are the values.

    Raises:
        InputError: A value has another type; the error says where it stands.
    """
    try:
        of_their_types: dict[str, Any] = validator.validate_python(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)[0]
        place = shown(".".join(map(str, (where, *found["loc"]))))
        raise InputError(
            f"{what}: {place} is {shown(found['input'])}: {found['msg']}; expected the file as it was written; make it "
            f"anew"
        ) from error
    return of_their_types


_NO_RESULT = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError),
)
"""What our own code, NumPy, SciPy and Matplotlib raise on values that do not fit together."""


@contextmanager
def fitting_together(what: str) -> Iterator[None]:
    """Refuse records of the right types of which no result can be made: they lack something, or differ in shape.

    Args:
        what: The file, in a message.

    Raises:
        InputError: That is so.
    """
    try:
        yield
    except InputError:
        raise
    except _NO_RESULT as error:
        raise InputError(
            f"{what}: records do not fit together ({type(error).__name__}: {first_line(error)}); expected the file as "
            f"it was written; make it anew"
        ) from error
