"""How the log viewer lists a task's trials."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from inspect_ai.viewer import ScoreColorScale, TaskSamplesColumn, TaskSamplesSort, TaskSamplesView, ViewerConfig

from introbench.records.scores import recorded_name

GROUPS = {
    "document": "Document",
    "family": "Family",
    "part": "Asked for",
    "passage": "Text",
    "kind": "Kind of question",
}
"""What a person reads above the columns by which trials are grouped."""


def samples_view(
    name: str,
    scorer: str,
    labels: Mapping[str, str],
    colours: Mapping[str, ScoreColorScale] = MappingProxyType({}),
    groups: Sequence[str] = ("document", "family"),
) -> ViewerConfig:
    """How the log viewer lists trials: one column for each value of the score, the largest of the first one on top.

    A click on a column's head sorts by it, so that the trials of one document or family stand together.

    Args:
        name: Of the view.
        scorer: Whose values they are.
        labels: What a person reads above each number.
        colours: Colour scales of some of them.
        groups: What the score's value says of the trial itself, before its numbers; keys of `GROUPS`.
    """
    columns = {group: GROUPS[group] for group in groups} | dict(labels)
    recorded = recorded_name(scorer)
    hidden = ("sampleStatus", "target", "answer", "input", "tokens", "duration")
    return ViewerConfig(
        task_samples_view=TaskSamplesView(
            name=name,
            columns=[
                TaskSamplesColumn(id="sampleId"),
                *(TaskSamplesColumn.score(recorded, value) for value in columns),
                *(TaskSamplesColumn(id=column, visible=False) for column in hidden),
            ],
            sort=[TaskSamplesSort.score(recorded, next(iter(labels)), dir="desc")],
            score_labels=columns,
            score_color_scales=dict(colours),
            color_scales_enabled=True,
            multiline=False,
        )
    )
