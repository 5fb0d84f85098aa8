"""Validate the instrument: `python -m introbench.validation` (`make validate`)."""

import argparse
import os
import sys
from pathlib import Path

from introbench.validation.error_rates import INTROSPECTIVE, error_rates, replace_tables, report
from introbench.validation.planted_truths import PLANTED
from introbench.validation.runs import SCALED, Case, run_cases

EFFECTS = (0.2, 0.3, 0.4, 0.6)
MOST_FALSE = 0.025
LEAST_FOUND = 0.95


def main() -> int:
    """Run every planted model over some seeds, print the tables, and say whether the error rates will do."""
    parser = argparse.ArgumentParser(prog="python -m introbench.validation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many times each model is drawn anew")
    parser.add_argument("--effects", type=float, nargs="*", default=EFFECTS, help="further effect sizes, in nats")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--outcomes", type=Path, default=Path("logs/validation.jsonl"), help="outcomes; kept, and added to"
    )
    parser.add_argument("--write", type=Path, help="a Markdown file whose tables are to be replaced")
    options = parser.parse_args()
    options.outcomes.parent.mkdir(parents=True, exist_ok=True)
    cases = [
        case
        for seed in range(options.seeds)
        for case in [*(Case(name, seed) for name in PLANTED), *(Case(SCALED, seed, each) for each in options.effects)]
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
    (false, negatives), (found, positives) = error_rates(outcomes).values()
    good = false <= MOST_FALSE * negatives and found >= LEAST_FOUND * positives
    print(
        f"\n{INTROSPECTIVE!r} said of at most {MOST_FALSE:.1%} of the others and at least {LEAST_FOUND:.0%} of the "
        f"introspectors: {'yes' if good else 'NO'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
