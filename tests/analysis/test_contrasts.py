"""Means and contrasts over trials: which pairs they use, their signs, and what is missing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from introbench.analysis.contrasts import contrasts, mean_shifts
from introbench.analysis.noticed import MATCHED, Result, TrialShift
from introbench.records.factors import Plan
from introbench.report.text import results_table
from introbench.stats.simultaneous import excludes_zero

CONCEPTS = ["cats", "bread", "love", "fear", "death", "truth", "creativity", "programming", "music"]
DOCUMENTS = ["none", "info", "inaccurate", "lorem", "neutral"]
FAMILIES = ["introspection", "always_no", "always_yes"]
ITEMS = ["a", "b", "c"]


def battery(noise: float = 0.1) -> list[TrialShift]:
    """Shifts with known effects: introspection +1, +0.5 more under info; concepts +0.25 over random vectors."""
    draw = np.random.default_rng(7)
    of_vector = {f"random {concept}-0": noise * draw.standard_normal() for concept in CONCEPTS}
    trials = []
    for document in DOCUMENTS:
        for family in FAMILIES:
            base = (family == "introspection") * (1.0 + 0.5 * (document == "info"))
            for item in ITEMS:
                for number, concept in enumerate(CONCEPTS):
                    vectors = [f"random {CONCEPTS[(number + k) % 9]}-0" for k in range(3)]
                    shift = base + 0.25 + noise * draw.standard_normal()
                    random = {vector: base + of_vector[vector] for vector in vectors}
                    trials.append(TrialShift(document, family, item, "yes-no", "words", concept, 1.0, shift, random))
    return trials


PLAN = Plan(DOCUMENTS, FAMILIES)


def contrasts_of(trials: list[TrialShift], plan: Plan = PLAN) -> list[Result]:
    return contrasts(trials, plan)


def means_of(trials: list[TrialShift], plan: Plan = PLAN) -> list[Result]:
    return mean_shifts(trials, plan)


def by_key(results: list[Result]) -> dict[str, Result]:
    return {result.key: result for result in results}


def test_planted_effects_are_found_within_their_intervals() -> None:
    by_name = by_key(contrasts_of(battery()))
    truths = {
        "introspection - always_no | info": (1.5, 9),
        "introspection - always_yes | lorem": (1.0, 9),
        "info - lorem": (0.5, 27),
        "info - none": (0.5, 27),
        "info - inaccurate": (0.5, 27),
        "concept - random vector | neutral": (0.25, 27),
    }
    for key, (truth, pairs) in truths.items():
        interval = by_name[key].interval
        assert interval.low <= truth <= interval.high, key
        assert interval.high - interval.low < 0.4, key
        assert by_name[key].pairs == pairs
        assert by_name[key].missing == 0


def test_means_cover_every_document_and_family() -> None:
    means = by_key(means_of(battery(noise=0.0)))
    assert len(means) == len(DOCUMENTS) * len(FAMILIES)
    assert means["introspection | info"].interval.estimate == pytest.approx(1.75)
    assert means["always_no | info"].interval.estimate == pytest.approx(0.25)
    assert means["always_no | info"].pairs == 27


def test_missing_trials_are_counted_and_leave_every_concept_the_same_questions() -> None:
    trials = battery()
    lost = next(i for i, t in enumerate(trials) if t.document == "info" and t.family == "introspection")
    for gone in ([replace(trials[lost], shift=math.nan, random={})], []):
        by_name = by_key(contrasts_of(trials[:lost] + gone + trials[lost + 1 :]))
        assert (by_name["info - lorem"].pairs, by_name["info - lorem"].missing) == (18, 9)
        # the question is left out for all nine concepts
        for key in ("concept - random vector | info", "introspection - always_no | info"):
            assert by_name[key].missing == 9, key
            assert math.isfinite(by_name[key].interval.estimate)
        assert by_name["concept - random vector | info"].pairs == 18
        means = by_key(means_of(trials[:lost] + gone + trials[lost + 1 :]))
        assert (means["introspection | info"].pairs, means["introspection | info"].missing) == (18, 9)
        assert (means["always_no | info"].pairs, means["always_no | info"].missing) == (27, 0)


def test_what_is_peculiar_to_a_question_does_not_leak_into_concepts_that_lack_others() -> None:
    """Two concepts lack the questions that everything moves up; no concept is different."""
    trials = [
        TrialShift(
            "info", "introspection", item, "yes-no", "words", concept, 1.0, 2.0 if item == "a" else -2.0, {"r": 0.0}
        )
        for item in ("a", "b", "c")
        for concept in CONCEPTS
        if not (item == "a" and concept in ("cats", "bread"))
    ]
    mean = by_key(means_of(trials))["introspection | info"]
    assert (mean.interval.low, mean.interval.estimate, mean.interval.high) == (-2, -2, -2)
    assert (mean.pairs, mean.missing) == (18, 9)


def test_a_concept_that_is_lost_altogether_does_not_take_the_others_with_it() -> None:
    trials = [replace(t, shift=math.nan, random={}) if t.concept == "love" else t for t in battery()]
    for result in [*means_of(trials), *contrasts_of(trials)]:
        assert result.interval.units == 8
        assert result.missing > 0


def test_a_lost_random_vector_costs_only_the_contrast_with_random_vectors() -> None:
    trials = [replace(t, random=dict.fromkeys(t.random, math.nan)) if t.concept == "love" else t for t in battery()]
    by_name = by_key(contrasts_of(trials))
    assert by_name["concept - random vector | info"].interval.units == 8
    assert by_name["introspection - always_no | info"].interval.units == 9
    assert by_name["introspection - always_no | info"].missing == 0


def test_without_random_vectors_there_is_no_contrast_with_them() -> None:
    assert not [r for r in contrasts_of([replace(t, random={}) for t in battery()]) if "random" in r.name]


def test_repeated_epochs_change_nothing() -> None:
    once = battery()
    lost = [replace(once[0], shift=math.nan, random={})]
    assert contrasts_of(once + once) == contrasts_of(once)
    assert means_of(lost + once) == means_of(once + lost) == means_of(once)


def test_what_was_planned_and_not_run_has_no_pairs_and_says_so() -> None:
    trials = [t for t in battery() if t.document == "info" and t.family == "introspection"]
    by_name = by_key(contrasts_of(trials))
    assert set(by_name) == set(by_key(contrasts_of(battery())))
    for key in ("info - lorem", "introspection - always_no | info", "introspection - always_no | none"):
        assert math.isnan(by_name[key].interval.estimate), key
        assert by_name[key].pairs == 0
        assert "no pairs" in results_table([by_name[key]])
    assert by_name["info - lorem"].missing == by_name["introspection - always_no | info"].missing == 27
    assert means_of(trials)[-1].pairs == 0


def test_documents_are_compared_on_what_was_asked_under_both() -> None:
    """Fewer concepts, questions and formats under other documents, by design, leave no gaps."""
    trials = battery()
    fewer = [t for t in trials if t.document == "info" or (t.concept in CONCEPTS[::2] and t.item != "c")]
    digits = [replace(t, answer_format="one-zero", answer_kind="digits") for t in trials if t.document == "info"]
    by_name = by_key(contrasts_of([*fewer, *digits]))
    alike = [t for t in fewer if t.concept in CONCEPTS[::2] and t.item != "c"]
    assert by_name["info - lorem"] == by_key(contrasts_of(alike))["info - lorem"]
    assert (by_name["info - lorem"].pairs, by_name["info - lorem"].missing) == (10, 0)


def test_formats_of_a_question_are_no_more_questions() -> None:
    """Asking the same questions in many formats with the same numbers must not make the interval narrower."""
    trials = battery()
    copied = [replace(t, answer_format=f"format {copy}") for t in trials for copy in range(5)]
    for of_one, of_many in zip(
        [*means_of(trials), *contrasts_of(trials)], [*means_of(copied), *contrasts_of(copied)], strict=True
    ):
        for end in ("low", "estimate", "high"):
            assert getattr(of_many.interval, end) == pytest.approx(getattr(of_one.interval, end)), of_one.key
        assert of_many.questions == of_one.questions == len(ITEMS)


def test_one_question_or_one_concept_has_no_interval_and_the_table_says_why() -> None:
    one_question = [t for t in battery() if t.item == ITEMS[0]]
    one_concept = [t for t in battery() if t.concept == "love"]
    for trials, why in ((one_question, "needs more questions or units"), (one_concept, "needs 2 or more units")):
        for result in (*means_of(trials), *contrasts_of(trials)):
            assert math.isfinite(result.interval.estimate)
            assert math.isnan(result.interval.low)
            assert math.isnan(result.interval.high)
            assert not result.is_marked
        table = results_table(contrasts_of(trials))
        assert why in table
        assert "None of the rows has an interval." in table


def test_results_do_not_depend_on_the_order_of_trials() -> None:
    trials = battery()
    assert contrasts_of(trials) == contrasts_of(trials[::-1])
    assert means_of(trials) == means_of(trials[::-1])


def test_random_contrast_is_as_uncertain_as_its_random_vectors() -> None:
    """Three noisy random vectors used by all concepts are three units, however many trials use them."""
    draw = np.random.default_rng(3)
    level = {f"r{k}": 5 * draw.standard_normal() for k in range(3)}
    trials = [
        TrialShift(
            "info",
            "introspection",
            item,
            "yes-no",
            "words",
            concept,
            1.0,
            1.0 + 0.01 * draw.standard_normal(),
            dict(level),
        )
        for item in ITEMS
        for concept in CONCEPTS
    ]
    interval = by_key(contrasts_of(trials))["concept - random vector | info"].interval
    assert interval.units == 3
    assert interval.high - interval.low > 5


def asked(shift_of: Callable[[str, str, float], float]) -> list[TrialShift]:
    """Trials of plain and reversed questions and controls; `shift_of` gives the shift toward yes."""
    design = [
        ("introspection", "a", "yes-no", 1.0, -3.0),
        ("introspection", "b", "yes-no", 1.0, -3.0),
        ("introspection", "c", "yes-no", -1.0, 3.0),
        ("introspection", "a", "one-zero", 1.0, -3.0),
        ("always_no", "d", "yes-no", 1.0, -3.0),
        ("always_yes", "e", "yes-no", 1.0, 3.0),
        ("ambiguous", "f", "yes-no", 1.0, 0.0),
    ]
    return [
        TrialShift("info", family, item, form, form, concept, side, shift_of(family, form, baseline) * size, {})
        for concept, size in zip(CONCEPTS, [0.5, 1, 2, 3, 1, 4, 2, 1, 5], strict=True)
        for family, item, form, side, baseline in design
    ]


MATCHED_KEY = f"{MATCHED} | info"
ASKED = Plan(DOCUMENTS, [*FAMILIES, "ambiguous"])


def test_salience_is_compared_with_introspection_under_the_reference_document_alone() -> None:
    """Introspection is moved by 1, salience by 0.4, a push moves every answer toward yes by 3."""
    design = [
        *(("introspection", item, sign, 1.0) for item, sign in (("a", 1.0), ("b", 1.0), ("c", -1.0))),
        *(("salience", item, sign, 0.4) for item, sign in (("d", 1.0), ("e", -1.0), ("f", -1.0))),
    ]
    trials = [
        TrialShift(document, family, item, "yes-no", "words", concept, side, side * (size + side * 3.0), {})
        for document in ("info", "none")
        for family, item, side, size in design
        if family == "introspection" or document == "info"
        for concept in CONCEPTS
    ]
    plan = Plan(["none", "info"], ["introspection", "salience"])
    means, by_name = by_key(means_of(trials, plan)), by_key(contrasts_of(trials, plan))
    assert set(means) == {"introspection | info", "salience | info", "introspection | none"}
    assert means["salience | info"].interval.estimate == pytest.approx(0.4), "sides count alike, so a push cancels"
    assert set(by_name) == {"introspection - salience | info", "info - none"}
    against = by_name["introspection - salience | info"]
    assert against.interval.estimate == pytest.approx(0.6), "a push toward yes cancels"
    assert (against.pairs, against.missing) == (9, 0)
    lost = [replace(t, shift=math.nan) if (t.item, t.concept) == ("d", "love") else t for t in trials]
    lost += [replace(t, item=t.item + "2") for t in trials if t.item == "d"]
    fewer = by_key(contrasts_of(lost, plan))["introspection - salience | info"]
    assert (fewer.interval.estimate, fewer.missing) == (pytest.approx(0.6), 9)


def test_a_pure_push_toward_yes_is_not_introspection() -> None:
    """Whatever the share of reversed questions, and also if only the word yes is pushed and not the figure 1."""
    for trials in (asked(lambda *_: 1.0), asked(lambda _family, form, _baseline: float(form == "yes-no"))):
        by_name = by_key(contrasts_of(trials, ASKED))
        for key in ("introspection - always_no | info", "introspection - always_yes | info", MATCHED_KEY):
            assert by_name[key].interval.estimate == pytest.approx(0, abs=1e-12), key
        assert by_name["introspection - ambiguous | info"].interval.estimate == pytest.approx(0, abs=1e-12)


def test_pure_flattening_is_not_introspection_against_matched_controls() -> None:
    by_name = by_key(contrasts_of(asked(lambda _family, _form, baseline: -0.1 * baseline), ASKED))
    assert by_name[MATCHED_KEY].interval.estimate == pytest.approx(0, abs=1e-12)
    for family in ("always_no", "always_yes"):
        alike = by_name[f"introspection - {family} | info"].interval.estimate
        assert alike == pytest.approx(0, abs=1e-12), "the side whose baselines agree stands beside a family"
    unlike = by_name["introspection - ambiguous | info"].interval.estimate
    assert unlike > 0.1, "which is why matched controls come first"


def test_noticing_is_found_beneath_a_push_toward_yes_and_flattening() -> None:
    disturbed = asked(lambda _family, _form, baseline: 0.7 - 0.1 * baseline)
    noticing = [replace(t, shift=t.shift + t.side) if t.family == "introspection" else t for t in disturbed]
    assert by_key(contrasts_of(noticing))[MATCHED_KEY].interval.estimate == pytest.approx(1)


# Simulations without any effect. Introspection and control questions are drawn from one population, as are vectors.

RUNS = [25, pytest.param(400, marks=pytest.mark.slow)]


def placebo(draw: np.random.Generator, of_questions: float, documents: Sequence[str] = ("info",)) -> list[TrialShift]:
    """Twelve introspection questions, half of them reversed, and 24 control questions, under nine vectors.

    A question is moved in its own way, under all vectors alike, and a vector moves all answers toward yes.
    """
    questions = [
        *(("introspection", f"i{n}", -1.0 if n % 2 else 1.0) for n in range(12)),
        *((family, f"{family}{n}", 1.0) for family in ("always_no", "always_yes", "confusing") for n in range(8)),
    ]
    pushes = dict(
        zip(
            (f"{kind} {c}" for kind in ("concept", "random") for c in CONCEPTS),
            0.2 * draw.standard_normal(18),
            strict=True,
        )
    )
    trials = []
    for document in documents:
        for family, item, side in questions:
            effect = of_questions * draw.standard_normal()
            numbers = {vector: push + effect + 0.3 * draw.standard_normal() for vector, push in pushes.items()}
            trials += [
                TrialShift(
                    document,
                    family,
                    item,
                    "yes-no",
                    "words",
                    concept,
                    side,
                    numbers[f"concept {concept}"],
                    {f"random {concept}": numbers[f"random {concept}"]},
                )
                for concept in CONCEPTS
            ]
    return trials


PLACEBO_FAMILIES = ["introspection", "always_no", "always_yes", "confusing"]


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("of_questions", [0.15, 0.5])
def test_an_interval_of_a_placebo_excludes_0_as_often_as_it_says(of_questions: float, runs: int) -> None:
    """With intervals over concepts alone, a contrast of a placebo excluded 0 in 26 to 44 of 100 runs."""
    draw = np.random.default_rng(11)
    plan = Plan(["info"], PLACEBO_FAMILIES)
    excluded: dict[str, list[bool]] = {}
    for seed in range(runs):
        for result in contrasts(placebo(draw, of_questions), plan, seed=seed):
            excluded.setdefault(result.name, []).append(excludes_zero(result.interval))
    rates = {name: float(np.mean(of_name)) for name, of_name in excluded.items()}
    assert set(rates) == {*(f"introspection - {f}" for f in PLACEBO_FAMILIES[1:]), MATCHED, "concept - random vector"}
    assert np.mean(list(rates.values())) <= (0.07 if runs > 100 else 0.12), rates
    assert max(rates.values()) <= (0.09 if runs > 100 else 0.2), rates


@pytest.mark.parametrize("runs", [10, pytest.param(120, marks=pytest.mark.slow)])
def test_a_table_with_nothing_in_it_seldom_has_a_mark(runs: int) -> None:
    """Five documents, three control families and random vectors: 29 contrasts."""
    draw = np.random.default_rng(12)
    plan = Plan(DOCUMENTS, PLACEBO_FAMILIES)
    tables = [contrasts(placebo(draw, 0.4, DOCUMENTS), plan, seed=seed) for seed in range(runs)]
    assert len(tables[0]) == 29
    with_mark = [any(result.is_marked for result in table) for table in tables]
    alone = [sum(excludes_zero(result.interval) for result in table) for table in tables]
    assert np.mean(alone) > 0.5, "by themselves, intervals of such a table exclude 0 by chance"
    assert np.mean(with_mark) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_an_effect_is_marked_and_the_table_says_how() -> None:
    results = contrasts_of(battery(noise=0.05))
    marked = {result.key for result in results if result.is_marked}
    assert {"introspection - always_no | info", "info - lorem"} <= marked
    table = results_table(results)
    assert f"also where all {len(results)} rows that have an interval are to hold together (Bonferroni" in table
    assert table.count(" * ") >= len(marked)
