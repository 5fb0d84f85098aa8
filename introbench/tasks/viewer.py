"""How the log viewer lists a task's trials."""

from collections.abc import Mapping
from types import MappingProxyType

from inspect_ai.viewer import ScoreColorScale, TaskSamplesColumn, TaskSamplesSort, TaskSamplesView, ViewerConfig

from introbench.records.scores import recorded_name


def samples_view(
    name: str,
    scorer: str,
    labels: Mapping[str, str],
    colours: Mapping[str, ScoreColorScale] = MappingProxyType({}),
    largest: str = "",
) -> ViewerConfig:
    """How the log viewer lists trials: one column for each value of the score, the largest `largest` on top.

    A click on a column's head sorts by it, so that the trials of one document or family stand together.

    Args:
        name: Of the view.
        scorer: Whose values they are.
        labels: What a person reads above each value.
        largest: The value by which trials are sorted at first; that of the first label by default.
        colours: Colour scales of some of them.
    """
    recorded = recorded_name(scorer)
    hidden = ("sampleStatus", "target", "answer", "input", "tokens", "duration")
    return ViewerConfig(
        task_samples_view=TaskSamplesView(
            name=name,
            columns=[
                TaskSamplesColumn(id="sampleId"),
                *(TaskSamplesColumn.score(recorded, value) for value in labels),
                *(TaskSamplesColumn(id=column, visible=False) for column in hidden),
            ],
            sort=[TaskSamplesSort.score(recorded, largest or next(iter(labels)), dir="desc")],
            score_labels=dict(labels),
            score_color_scales=dict(colours),
            color_scales_enabled=True,
            multiline=False,
        )
    )
