"""The table that sets published probabilities beside a run's own."""

import math
from collections.abc import Sequence

from introbench.analysis.noticed import ReadTrial
from introbench.analysis.published_results import Pair, beside_published, model, source
from introbench.report.markdown import published_form
from introbench.report.report import plain_table


def published_table(task: str, run_model: str, trials: Sequence[ReadTrial]) -> list[str]:
    """A sentence and the table; nothing if nothing was published for this task and these documents.

    Args:
        task: Name of the task.
        run_model: The model of the run.
        trials: The factors of each trial and its exact numbers.
    """
    rows = beside_published(task, trials)
    if not rows:
        return []
    whose = "the same model" if model() in run_model else "another model, so that they are a reference only"
    cells = [
        [
            f"{row.document}, {row.injected}{', control questions' if row.controls else ''}",
            *(_text(pair) for pair in (row.yes, row.measured_yes, row.no, row.measured_no)),
        ]
        for row in rows
    ]
    headers = ["document, injected", "yes, published", "yes, measured", "no, published", "no, measured"]
    return [
        f"Published for {model()} ({source()}), {whose},\n"
        "and measured in this run on its plain questions, mean over wordings and formats (-T prompts=FOLDER asks\n"
        "published wordings)",
        plain_table(headers, cells),
    ]


def _text(pair: Pair) -> str:
    return "not asked" if any(map(math.isnan, pair)) else published_form(*pair)
