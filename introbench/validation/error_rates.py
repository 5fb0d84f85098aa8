"""The instrument's own error rates: planted models against verdicts, and how small an effect it finds."""

from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest
from tabulate import tabulate

from introbench.analysis.verdict import VERDICTS
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Outcome

INTROSPECTIVE = PLANTED[SCALED].verdict
"""The verdict that claims introspection."""

POWER = 0.8


def rate(hits: int, count: int) -> str:
    """A share with its exact (Clopper-Pearson) 95% interval."""
    if not count:
        return ""
    interval = binomtest(hits, count).proportion_ci(method="exact")
    return f"{hits}/{count} = {hits / count:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def replace_tables(path: Path, command: str, tables: str) -> None:
    """Put a command's tables into the part of a Markdown file that is the command's.

    Args:
        path: The file, with a mark before the part and one after it.
        command: Whose part it is.
        tables: What is to stand there.

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
    of_default = [each for each in outcomes if each.case.effect is None]
    said = [verdict for verdict in VERDICTS if any(each.verdict == verdict for each in of_default)]
    rows = []
    for name, truth in PLANTED.items():
        verdicts = [each.verdict for each in of_default if each.case.planted == name]
        if verdicts:
            counts = [verdicts.count(verdict) or "" for verdict in said]
            rows.append([name, truth.verdict, *counts, rate(verdicts.count(truth.verdict), len(verdicts))])
    return tabulate(rows, headers=["planted", "truth", *said, "right"], tablefmt="github")


def error_rates(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """How many of how many: introspection claimed of models that have none, and found in those that do."""
    of_default = [each for each in outcomes if each.case.effect is None]
    claimed = {True: [0, 0], False: [0, 0]}
    for each in of_default:
        tally = claimed[PLANTED[each.case.planted].verdict == INTROSPECTIVE]
        tally[0] += each.verdict == INTROSPECTIVE
        tally[1] += 1
    return {"false": (claimed[False][0], claimed[False][1]), "found": (claimed[True][0], claimed[True][1])}


def power_curve(outcomes: Sequence[Outcome]) -> str:
    """How often an introspector is found, by its effect size, as a Markdown table."""
    rows = []
    for effect, several in _by_effect(outcomes).items():
        found = sum(each.verdict == INTROSPECTIVE for each in several)
        width = sum(each.high - each.low for each in several) / 2 / len(several)
        excess = sum(each.noticed for each in several) / len(several)
        rows.append([f"{effect:g}", f"{excess:+.3f}", f"{width:.3f}", rate(found, len(several))])
    return tabulate(
        rows,
        headers=["planted effect (nats)", "mean excess (nats)", "half width of interval", "found"],
        tablefmt="github",
        disable_numparse=True,
    )


def found_in_most(outcomes: Sequence[Outcome]) -> float | None:
    """The smallest planted effect from which on at least `POWER` of the runs find it; None if there is none."""
    smallest = None
    for effect, several in reversed(_by_effect(outcomes).items()):
        if sum(each.verdict == INTROSPECTIVE for each in several) < POWER * len(several):
            break
        smallest = effect
    return smallest


def _by_effect(outcomes: Sequence[Outcome]) -> dict[float, list[Outcome]]:
    """The outcomes of introspectors by effect size, the smallest first."""
    by_effect: dict[float, list[Outcome]] = {}
    for each in outcomes:
        if each.case.planted == SCALED:
            effect = PLANTED[SCALED].introspection if each.case.effect is None else each.case.effect
            by_effect.setdefault(effect, []).append(each)
    return dict(sorted(by_effect.items()))


def report(outcomes: Sequence[Outcome]) -> str:
    """All of it, in Markdown."""
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
    if smallest is not None:
        lines += ["", f"The smallest of these effects that is found in {POWER:.0%} of runs: {smallest:g} nats."]
    return "\n".join(lines)
