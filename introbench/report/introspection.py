"""Tables of the introspection task: verdict, excess, shifts and contrasts."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.contrasts import active_contrasts, contrasts, control_contrasts, mean_shifts
from introbench.analysis.excess import Excess
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.noticed import ScoredTrial
from introbench.report.text import estimate_and_interval, number_text, results_table, share_text
from introbench.report.verdict import ladder, settlement_lines, verdict_text


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
    run = IntrospectionRun(trials)
    return [
        *_verdict(run),
        *_excess(run.excesses),
        *_wordings(run),
        "Mean shift toward yes under the concept's vector, against the sham; for introspection toward 'noticed',\n"
        "for salience toward 'something stands out'",
        results_table(mean_shifts(run.shifts, run.plan)),
        "Contrasts: does introspection move more than what has nothing to do with it?",
        results_table(contrasts(run.shifts, run.plan)),
        *_control_part(run),
        *_active_part(run),
        *_doses(run),
        *_not_live(run),
        _legend(),
    ]


def _verdict(run: IntrospectionRun) -> list[str]:
    """The verdict, with every step of the ladder."""
    verdict = run.verdict
    if verdict is None:
        return []
    name = "none" if verdict.lack else verdict.name
    return [
        f"Verdict under document {run.plan.ordered_documents[0]}: {name.upper()}\n{verdict_text(verdict)}",
        tabulate(ladder(verdict), ["question", "answer", "numbers"], tablefmt="simple", disable_numparse=True),
        *(["\n".join(["What would settle the open steps:", *settlement_lines(verdict)])] if verdict.open_steps else []),
    ]


def _excess(excesses: Sequence[Excess]) -> list[str]:
    """Introspection in excess of the curve through the control questions."""
    kinds = list(dict.fromkeys(kind for excess in excesses for kind in excess.fit.by_kind))
    rows = []
    for excess in excesses:
        fit = excess.fit
        rows.append(
            [
                excess.document,
                excess.vectors,
                "" if math.isnan(excess.dose) else f"{excess.dose:.3f}",
                *estimate_and_interval(fit.excess),
                *(number_text(fit.by_kind[kind].estimate) if kind in fit.by_kind else "" for kind in kinds),
                *(estimate_and_interval(excess.beside_concepts.difference) if excess.beside_concepts else ("", "")),
                number_text(fit.bias.estimate),
                share_text(fit.flattening.estimate, "+.1%"),
                share_text(fit.near),
                fit.missing or "",
            ]
        )
    headers = ["document", "vectors", "dose (nats)", "excess (nats)", "95% interval", *kinds]
    headers += ["concepts minus these", "95% interval", "yes-bias", "flattening", "near", "missing"]
    if not rows:
        return []
    return [
        "Introspection in excess of what control questions with its baseline do (headline), by kind of answer as well",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "For each vector a curve through the control questions' shifts over their baseline log-odds says what it does\n"
        "to any answer; yes-bias and flattening are those of a straight line. near: share of the introspection\n"
        "questions with three or more control questions within 1 nat of their baselines. dose: mean over the vectors,\n"
        "KL on neutral questions. Random vectors are rotations of the concepts' vectors, at the doses of these; those\n"
        "of equal norm disturb less or more. Intervals allow for few vectors, few questions and few kinds of answers.",
    ]


def _wordings(run: IntrospectionRun) -> list[str]:
    """The headline's excess by framing and by side of the introspection wordings."""
    rows = [[name, *estimate_and_interval(excess)] for name, excess in run.excess_by_wording.items()]
    if not rows:
        return []
    return [
        "The concepts' excess by how introspection questions are worded; a push that these questions alone get moves\n"
        "plain and reversed ones apart, and cancels in the headline",
        tabulate(rows, ["wordings", "excess (nats)", "95% interval"], tablefmt="simple", disable_numparse=True),
    ]


def _control_part(run: IntrospectionRun) -> list[str]:
    results = control_contrasts(run.shifts, run.plan)
    if not results:
        return []
    return [
        "Control vectors, at the norm and at the impact of the concept's own, and what concepts do beyond them",
        results_table(results),
    ]


def _doses(run: IntrospectionRun) -> list[str]:
    """The mean dose of each kind of vector, where no table of excesses says it."""
    if run.excesses or not run.doses:
        return []
    means = ", ".join(f"{vectors} {dose:.3f}" for vectors, dose in run.doses.items())
    return [f"Dose on neutral questions (KL in nats, mean over vectors): {means}."]


def _not_live(run: IntrospectionRun) -> list[str]:
    """The concepts whose vectors do nothing even where the model is steered while it answers."""
    silent = sorted(concept for concept, is_live in run.live.items() if is_live is False)
    if not silent:
        return []
    return [
        f"Not live: {', '.join(silent)}. Steered while it answers, the model does not come to think of them more than\n"
        "under random vectors, so that nothing follows from their shifts; see evals/top_of_mind.py."
    ]


def _active_part(run: IntrospectionRun) -> list[str]:
    if not run.active_shifts:
        return []
    return [
        "The same trials with the injection on while the model answers, too, and how much that adds",
        results_table(active_contrasts(run.shifts, run.active_shifts, run.plan)),
    ]


def _legend() -> str:
    return (
        "Units are concepts (beside random vectors: the smaller number of the two); questions: those of the family\n"
        "that has fewest. Intervals: 95%, each by itself; they allow for few concepts and for few questions, in the\n"
        "formats that were asked. Plain and reversed questions count half each, with the sign turned on reversed\n"
        "ones, so that a push toward yes cancels. A control family by itself stands beside plain questions,\n"
        "always_yes beside reversed ones. Matched controls are both: always_no beside plain questions, always_yes\n"
        "beside reversed ones, which cancels flattening as well where baselines agree. An interval that contains 0 is\n"
        "no evidence of an effect, and no evidence that there is none."
    )
