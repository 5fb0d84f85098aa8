"""Validate the instrument: `python -m introbench.validation` (`make validate`).

Planted models go through the whole path; simulated mechanisms through the analysis; a placebo takes a real model's
control questions for introspection questions. With `--models`, some of these by name: a line for each run.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from introbench.errors import InputError
from introbench.progress import screen_for, show_on, step, tell
from introbench.validation.error_rates import error_rates, replace_tables, report
from introbench.validation.mechanisms import MECHANISMS
from introbench.validation.placebo import placebo_rates, placebo_table, real_trials
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Case, Outcome, known_outcomes, run_cases
from introbench.validation.simulated_rates import (
    SimulatedRun,
    coverage_table,
    known_runs,
    mechanisms_table,
    simulated_runs,
)

EFFECTS = (0.2,)
"""Effect sizes of the power curve, in nats, beside the default one and those of `DOSED`."""
MORE_SEEDS = 4
"""How many times as many models are drawn for each of these: a share of runs is read off them."""
RANDOM_DOSES = (0.4, 0.5, 0.7, 1.0)
"""Shares of a concept's dose that a random direction of its norm has."""
DOSED = (("dose-detector", None), ("sensitive-family", None), (SCALED, 0.6))
"""Planted models that are run at each of these, with their effect sizes."""
MOST_FALSE = 0.025
"""Largest acceptable share of models without introspection that are said to have it."""
LEAST_FOUND = 0.95
"""Smallest acceptable share of introspectors that are found."""


def main() -> int:
    """Run what is asked for, print the tables, and report whether the error rates are acceptable.

    Returns:
        The exit status: 0 if they are acceptable.
    """
    options = _options()
    show_on(screen_for(sys.stderr))
    options.outcomes.mkdir(parents=True, exist_ok=True)
    names = options.models.split(",") if options.models else [*PLANTED, *MECHANISMS]
    try:
        _check(names, options.random_dose)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = list(_planted([name for name in names if name in PLANTED], options))
    simulated = list(_simulated([name for name in names if name in MECHANISMS], options))
    tables = _tables(outcomes, simulated, None if options.models else options.outcomes)
    print(tables)
    if options.write:
        replace_tables(options.write, "make validate", tables)
    rates = error_rates(outcomes)
    (false_claims, negatives), (true_claims, positives) = rates["false"], rates["found"]
    good = false_claims <= MOST_FALSE * negatives and true_claims >= LEAST_FOUND * positives
    print(
        f"\nIntrospection is claimed of at most {MOST_FALSE:.1%} of the planted models without it and of at least "
        f"{LEAST_FOUND:.0%} of the introspectors: {'yes' if good else 'NO'}"
    )
    return 0 if good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m introbench.validation", description=__doc__)
    parser.add_argument("--models", help="planted models and simulated mechanisms, separated by commas; all by default")
    parser.add_argument("--random-dose", type=float, help="share of a concept's dose that a random direction has")
    parser.add_argument("--seeds", type=int, default=4, help="how many times every planted model is drawn")
    parser.add_argument("--simulations", type=int, default=100, help="how many times every mechanism is simulated")
    parser.add_argument("--effects", type=float, nargs="*", default=EFFECTS, help="further effect sizes, in nats")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes")
    parser.add_argument(
        "--outcomes",
        type=Path,
        default=Path("logs/validation"),
        help="folder of outcomes; runs that it holds are not made again, new ones are added",
    )
    parser.add_argument("--write", type=Path, help="a Markdown file whose tables are replaced")
    return parser.parse_args()


def _check(names: Sequence[str], random_dose: float | None) -> None:
    """Refuse what cannot be run before anything is.

    Raises:
        InputError: There is no such model, or no planted model has such a dose.
    """
    unknown = [name for name in names if name not in PLANTED and name not in MECHANISMS]
    if unknown:
        raise InputError(f"models={','.join(unknown)}: expected some of {', '.join([*PLANTED, *MECHANISMS])}")
    if random_dose is not None and not 0.3 <= random_dose <= 4:
        raise InputError(f"random-dose={random_dose}: expected a share of a concept's dose, from 0.3 to 4; e.g. 0.4")


def _planted(names: Sequence[str], options: argparse.Namespace) -> Iterator[Outcome]:
    """Run planted models, with a line for each run if some were asked for by name."""
    cases = []
    for seed in range(options.seeds):
        cases += [Case(name, seed, random_dose=options.random_dose) for name in names]
        if not options.models:
            # At the doses of the concepts' vectors, a random vector's share hardly matters: half as many show it.
            of_doses = RANDOM_DOSES if seed < (options.seeds + 1) // 2 else ()
            cases += [Case(name, seed, effect, dose) for dose in of_doses for name, effect in DOSED]
    if not options.models:
        cases += [
            Case(SCALED, seed, effect) for seed in range(MORE_SEEDS * options.seeds) for effect in options.effects
        ]
    kept = known_outcomes(options.outcomes / "planted.jsonl")
    with step("planted models", sum(case not in kept for case in cases)) as advance:
        for outcome in run_cases(cases, options.outcomes / "planted.jsonl", options.workers):
            if options.models:
                tell(_described(outcome))
            advance(outcome.case not in kept)
            yield outcome


def _described(outcome: Outcome) -> str:
    case = outcome.case
    effect = "" if case.effect is None else f" at {case.effect:g} nats"
    dose = "" if case.random_dose is None else f", random dose {case.random_dose:g}"
    interval = f"({outcome.noticed:+.3f} [{outcome.low:+.3f}, {outcome.high:+.3f}])"
    return f"{case.planted}{effect}{dose}, seed {case.seed}: {outcome.verdict} {interval}"


def _simulated(names: Sequence[str], options: argparse.Namespace) -> Iterator[SimulatedRun]:
    """Simulate mechanisms, with a line for each run if some were asked for by name."""
    kept = known_runs(options.outcomes / "simulated.jsonl")
    wanted = {
        (name, size, seed) for name in names for size in MECHANISMS[name].sizes for seed in range(options.simulations)
    }
    runs = simulated_runs(names, options.simulations, options.outcomes / "simulated.jsonl", options.workers)
    with step("simulated mechanisms", len(wanted - kept.keys())) as advance:
        for run in runs:
            if options.models:
                tell(f"{run.mechanism} of {run.size:g}, seed {run.seed}: {run.verdict}")
            advance((run.mechanism, run.size, run.seed) not in kept)
            yield run


def _tables(outcomes: Sequence[Outcome], simulated: Sequence[SimulatedRun], logs: Path | None) -> str:
    """All tables in Markdown; with the placebo's if there is a folder for its log."""
    parts = [report(outcomes)] if outcomes else []
    if simulated:
        parts += [
            "Simulated mechanisms, the share of runs that is said to track the concept:",
            mechanisms_table(simulated),
            "How often the 95% interval of the excess covers the true one:",
            coverage_table(simulated),
        ]
    if logs is not None:
        parts += [
            "Control questions of the embedded model in introspection's place, where there is nothing to find:",
            placebo_table(placebo_rates(real_trials(logs / "placebo"))),
        ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
