"""Tables of the model swap task: shifts and contrasts of every arm."""

from collections.abc import Sequence

from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import ScoredTrial
from introbench.report.text import results_table


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    run = SwapRun(trials)
    return [
        "Mean shift toward yes under each arm, against the sham; for introspection toward 'noticed'",
        results_table(run.shifts()),
        "Contrasts: does introspection move more than control questions do, under the same arm?",
        results_table(run.contrasts()),
        "Units are questions, as there is one fine-tune: intervals are 95% each, studentised bootstrap over\n"
        "questions. finetune: the fine-tune filled the cache. contrast +/-: the base filled it, steered by the vector\n"
        "from base to fine-tune, or by its opposite. random: by rotations of that vector, on average. A control\n"
        "family by itself stands beside plain questions, always_yes beside reversed ones; matched controls are both.",
    ]
