"""Any log's tables and pictures: which experiment a log is of, and what is printed above and below its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.sweep import group_trials
from introbench.analysis.verdict import RULES, VERDICTS
from introbench.checks.record import SECONDS
from introbench.errors import InputError, shown
from introbench.records.factors import TrialFactors
from introbench.records.scores import score_of, scored_trials
from introbench.report import (
    calibrate,
    identification,
    introspection,
    location,
    logit_lens,
    model_swap,
    probe,
    sampled_detection,
    sweep,
    top_of_mind,
)
from introbench.report.beside import LOG_ODDS, beside_log_odds
from introbench.report.read_log import LoggedRun, LoggedTrial, read_run, task_of
from introbench.report.report import Report, wrapped
from introbench.report.self_checks import short_summary, summary
from introbench.report.sweep_plot import draw_sweep
from introbench.report.typed import fitting_together

ANALYSES: dict[str, Callable[[Sequence[ScoredTrial]], Any]] = {"yes_shift": IntrospectionRun}
"""For the name of a task's scorer, what its report and figures start from, if that is more than the trials."""

REPORTS: dict[str, Callable[[Any], Report]] = {
    "dose_response": calibrate.report,
    "yes_shift": introspection.report,
    "lens_gap": logit_lens.report,
    "identified": identification.report,
    "located": location.report,
    "arm_shifts": model_swap.report,
    "probed": probe.report,
    "answers_graded": sampled_detection.report,
    "swept": sweep.report,
    "top_of_mind_texts": top_of_mind.report,
}
"""For the name of each task's scorer, what makes the report of what the task's analysis found."""


@dataclass(frozen=True)
class ReadLog:
    """A log of one of the tasks.

    Attributes:
        location: Where it is.
        run: The log.
        scorer: Name of the task's scorer.
        scored: The trials that have a score.
    """

    location: str
    run: LoggedRun
    scorer: str
    scored: Sequence[LoggedTrial]

    @property
    def trials(self) -> list[ScoredTrial]:
        """For each trial its sample's metadata and its score's."""
        return scored_trials(self.scored, self.scorer)

    @cached_property
    def found(self) -> Any:
        """What the task's analysis makes of the trials, which report and figures share; most tasks': the trials."""
        return ANALYSES.get(self.scorer, list)(self.trials)

    @cached_property
    def report(self) -> Report:
        """What the task says about its trials, and in the conclusion what to know of the chats that it rests on."""
        with fitting_together(f"log {shown(self.location)}"):
            report = REPORTS[self.scorer](self.found)
        notes = self.run.facts.get("notes")
        noted = [str(note) for note in notes] if isinstance(notes, list) else []
        return replace(report, conclusion=[*report.conclusion, *noted])

    def below(self, *, full: bool) -> list[str]:
        """By which rules an older log was judged, what was run, and what it found out about itself.

        Args:
            full: Whether all tables stand above it, or it has to say where there is more.
        """
        return _below(self.run, self.scored, full=full)


def read_log(location: str, *, with_arms: bool = False) -> ReadLog:
    """Read a log of any of the tasks.

    Args:
        location: The log.
        with_arms: Whether to keep the provider's records of the arms, which tables do not need.

    Raises:
        InputError: The log holds no scored trials of an introbench task.
    """
    return log_of(location, read_run(location, with_arms=with_arms))


def log_of(location: str, run: LoggedRun) -> ReadLog:
    """The same of a log that has been read.

    Raises:
        InputError: The log holds no scored trials of an introbench task.
    """
    for scorer in REPORTS:
        scored = [trial for trial in run.trials if score_of(trial.scores, scorer)]
        if scored:
            return ReadLog(location, run, scorer, scored)
    how = "score it, or choose another" if run.status == "success" else f"go on with: inspect eval-retry {location}"
    raise InputError(f"log {shown(location)}: no scored trials of an introbench task; status {run.status}; {how}")


SAMPLED = "answers_graded"
"""Name of the scorer of the task that samples answers."""


def with_log_odds(log: ReadLog, others: Sequence[str]) -> Report:
    """A log's report; of sampled answers with what the log-odds of the same model say, if a log of them is given.

    Args:
        log: The log.
        others: Logs that are shown together with it.
    """
    if log.scorer != SAMPLED:
        return log.report
    runs = []
    for where in others:
        if where != log.location and task_of(where).rpartition("/")[2] == "introspection":
            other = read_log(where)
            if other.scorer == LOG_ODDS and other.run.model == log.run.model:
                runs.append((Path(where).name, other.found))
    lines = beside_log_odds(log.trials, runs)
    return replace(log.report, conclusion=[*log.report.conclusion, *lines])


def log_table(location: str, *, full: bool = False, others: Sequence[str] = ()) -> str:
    """What a log's trials say: the conclusion, and the tables of the first screen.

    Args:
        location: The log.
        full: Whether all other tables follow.
        others: Logs whose tables are printed as well; see `with_log_odds`.

    Raises:
        InputError: The log holds no scored trials of an introbench task.
    """
    log = read_log(location)
    return "\n\n".join([*with_log_odds(log, others).paragraphs(full=full), *log.below(full=full)])


def plot_log(location: str, path: Path) -> None:
    """Draw the maps of a sweep's log.

    Raises:
        InputError: It is no log of a sweep with scored trials.
    """
    run = read_run(location)
    scored = [trial for trial in run.trials if score_of(trial.scores, "swept")]
    if not scored:
        raise InputError(f"log {shown(location)}: no scored trials of a sweep; run evals/sweep.py, and pass its log")
    trials = scored_trials(scored, "swept")
    with fitting_together(f"log {shown(location)}"):
        plan = TrialFactors.from_json(trials[0][0]).plan
        draw_sweep(group_trials(trials), plan.more, f"{run.model}: shift in log-odds", path)


def _below(run: LoggedRun, scored: Sequence[LoggedTrial], *, full: bool) -> list[str]:
    """By which rules an older log was judged, what was run, what it found out about itself, and where there is more."""
    records, duration = _self_checks(run, scored)
    if full:
        return [*_older_verdict(run), _headline(run, len(scored)), *([summary(records, duration)] if records else [])]
    more = "All tables: introbench table --full. Every trial: inspect view."
    below = " ".join([*([short_summary(records)] if records else []), more])
    return ["\n".join(map(wrapped, (*_older_verdict(run), _headline(run, len(scored)), below)))]


def _self_checks(run: LoggedRun, scored: Sequence[LoggedTrial]) -> tuple[list[Mapping[str, Any]], float]:
    """The record of the self-checks of every arm batch, and how long the run took, in seconds; 0 if it has no end."""
    records: dict[int, Mapping[str, Any]] = {}
    for trial in scored:
        record, arm_batch = trial.self_checks, trial.metadata.get("bank", 0)
        # Only the last trials of an arm batch record all the time that its checks took.
        if record and record.get(SECONDS, 0.0) >= records.get(arm_batch, record).get(SECONDS, 0.0):
            records[arm_batch] = record
    return list(records.values()), _duration(run)


def _duration(run: LoggedRun) -> float:
    """How long a run took, in seconds; 0 if it was cut off and so has no end."""
    try:
        begun, ended = map(datetime.fromisoformat, run.times)
        return (ended - begun).total_seconds()
    except (ValueError, TypeError):  # TypeError: one of them says its zone, and the other does not
        return 0.0


def _older_verdict(run: LoggedRun) -> list[str]:
    """The verdict that a log was given by older rules than those of the verdict above."""
    given = [verdict for verdict in VERDICTS if run.metrics.get(f"verdict: {verdict}") == 1]
    if not given or run.rules >= RULES:
        return []
    return [
        f"This log's own verdict, by version {run.rules} of the rules: {given[0].upper()}. The one above is by version "
        f"{RULES}, which asks for random vectors of the concepts' doses."
    ]


def _headline(run: LoggedRun, scored: int) -> str:
    facts = run.facts
    total = scored if run.planned is None else run.planned
    # Where vectors were read from files, the strength multiplies their norms.
    own_norms = f" times the files' own norms ({facts['vector_norms']})" if "vector_norms" in facts else ""
    return (
        f"{run.model}: layers {facts.get('layers', '?')}, strength {facts.get('strength', '?')}{own_norms}, "
        f"{facts.get('method', '?')}; {scored} of {total} trials scored ({run.status})"
    )
