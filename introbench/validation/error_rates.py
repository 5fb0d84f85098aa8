"""The instrument's error rates: planted models against verdicts, and the smallest effect that it finds."""

from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest
from tabulate import tabulate

from introbench.analysis.verdict import INTROSPECTIVE, VERDICTS
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Outcome

POWER = 0.8
"""Share of runs in which an effect has to be found to count as found in most."""


def rate(hits: int, count: int) -> str:
    """A share with its exact (Clopper-Pearson) 95% interval."""
    if not count:
        return ""
    interval = binomtest(hits, count).proportion_ci(method="exact")
    return f"{hits}/{count} = {hits / count:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def replace_tables(path: Path, command: str, tables: str) -> None:
    """Replace the part of a Markdown file that a command generates.

    Args:
        path: The file, with a mark before the part and one after it.
        command: The command, which the marks name.
        tables: The new text of the part.

    Raises:
        ValueError: The file has no such part.
    """
    begin, end = f"<!-- made by {command} -->", f"<!-- end of what {command} makes -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{path}: no part that {command} makes; expected {begin} and {end}; add them")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{tables}\n\n{end}{after}", encoding="utf-8")


def confusion_matrix(outcomes: Sequence[Outcome]) -> str:
    """Planted models against verdicts, as a Markdown table."""
    outcomes = _with_default_effect(outcomes)
    reached = [verdict for verdict in VERDICTS if any(outcome.verdict == verdict for outcome in outcomes)]
    rows = []
    for name, truth in PLANTED.items():
        verdicts = [outcome.verdict for outcome in outcomes if outcome.case.planted == name]
        if verdicts:
            counts = [verdicts.count(verdict) or "" for verdict in reached]
            rows.append([name, truth.verdict, *counts, rate(verdicts.count(truth.verdict), len(verdicts))])
    return tabulate(rows, headers=["planted", "truth", *reached, "right"], tablefmt="github")


def error_rates(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """How often introspection is claimed.

    Returns:
        Pairs of the number of claims and the number of runs: `false` for models without introspection, `found` for
        models with it.
    """
    claims: dict[bool, list[bool]] = {True: [], False: []}
    for outcome in _with_default_effect(outcomes):
        introspects = PLANTED[outcome.case.planted].verdict in INTROSPECTIVE
        claims[introspects].append(outcome.verdict in INTROSPECTIVE)
    return {"false": (sum(claims[False]), len(claims[False])), "found": (sum(claims[True]), len(claims[True]))}


def power_curve(outcomes: Sequence[Outcome]) -> str:
    """How often an introspector is found, by its effect size, as a Markdown table."""
    rows = []
    for effect, runs in _by_effect(outcomes).items():
        claims = sum(outcome.verdict in INTROSPECTIVE for outcome in runs)
        half_width = sum(outcome.high - outcome.low for outcome in runs) / 2 / len(runs)
        excess = sum(outcome.noticed for outcome in runs) / len(runs)
        rows.append([f"{effect:g}", f"{excess:+.3f}", f"{half_width:.3f}", rate(claims, len(runs))])
    return tabulate(
        rows,
        headers=["planted effect (nats)", "mean excess (nats)", "half width of interval", "found"],
        tablefmt="github",
        disable_numparse=True,
    )


def found_in_most(outcomes: Sequence[Outcome]) -> float | None:
    """The smallest planted effect from which on a share of at least `POWER` of the runs find it; None without one."""
    smallest = None
    for effect, runs in reversed(_by_effect(outcomes).items()):
        if sum(outcome.verdict in INTROSPECTIVE for outcome in runs) < POWER * len(runs):
            break
        smallest = effect
    return smallest


def _with_default_effect(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of models as they are by default, without those of the other tables."""
    return [outcome for outcome in outcomes if outcome.case.effect is None and outcome.case.random_dose is None]


def _by_effect(outcomes: Sequence[Outcome]) -> dict[float, list[Outcome]]:
    """The outcomes of introspectors by effect size, the smallest first, whatever the dose of random directions is."""
    by_effect: dict[float, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.case.planted == SCALED:
            effect = PLANTED[SCALED].introspection if outcome.case.effect is None else outcome.case.effect
            by_effect.setdefault(effect, []).append(outcome)
    return dict(sorted(by_effect.items()))


def random_doses_table(outcomes: Sequence[Outcome]) -> str:
    """How often planted models are said to track the concept, by how strongly random directions act, in Markdown."""
    by_dose: dict[tuple[str, float | None], dict[float, list[bool]]] = {}
    for outcome in outcomes:
        dose = outcome.case.random_dose
        if dose is not None:
            claims = by_dose.setdefault((outcome.case.planted, outcome.case.effect), {}).setdefault(dose, [])
            claims.append(outcome.verdict in INTROSPECTIVE)
    doses = sorted({dose for of_model in by_dose.values() for dose in of_model})
    rows = [
        [
            name if effect is None else f"{name}, {effect:g} nats",
            *(rate(sum(claims[dose]), len(claims[dose])) if dose in claims else "" for dose in doses),
        ]
        for (name, effect), claims in by_dose.items()
    ]
    return tabulate(rows, ["said to track", *(f"{dose:g}" for dose in doses)], tablefmt="github", disable_numparse=True)


def report(outcomes: Sequence[Outcome]) -> str:
    """The confusion matrix, the error rates and the power curve, in Markdown."""
    errors = error_rates(outcomes)
    smallest = found_in_most(outcomes)
    lines = [
        "Planted models against verdicts, runs of each:",
        "",
        confusion_matrix(outcomes),
        "",
        f"- A model without introspection is said to have it: {rate(*errors['false'])}",
        f"- The introspector is found: {rate(*errors['found'])}",
        "",
        "How small an effect is found:",
        "",
        power_curve(outcomes),
    ]
    if any(outcome.case.random_dose is not None for outcome in outcomes):
        doses = (
            "How often a model is said to track the concept, by the share of a concept's dose that a random direction"
        )
        lines += ["", f"{doses} of its norm has:", "", random_doses_table(outcomes)]
    if smallest is not None:
        lines += ["", f"The smallest of these effects that is found in {POWER:.0%} of runs: {smallest:g} nats."]
    return "\n".join(lines)
