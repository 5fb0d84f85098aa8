"""A verdict in words: its steps as rows, what it says, and what would settle it."""

import itertools
import math
import re

import pytest
from verdict_evidence import HALF, INWARD, LARGE, NEGATIVE, NONE, NOT_SALIENT, SALIENT, WIDE, evidence, interval

from introbench.analysis.evidence import Evidence
from introbench.analysis.settlement import Settlement
from introbench.analysis.verdict import TRACKS, VERDICTS, Lack, StepAnswer, StepName, Verdict, verdict
from introbench.report.verdict import (
    LACKS,
    NEEDS,
    OVERTURNED_BY,
    SAYS,
    SHORT,
    WORDS,
    change_lines,
    ladder,
    numbers_text,
    settlement_lines,
    settlement_text,
    verdict_text,
)
from introbench.stats.intervals import NOT_MEASURED, Interval

BIG = "+2.000 [+1.500, +2.500]"
SMALL = "+0.000 [-0.100, +0.100]"
LESS = "-1.050 [-1.500, -0.600]"


def test_every_step_is_a_row_with_its_numbers() -> None:
    numbers = {**INWARD, "salience": interval(0.1, 0.3), "live": 8, "near": 0.8, "flattening": interval(0.3, 0.5)}
    drawn = verdict(evidence(**numbers, random=Interval(0.2, math.nan, math.nan, 1), document=NOT_MEASURED))
    assert drawn.name == TRACKS
    assert ladder(drawn) == [
        ("Do the vectors bring their concepts to mind under active steering?", "yes", "8 of 9 are live"),
        (
            "Does introspection move more than control questions with its baseline do?",
            "yes",
            f"excess {BIG} nats, margin 0.5",
        ),
        ("Are there control questions with baselines like its own?", "yes", "near 80% of its questions"),
        ("Do random vectors have the dose of the concepts' vectors?", "yes", "100% of it on average"),
        (
            "Do random vectors of that dose do at least half as much?",
            "less than half",
            f"excess +0.200 nats, no interval, minus half of introspection's (90% interval) {LESS} nats",
        ),
        ("Do concepts' vectors do more than these?", "yes", f"difference {BIG} nats"),
        (
            "Do questions on what stands out in the text move at least half as much?",
            "less than half",
            f"excess +0.200 [+0.100, +0.300] nats, minus half of introspection's (90% interval) {LESS} nats, "
            "control questions near 100% of them",
        ),
        ("Does introspection move more than these?", "yes", f"difference {BIG} nats"),
        ("Is every answer pushed toward yes, or no?", "less than the margin", f"{SMALL} nats"),
        (
            "Is every answer pulled toward even odds, or away?",
            "yes",
            "+0.400 [+0.300, +0.500] of the log-odds, which are 2.00 nats",
        ),
        ("Does the document do it, with nothing injected?", "open", "not measured"),
    ]


def test_half_of_nothing_is_not_spoken_of() -> None:
    rows = {step.name: numbers_text(step) for step in verdict(evidence(**{**INWARD, "excess": NONE})).steps}
    assert rows[StepName.RANDOM] == f"excess {SMALL} nats"
    assert rows[StepName.SALIENCE] == f"excess {SMALL} nats, control questions near 100% of them"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("not live", "nothing follows"),
        ("no effect", "less than the margin"),
        ("moves the other way", "reports less than without"),
        ("yes-bias", "toward yes"),
        ("no-bias", "toward no"),
        ("flattening", "toward even odds"),
        ("sharpening", "more confident"),
        ("notices any perturbation", "random perturbations of the same dose at least half as much"),
        ("reads salience", "stands out"),
        ("document alone", "with nothing injected"),
        ("tracks the concept", "is not shown"),
        ("tracks the concept, but by less than the margin", "but by less than the margin"),
        ("inconclusive", "do not decide"),
    ],
)
def test_every_verdict_says_what_it_licenses(name: str, phrase: str) -> None:
    assert phrase in verdict_text(Verdict(name, ()))
    assert set(SAYS) == set(VERDICTS)


@pytest.mark.parametrize(
    ("lack", "phrase"),
    [
        (Lack.CONTROLS, "no control question was asked"),
        (Lack.FEW_CONTROLS, "fewer than three control questions"),
        (Lack.ONE_QUESTION, "one introspection question was asked"),
        (Lack.ONE_CONCEPT, "one concept was injected"),
        (Lack.NOTHING_SHARED, "no interval"),
    ],
)
def test_what_a_run_lacks_is_said_in_place_of_the_verdict(lack: Lack, phrase: str) -> None:
    assert verdict_text(Verdict("inconclusive", (), lack)).startswith(phrase)
    assert set(LACKS) == set(Lack)


def test_answers_read_as_answers_to_the_questions() -> None:
    assert [str(answer) for answer in StepAnswer] == [
        "yes",
        "no",
        "yes, by less than the margin",
        "less than the margin",
        "half or more",
        "less than half",
        "open",
    ]
    assert set(WORDS) == set(SHORT) == set(StepName)
    assert len({question for question, _ in WORDS.values()}) == len(set(SHORT.values())) == len(StepName)


@pytest.mark.parametrize(
    ("settlement", "text"),
    [
        (Settlement(measured=True), "no run of a reasonable size would settle it"),
        (Settlement(True, True), "a run of the same size with other concepts and wordings would probably settle it"),
        (Settlement(True, True, concepts=12), "12 concepts in all would settle it in 80% of runs"),
        (
            Settlement(True, True, 12, 24, 60, 18),
            "24 introspection wordings and 60 control questions and 18 questions on what stands out and 12 concepts in "
            "all would settle it in 80% of runs",
        ),
    ],
)
@pytest.mark.parametrize("name", [StepName.EXCESS, StepName.SALIENCE])
def test_what_would_settle_a_step_is_said(name: StepName, settlement: Settlement, text: str) -> None:
    assert settlement_text(name, settlement).startswith(text)


@pytest.mark.parametrize("name", StepName)
def test_what_a_step_needs_that_was_not_measured(name: StepName) -> None:
    needed = NEEDS.get(name, "at least two concepts and several questions")
    assert settlement_text(name, Settlement()) == f"not measured; run {needed}"


def test_steps_that_the_same_run_would_settle_share_a_line() -> None:
    numbers = {**INWARD, "random_beyond_half": NOT_MEASURED, "beyond_random": NOT_MEASURED}
    drawn = verdict(evidence(**numbers, dose_ratio=math.nan))
    assert settlement_lines(drawn) == [
        "- dose of random vectors, half for random vectors, beyond random vectors: not measured; run random vectors of "
        "the concepts' doses (random_vectors=3)"
    ]
    (line,) = settlement_lines(verdict(evidence(**NOT_SALIENT, excess=interval(-0.2, 0.6))))
    assert re.fullmatch(r"- excess: \d+ concepts in all would settle it in 80% of runs", line)
    assert settlement_lines(verdict(evidence(**NOT_SALIENT))) == []
    assert settlement_lines(verdict(evidence())) == [
        "- half for salience, beyond salience: not measured; run questions on what stands out in the text (families "
        "with salience), and control questions near their baselines"
    ]


@pytest.mark.parametrize("name", [name for name in VERDICTS if name != "inconclusive"])
def test_every_verdict_says_what_would_overturn_it(name: str) -> None:
    assert change_lines(Verdict(name, ()), salience_asked=True) == [f"What would overturn it: {OVERTURNED_BY[name]}."]
    assert set(OVERTURNED_BY) == set(VERDICTS) - {"inconclusive"}


def test_what_would_decide_an_excess_that_is_not_shown_is_about_the_excess_alone() -> None:
    drawn = verdict(evidence(**NOT_SALIENT, excess=interval(-0.2, 0.6), random=interval(-3, 3)))
    assert drawn.name == "inconclusive"
    (line,) = change_lines(drawn, salience_asked=True)
    assert re.fullmatch(r"What would decide it: excess: \d+ concepts in all would settle it in 80% of runs\.", line)
    drawn = verdict(evidence(**NOT_SALIENT, excess=interval(-0.9, 0.2)))
    assert change_lines(drawn, salience_asked=True) == [
        "What would decide it: excess: less than the margin, excess -0.350 [-0.900, +0.200] nats, margin 0.5."
    ]


def test_what_would_decide_an_excess_above_0_is_each_step_that_keeps_it_from_tracking_the_concept() -> None:
    numbers = {**INWARD, "beyond_random": WIDE, "near": 0.5, "salience_near": 0.5}
    drawn = verdict(evidence(**numbers))
    assert drawn.name == "inconclusive"
    asked, not_asked = (change_lines(drawn, salience_asked=asked) for asked in (True, False))
    assert asked[0] == "What would decide it: near control questions: no, near 50% of its questions."
    assert asked[1].startswith("What would decide it: beyond random vectors: ")
    assert asked[2].startswith(
        "What would decide it: half for salience: not measured; run questions on what stands out"
    )
    assert asked[:2] == not_asked


def test_a_run_that_allows_no_verdict_says_what_it_lacks_and_no_more() -> None:
    assert change_lines(Verdict("inconclusive", (), Lack.CONTROLS), salience_asked=True) == []


def test_nothing_that_was_not_measured_is_shown_as_a_number() -> None:
    """Any mixture of what is known and what is not; "nan" is not shown in any text."""
    unknown = Evidence(salience_asked=True)
    known = evidence(**{**INWARD, **SALIENT, **HALF, "excess": LARGE})
    bare = Interval(0.3, math.nan, math.nan, 1)
    names = [name for name, value in vars(known).items() if isinstance(value, (Interval, float))]
    mixed = [unknown, known, Evidence(), evidence(excess=NEGATIVE)]
    for name, start in itertools.product(names, (known, unknown)):
        values = [getattr(unknown, name), getattr(known, name)]
        values += [bare] if isinstance(values[1], Interval) else []
        mixed += [Evidence(**{**vars(start), name: value}) for value in values]
    for numbers in mixed:
        drawn = verdict(numbers)
        texts = [verdict_text(drawn), *settlement_lines(drawn), *(cell for row in ladder(drawn) for cell in row)]
        texts += change_lines(drawn, numbers.salience_asked)
        assert not any(re.search(r"\b(nan|inf)\b|nan%|None|\{", text) for text in texts), texts
