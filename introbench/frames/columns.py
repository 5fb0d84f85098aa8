"""Columns for Inspect's own data frames, in which a trial's factors and numbers are no nested JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from introbench.records.scores import own_name

if TYPE_CHECKING:
    from inspect_ai.analysis import Column

_LEFT_OUT = ("arms", "plan", "answers", "bank", "asked_with", "prior_messages", "silent", "rows", "strengths")
"""Factors by which a run is organised."""


def sample_columns() -> "list[Column]":
    """Columns for `inspect_ai.analysis.samples_df`, one row a sample, each number in a column of its own.

    `samples_df("logs", columns=introbench.sample_columns())` has `id` and `epoch`; `trial_*`, what was asked and about
    which concept, as `introbench.trials` names it; and `number_*`, the exact numbers of its score, those of arms
    with the arm's name behind: `number_shift`, `number_log_odds_sham`, `number_p_yes_concept`. Units are those of
    `introbench.trials`. Numbers of a whole list (layers, cells) are left out: `introbench.trials` has them.

    Raises:
        ImportError: pandas or pyarrow, which Inspect needs for this, is not installed.
    """
    from inspect_ai.analysis import SampleColumn  # noqa: PLC0415 (Inspect takes long to import)

    return [
        SampleColumn("id", path="id", required=True, type=str),
        SampleColumn("epoch", path="epoch", required=True),
        SampleColumn("trial_*", path=_factors, full=True),
        SampleColumn("number_*", path=_numbers, full=True),
    ]


def _factors(sample: Any) -> dict[str, Any]:
    """What a sample's metadata say of its trial, without what has parts."""
    metadata: Mapping[str, Any] = sample.metadata or {}
    return {
        name: value for name, value in metadata.items() if name not in _LEFT_OUT and not isinstance(value, dict | list)
    }


def _numbers(sample: Any) -> dict[str, Any]:
    """The exact numbers of a sample's last score by an introbench scorer, those of arms by the arm's name."""
    numbers: dict[str, Any] = {}
    for name, score in (sample.scores or {}).items():
        if name.startswith("introbench/") or own_name(name) != name:
            numbers = {}
            for key, value in (getattr(score, "metadata", None) or {}).items():
                parts = value if isinstance(value, Mapping) else {"": value}
                for arm, number in parts.items():
                    if number is None or isinstance(number, int | float | str):
                        numbers[_column(f"{key}_{arm}" if arm else key)] = number
    return numbers


def _column(name: str) -> str:
    """A name with underscores for everything but letters and digits, once each."""
    return "_".join("".join(sign if sign.isalnum() else " " for sign in name).split())
