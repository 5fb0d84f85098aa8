"""A verdict in words: its steps as rows, and what would settle it."""

import math

import pytest

from introbench.analysis.verdict import Evidence, StepName, verdict
from introbench.report.verdict import ladder, settlement_text
from introbench.stats.intervals import NOT_MEASURED, Interval

NONE = Interval(0.0, -0.1, 0.1, 9)
WIDE = Interval(0.3, -0.9, 1.5, 9)
LARGE = Interval(2.0, 1.5, 2.5, 9)


def test_every_step_is_a_row() -> None:
    drawn = verdict(
        Evidence(
            live=8,
            tested=9,
            excess=LARGE,
            random=Interval(0.2, math.nan, math.nan, 1),
            beyond_random=LARGE,
            bias=NONE,
            flattening=Interval(0.4, 0.3, 0.5, 9),
            baseline=2.0,
            within_reach=0.75,
            over_pull=1.25,
            salience_asked=True,
            salience=NONE,
            beyond_salience=LARGE,
        )
    )
    assert drawn.name == "tracks the concept"
    assert settlement_text(drawn) == ""
    large = "+2.000 [+1.500, +2.500] nats"
    assert ladder(drawn) == [
        ("Do the vectors bring their concepts to mind under active steering?", "yes", "8 of 9 are live"),
        (
            "Does introspection move more than control questions with its baseline do?",
            "yes",
            f"excess {large}, margin 0.5",
        ),
        (
            "Does the line through the control questions hold there?",
            "yes",
            "75% of its baselines are near theirs, excess over a pull of probabilities +1.250 nats",
        ),
        ("Do random vectors do the same?", "unclear", "excess +0.200 nats, no interval"),
        ("Do concepts' vectors do more than random ones?", "yes", f"difference {large}"),
        (
            "Does introspection move more than questions on what stands out in the text?",
            "yes",
            f"difference {large}, excess of those +0.000 [-0.100, +0.100] nats",
        ),
        ("Is every answer pushed toward yes, or no?", "no", "+0.000 [-0.100, +0.100] nats"),
        (
            "Is every answer pulled toward even odds, or away?",
            "yes",
            "+0.400 [+0.300, +0.500] of the log-odds, which are 2.00 nats",
        ),
        ("Does the document do it, with nothing injected?", "unclear", "not measured"),
    ]


def test_what_was_not_measured_is_said() -> None:
    rows = ladder(verdict(Evidence(live=0, tested=0, excess=NOT_MEASURED, within_reach=math.nan)))
    assert len(rows) == len(StepName)
    assert all(answer == "unclear" for _, answer, _ in rows)
    assert rows[5][2] == "difference not measured, excess of those not measured"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (
            {"excess": LARGE, "beyond_random": LARGE, "within_reach": 0.4},
            "the line through the control questions does not hold where introspection questions stand: control "
            "questions are needed whose log-odds without injection are like theirs",
        ),
        (
            {"excess": Interval(0.9, -0.1, 1.9, 9, floor=0.9)},
            "no number of concepts would show 0.5 nats the excess in 80% of runs, because the questions differ too "
            "much: ask more of them",
        ),
        (
            {"excess": NOT_MEASURED},
            "there is no interval: run at least two concepts (better nine), with random vectors and control questions",
        ),
        (
            {"excess": Interval(0.33, -0.01, 0.67, 90)},
            "90 concepts can show 0.5 nats the excess; what was found is about as large as that: state another "
            "margin, or run more concepts",
        ),
        (
            {"excess": LARGE, "beyond_random": WIDE},
            "about 79 concepts instead of 9 would show an effect of 0.5 nats beyond random vectors in 80% of runs, if "
            "concepts differ as much as these do",
        ),
        (
            {
                "excess": LARGE,
                "beyond_random": LARGE,
                "salience_asked": True,
                "salience": WIDE,
                "beyond_salience": WIDE,
            },
            "about 79 concepts instead of 9 would show an effect of 0.5 nats beyond what stands out in the text in 80% "
            "of runs, if concepts differ as much as these do",
        ),
    ],
)
def test_what_would_settle_an_inconclusive_verdict_is_said(numbers: dict[str, object], text: str) -> None:
    drawn = verdict(Evidence(**{"live": 9, "tested": 9, **numbers}))  # type: ignore[arg-type]
    assert drawn.name == "inconclusive"
    assert settlement_text(drawn) == text
