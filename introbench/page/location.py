"""Figures of the location task: how often the right place is named, beside chance."""

from collections.abc import Mapping, Sequence

from introbench.analysis.location import location_results, location_trial, planned_parts
from introbench.analysis.noticed import ScoredTrial
from introbench.page.charts import interval_row, intervals
from introbench.page.figure import Figure, Panel
from introbench.records.factors import TrialFactors


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    results = location_results(map(location_trial, trials), planned_parts(plan))
    shares, gains = [], []
    for part in dict.fromkeys(result.part for result in results):
        of_part = [result for result in results if result.part == part]
        scores = [interval_row(r.name, r.accuracy, trials=r.trials) for r in of_part if not r.is_contrast]
        chance = next(result.chance for result in of_part if not result.is_contrast)
        shares.append(
            Panel(f"{part}, chance {chance:.0%}", intervals(scores, "right places", at=chance, form=".0%"), scores)
        )
        differences = [interval_row(r.name, r.accuracy, trials=r.trials) for r in of_part if r.is_contrast]
        gains.append(Panel(part, intervals(differences, "difference of right places", form="+.0%"), differences))
    return [
        Figure(
            "accuracy",
            "How often the right place is named",
            "Share of trials in which the place of the injection gains most; the dashed line is chance, 95% intervals.",
            shares,
        ),
        Figure(
            "gains",
            "How much more often than under random vectors, or by other questions",
            "The first row counts: what introspective questions gain over others, beyond what random vectors give.",
            gains,
        ),
    ]
