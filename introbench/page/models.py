"""The table that sets models side by side: on the page, and as Markdown and LaTeX to paste."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from introbench.analysis.introspection import IntrospectionRun
from introbench.report.verdict import interval_text

SAME_DOSE = 0.1
"""Largest relative difference of two doses that are taken for the same one."""

HEADERS = ("model", "verdict", "excess (nats) [95% interval]", "dose (nats)", "live vectors")


@dataclass(frozen=True)
class ModelRow:
    """What one run of the introspection task says of its model.

    Attributes:
        model: The model.
        anchor: The section that holds the run.
        verdict: The verdict's name.
        excess: Excess of introspection in nats.
        interval: The excess with its interval, as text.
        dose: Mean dose of the concepts' vectors in nats.
        live: How many vectors are live, as text.
    """

    model: str
    anchor: str
    verdict: str
    excess: float
    interval: str
    dose: float
    live: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in the row, under `HEADERS`."""
        dose = "not measured" if math.isnan(self.dose) else f"{self.dose:.3f}"
        return (self.model, self.verdict, self.interval, dose, self.live)


@dataclass(frozen=True)
class ModelGroup:
    """Runs whose excesses can be compared, or those that share their dose with no other model.

    Attributes:
        title: What they have in common.
        rows: The runs, the largest excess first.
    """

    title: str
    rows: Sequence[ModelRow]


def model_row(model: str, anchor: str, run: IntrospectionRun) -> ModelRow | None:
    """The row of a run; None if the run has no excess or no verdict.

    Args:
        model: The model's name.
        anchor: The section that holds the run.
        run: The run.
    """
    headline, verdict = run.headline, run.verdict
    if headline is None or verdict is None:
        return None
    excess = headline.fit.excess
    live = [is_live for is_live in run.live.values() if is_live is not None]
    return ModelRow(
        model=model,
        anchor=anchor,
        verdict="none" if verdict.lack else verdict.name,
        excess=excess.estimate,
        interval=interval_text(excess, ""),
        dose=headline.dose,
        live=f"{sum(live)} of {len(live)}" if live else "not measured",
    )


def by_dose(rows: Iterable[ModelRow]) -> list[ModelGroup]:
    """Runs of several models at one dose together, the dose of most models first; then all others.

    At one strength an injection disturbs one model more than another, so that excesses are compared at equal dose.
    """
    groups: list[list[ModelRow]] = []
    for row in sorted(rows, key=lambda row: math.inf if math.isnan(row.dose) else row.dose):
        # Doses are in their order, so that only the group before this row can have its dose.
        if groups and row.dose - groups[-1][0].dose <= SAME_DOSE * row.dose:
            groups[-1].append(row)
        else:
            groups.append([row])
    groups.sort(key=lambda group: -_models(group))
    shared = [ModelGroup(f"at a dose of about {g[0].dose:.2g} nats", _sorted(g)) for g in groups if _models(g) > 1]
    alone = [row for group in groups if _models(group) == 1 for row in group]
    return [*shared, *([ModelGroup("at doses of their own", _sorted(alone))] if alone else [])]


def _models(rows: Sequence[ModelRow]) -> int:
    return len({row.model for row in rows})


def _sorted(rows: Sequence[ModelRow]) -> list[ModelRow]:
    return sorted(rows, key=lambda row: math.inf if math.isnan(row.excess) else -row.excess)


def as_markdown(groups: Sequence[ModelGroup]) -> str:
    """The table in Markdown."""
    rows = [[cell.replace("|", "\\|") for cell in row.cells] for group in groups for row in group.rows]
    return tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True)


def as_latex(groups: Sequence[ModelGroup]) -> str:
    """The table in LaTeX, for the package booktabs."""
    rows = [row.cells for group in groups for row in group.rows]
    return tabulate(rows, HEADERS, tablefmt="latex_booktabs", disable_numparse=True)
