"""The command `introbench`: the result table of a log."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from introbench.contrasts import Plan, TrialShift, active_contrasts, contrasts, mean_shifts, results_table
from introbench.errors import InputError
from introbench.scorers.yes_shift import plan_of, shift_of_trial


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="introbench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="print the result table of a log")
    table.add_argument("log", nargs="?", default="logs", help="a log file, or a folder whose latest log is taken")
    options = parser.parse_args(arguments)
    try:
        location = find_log(options.log)
        print(log_table(location))
    except InputError as error:
        print(f"introbench: {error}", file=sys.stderr)
        return 2
    return 0 if read_eval_log(location, header_only=True).status == "success" else 1


def find_log(where: str) -> str:
    """The log file itself, or the latest introspection log in a folder.

    Raises:
        InputError: There is no such file, or no such log in the folder.
    """
    path = Path(where)
    if path.is_file():
        return where
    if path.is_dir():
        for info in list_eval_logs(where):
            if info.task.removeprefix("introbench/") == "introspection":
                return info.name
    raise InputError(
        f"log {where!r}: no introspection log there; expected a log file or a folder with one; run one first"
    )


def log_table(location: str) -> str:
    """Everything that a log's trials say, as plain text.

    Raises:
        InputError: The log holds no scored introspection trials.
    """
    log = read_eval_log(location, resolve_attachments=False)
    scored = [sample for sample in log.samples or [] if sample.scores and "yes_shift" in sample.scores]
    trials, active = (
        [
            shift
            for sample in scored
            if (shift := shift_of_trial(sample.metadata, (sample.scores or {})["yes_shift"], steering))
        ]
        for steering in ("cache", "active")
    )
    if not trials:
        raise InputError(
            f"log {location}: no scored introspection trials; status {log.status}; run the task to its end"
        )
    plan = plan_of(scored[0].metadata)
    return "\n\n".join(
        [
            _headline(log, len(trials)),
            "Mean shift toward yes under the concept's vector, against the sham; for introspection toward 'noticed'",
            results_table(mean_shifts(trials, plan)),
            "Contrasts: does introspection move more than what has nothing to do with it?",
            results_table(contrasts(trials, plan)),
            *_active_part(trials, active, plan),
            _legend(),
        ]
    )


def _active_part(cached: Sequence[TrialShift], active: Sequence[TrialShift], plan: Plan) -> list[str]:
    if not active:
        return []
    return [
        "The same trials with the injection on while the model answers, too, and how much that adds",
        results_table(active_contrasts(cached, active, plan)),
    ]


def _headline(log: EvalLog, scored: int) -> str:
    facts = log.eval.metadata or {}
    total = log.results.total_samples if log.results else scored
    return (
        f"{log.eval.model}: layers {facts.get('layers', '?')}, strength {facts.get('strength', '?')}, "
        f"{facts.get('method', '?')}; {scored} of {total} trials scored ({log.status})"
    )


def _legend() -> str:
    return (
        "Units are concepts (beside random vectors: the smaller number of the two). Intervals: 95% each, studentised\n"
        "bootstrap over units; not corrected for how many there are, and conditional on the wordings of the\n"
        "questions: other control questions would have moved differently. On a reversed question, a shift and that\n"
        "of the control beside it count with the sign turned. Matched controls: always_no beside plain questions,\n"
        "always_yes beside reversed ones, which cancels a push toward yes, and flattening where baselines agree.\n"
        "An interval that contains 0 is no evidence of an effect, and no evidence that there is none."
    )


if __name__ == "__main__":
    sys.exit(main())
