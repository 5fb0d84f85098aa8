"""Tables of the introspection task: verdict, excess, shifts and contrasts."""

from collections.abc import Sequence

import numpy as np
from inspect_ai.log import EvalSample
from tabulate import tabulate

from introbench.analysis.contrasts import active_contrasts, contrasts, control_contrasts, mean_shifts
from introbench.analysis.excess import Excess, evidence, excesses
from introbench.analysis.shifts import Plan, TrialShift, plan_of, shift_of_trial
from introbench.analysis.verdict import ladder, verdict
from introbench.report.text import estimate_and_interval, number_text, results_table
from introbench.stats.intervals import Interval


def tables(scored: list[EvalSample]) -> list[str]:
    trials, active = (
        [
            shift
            for sample in scored
            if (shift := shift_of_trial(sample.metadata, (sample.scores or {})["yes_shift"], steering))
        ]
        for steering in ("cache", "active")
    )
    plan = plan_of(scored[0].metadata)
    found = excesses(trials, plan)
    return [
        *_verdict(found, scored, trials, plan),
        *_excess(found),
        "Mean shift toward yes under the concept's vector, against the sham; for introspection toward 'noticed',\n"
        "for salience toward 'something stands out'",
        results_table(mean_shifts(trials, plan)),
        "Contrasts: does introspection move more than what has nothing to do with it?",
        results_table(contrasts(trials, plan)),
        *_control_part(trials, plan),
        *_active_part(trials, active, plan),
        *_doses(scored),
        *_not_live(scored),
        _legend(),
    ]


def _verdict(found: Sequence[Excess], scored: list[EvalSample], trials: Sequence[TrialShift], plan: Plan) -> list[str]:
    """The verdict, with every step of the ladder."""
    live = {
        sample.metadata["concept"]: (sample.scores or {})["yes_shift"].metadata.get("live")
        for sample in scored
        if (sample.scores or {})["yes_shift"].metadata
    }
    rests_on = evidence(found, trials, plan, live)
    if rests_on is None:
        return []
    drawn = verdict(rests_on, plan.margin)
    return [
        f"Verdict under document {plan.ordered_documents[0]}: {drawn.name.upper()}"
        + (f"\n{drawn.settle}" if drawn.settle else ""),
        tabulate(ladder(drawn), ["question", "answer", "numbers"], tablefmt="simple", disable_numparse=True),
    ]


def _excess(found: Sequence[Excess]) -> list[str]:
    """Introspection in excess of the line through the control questions."""
    kinds = list(dict.fromkeys(kind for each in found for kind in each.confusion.by_kind))
    rows = [
        [
            each.document,
            each.vectors,
            *estimate_and_interval(each.confusion.excess),
            *(
                number_text(each.confusion.by_kind[kind].estimate) if kind in each.confusion.by_kind else ""
                for kind in kinds
            ),
            *(estimate_and_interval(each.behind_concepts) if each.behind_concepts else ("", "")),
            number_text(each.confusion.bias.estimate),
            f"{each.confusion.flattening.estimate:+.1%}",
            f"{each.confusion.covered:.0%}",
            each.confusion.missing or "",
        ]
        for each in found
    ]
    headers = ["document", "vectors", "excess (nats)", "95% interval", *kinds, "concepts minus these", "95% interval"]
    headers += ["yes-bias", "flattening", "covered", "missing"]
    if not rows:
        return []
    return [
        "Introspection in excess of what control questions with its baseline do (headline), by kind of answer as well",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "For each vector a line through the control questions' shifts over their baseline log-odds says what it does\n"
        "to any answer: yes-bias, and the share of the log-odds that it flattens away. covered: share of the\n"
        "introspection baselines within the controls' range. Intervals allow for few vectors and few questions.",
    ]


def _estimate(interval: Interval | None) -> str:
    return number_text(interval.estimate) if interval else ""


def _control_part(trials: Sequence[TrialShift], plan: Plan) -> list[str]:
    results = control_contrasts(trials, plan)
    if not results:
        return []
    return [
        "Control vectors, at the norm and at the impact of the concept's own, and what concepts do beyond them",
        results_table(results),
    ]


def _doses(scored: list[EvalSample]) -> list[str]:
    """Mean dose of each kind of arm."""
    doses: dict[str, list[float]] = {}
    for sample in scored:
        recorded = ((sample.scores or {})["yes_shift"].metadata or {}).get("dose", {})
        for arm, dose in recorded.items():
            if arm != "sham" and dose is not None:
                doses.setdefault("random" if arm.startswith("random") else arm, []).append(dose)
    if not doses:
        return []
    several = ", ".join(f"{arm} {np.mean(each):.3f}" for arm, each in doses.items())
    return [f"Dose on neutral questions (KL in nats, mean over vectors): {several}."]


def _not_live(scored: list[EvalSample]) -> list[str]:
    """The concepts whose vectors do nothing even where the model is steered while it answers."""
    silent = sorted(
        {
            sample.metadata["concept"]
            for sample in scored
            if ((sample.scores or {})["yes_shift"].metadata or {}).get("live") is False
        }
    )
    if not silent:
        return []
    return [
        f"Not live: {', '.join(silent)}. Steered while it answers, the model does not come to think of them more than\n"
        "under random vectors, so that nothing follows from their shifts; see evals/top_of_mind.py."
    ]


def _active_part(cached: Sequence[TrialShift], active: Sequence[TrialShift], plan: Plan) -> list[str]:
    if not active:
        return []
    return [
        "The same trials with the injection on while the model answers, too, and how much that adds",
        results_table(active_contrasts(cached, active, plan)),
    ]


def _legend() -> str:
    return (
        "Units are concepts (beside random vectors: the smaller number of the two). Intervals: 95% each, studentised\n"
        "bootstrap over units; not corrected for how many there are, and conditional on the wordings of the\n"
        "questions: other control questions would have moved differently. On a reversed question, a shift and that\n"
        "of the control beside it count with the sign turned. Matched controls: always_no beside plain questions,\n"
        "always_yes beside reversed ones, which cancels a push toward yes, and flattening where baselines agree.\n"
        "Beside salience, plain questions stand beside plain ones and reversed ones beside reversed ones.\n"
        "An interval that contains 0 is no evidence of an effect, and no evidence that there is none."
    )
