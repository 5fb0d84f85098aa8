"""Tables of the model swap task: shifts and contrasts of every arm."""

import math
from collections.abc import Sequence

from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import Result, ScoredTrial, read_trials
from introbench.analysis.probabilities import mean_probabilities
from introbench.report.probabilities import first_table, full_table
from introbench.report.report import Report, counted, plain_table
from introbench.report.text import interval_text, number_text, results_table

LEGEND = (
    "Units are questions, as there is one fine-tune: intervals are 95% each, studentised bootstrap over\n"
    "questions. finetune: the fine-tune filled the cache. contrast +/-: the base filled it, steered by the vector\n"
    "from base to fine-tune, or by its opposite. random: by rotations of that vector, on average. A control\n"
    "family by itself stands beside plain questions, always_yes beside reversed ones; matched controls are both."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    run = SwapRun(trials)
    probabilities = mean_probabilities(read_trials(trials))
    headlines = run.headlines()
    return Report(
        conclusion=_conclusion(headlines),
        tables=[*first_table(probabilities), *_headlines(headlines)],
        further=[
            *full_table(probabilities),
            "Mean shift toward yes under each arm, against the sham; for introspection toward 'noticed'",
            results_table(run.shifts()),
            "Contrasts: does introspection move more than control questions do, under the same arm?",
            results_table(run.contrasts()),
            LEGEND,
        ],
    )


def _conclusion(headlines: Sequence[Result]) -> list[str]:
    """Whether the fine-tune's cache moves introspection more than control questions, and what that rests on."""
    if not headlines or not headlines[0].interval.units:
        return [
            "No conclusion: introspection and control questions were not both answered with finite numbers.",
            "What would change it: ask both (families=...), of the same formats.",
        ]
    first, *others = headlines
    arm, _, controls = first.name.partition(": introspection - ")
    interval = first.interval
    if math.isnan(interval.low):
        shown = "Whether the swap is noticed is not known"
    elif interval.low > 0:
        shown = "The answers say more than without the swap that something was noticed, beyond control questions"
    elif interval.high < 0:
        shown = "The answers say less than without the swap that something was noticed, beyond control questions"
    else:
        shown = "It is not shown that the swap is noticed"
    beside = [f"{other.name.partition(': ')[0]}: {number_text(other.interval.estimate)}" for other in others]
    return [
        f"{shown}: with the cache of arm {arm}, under document {first.document}, introspection moves by "
        f"{number_text(interval.estimate)} {interval_text(interval)} nats more than {controls} (95% interval).",
        *([f"The same contrast of the other arms, in nats: {'; '.join(beside)}."] if beside else []),
        f"It rests on {counted(interval.units, 'question')} in the family that has fewest, and on one fine-tune: it "
        "says nothing about others.",
        "What would change it: more introspection and control questions, which narrow the interval; random vectors of "
        "that norm that move answers as much.",
    ]


def _headlines(headlines: Sequence[Result]) -> list[str]:
    rows = [
        [result.name, number_text(result.interval.estimate), interval_text(result.interval), result.interval.units]
        for result in headlines
    ]
    return (
        [plain_table(["introspection beyond control questions", "nats", "95% interval", "questions"], rows)]
        if rows
        else []
    )
