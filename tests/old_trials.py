"""Trials of old logs, from which tests of reports are made."""

from pathlib import Path

from introbench.analysis.noticed import ScoredTrial
from introbench.report.log import scored_trials
from introbench.report.read_log import read_run


def old_trials(task: str, scorer: str) -> list[ScoredTrial]:
    """The trials of a task's old log."""
    return scored_trials(read_run(str(Path(__file__).parent / "old_logs" / f"{task}.eval")).trials, scorer)
