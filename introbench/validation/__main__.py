"""Validate the instrument: `python -m introbench.validation` (`make validate`)."""

import argparse
import os
import sys
from pathlib import Path

from introbench.validation.error_rates import INTROSPECTIVE, error_rates, replace_tables, report
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Case, run_cases

EFFECTS = (0.2, 0.3, 0.4, 0.6)
"""Effect sizes of the power curve, in nats, beside the default one."""
MOST_FALSE = 0.025
"""Largest acceptable share of models without introspection that are said to have it."""
LEAST_FOUND = 0.95
"""Smallest acceptable share of introspectors that are found."""


def main() -> int:
    """Run every planted model over some seeds, print the tables, and report whether the error rates are acceptable.

    Returns:
        The exit status: 0 if they are acceptable.
    """
    parser = argparse.ArgumentParser(prog="python -m introbench.validation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many times every model is drawn")
    parser.add_argument("--effects", type=float, nargs="*", default=EFFECTS, help="further effect sizes, in nats")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="number of processes")
    parser.add_argument(
        "--outcomes",
        type=Path,
        default=Path("logs/validation.jsonl"),
        help="file of outcomes; models that it holds are not run again, new outcomes are added",
    )
    parser.add_argument("--write", type=Path, help="a Markdown file whose tables are replaced")
    options = parser.parse_args()
    options.outcomes.parent.mkdir(parents=True, exist_ok=True)
    cases = [
        case
        for seed in range(options.seeds)
        for case in [
            *(Case(name, seed) for name in PLANTED),
            *(Case(SCALED, seed, effect) for effect in options.effects),
        ]
    ]
    outcomes = []
    for outcome in run_cases(cases, options.outcomes, options.workers):
        outcomes.append(outcome)
        case = outcome.case
        effect = "" if case.effect is None else f" at {case.effect:g} nats"
        print(
            f"[{len(outcomes)}/{len(cases)}] {case.planted}{effect}, seed {case.seed}: {outcome.verdict} "
            f"({outcome.noticed:+.3f} [{outcome.low:+.3f}, {outcome.high:+.3f}])",
            file=sys.stderr,
            flush=True,
        )
    tables = report(outcomes)
    print(tables)
    if options.write:
        replace_tables(options.write, "make validate", tables)
    rates = error_rates(outcomes)
    (false_claims, negatives), (true_claims, positives) = rates["false"], rates["found"]
    good = false_claims <= MOST_FALSE * negatives and true_claims >= LEAST_FOUND * positives
    print(
        f"\n{INTROSPECTIVE!r} said of at most {MOST_FALSE:.1%} of the others and at least {LEAST_FOUND:.0%} of the "
        f"introspectors: {'yes' if good else 'NO'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
