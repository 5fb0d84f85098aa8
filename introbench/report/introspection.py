"""Tables of the introspection task: verdict, excess, shifts and contrasts."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.contrasts import active_contrasts, control_contrasts
from introbench.analysis.excess import CONCEPTS, RANDOM, Excess
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.probabilities import mean_probabilities
from introbench.report.probabilities import first_table, full_table
from introbench.report.report import Report, counted, listed, plain_table
from introbench.report.text import estimate_and_interval, number_text, results_table, share_text
from introbench.report.verdict import change_lines, interval_text, ladder, settlement_lines, verdict_text


def report(run: IntrospectionRun) -> Report:
    """What the task says about a run."""
    probabilities = mean_probabilities(run.read)
    return Report(
        conclusion=_conclusion(run),
        tables=[*first_table(probabilities), *_first_excesses(run)],
        further=[
            *_ladder(run),
            *_excess(run.excesses),
            *_wordings(run),
            *full_table(probabilities),
            "Mean shift toward yes under the concept's vector, against the sham; for introspection toward 'noticed',\n"
            "for salience toward 'something stands out'",
            results_table(run.mean_shifts),
            "Contrasts: does introspection move more than what has nothing to do with it?",
            results_table(run.contrasts),
            *_control_part(run),
            *_active_part(run),
            *_doses(run),
            *_not_live(run),
            _legend(),
        ],
    )


def _conclusion(run: IntrospectionRun) -> list[str]:
    """Verdict, excess, what these rest on, what random vectors and salience do, and what would change the verdict."""
    lost = f"{counted(run.not_finite, 'trial')} without finite numbers: lower the strength." if run.not_finite else ""
    verdict, evidence = run.verdict, run.evidence
    if verdict is None or evidence is None:
        return [
            "No verdict: no introspection question was asked with the injection (families=...).",
            *filter(None, [lost]),
        ]
    text = verdict_text(verdict)
    name = "NONE" if verdict.lack else verdict.name.upper()
    rest = [
        counted(evidence.concepts, "concept"),
        counted(evidence.questions, "introspection question"),
        counted(evidence.controls, "control question"),
    ]
    live = f"; {evidence.live:g} of {counted(evidence.tested, 'vector')} live" if evidence.tested else ""
    return [
        f"Verdict under document {run.plan.ordered_documents[0]}: {name}. {text[0].upper()}{text[1:]}.",
        f"Excess over control questions: {interval_text(evidence.excess, ' nats')} (95% interval; margin "
        f"{run.margin:g} nats).",
        f"Beside it: random vectors {interval_text(evidence.random, '')}, salience questions "
        f"{interval_text(evidence.salience, '') if evidence.salience_asked else 'not asked'}.",
        f"It rests on {listed(rest)}{live}.",
        *change_lines(verdict, evidence.salience_asked),
        *filter(None, [lost]),
    ]


def _ladder(run: IntrospectionRun) -> list[str]:
    """Every step that led to the verdict, and what would settle those that are open."""
    verdict = run.verdict
    if verdict is None:
        return []
    return [
        f"The steps to the verdict, under document {run.plan.ordered_documents[0]}",
        tabulate(ladder(verdict), ["question", "answer", "numbers"], tablefmt="simple", disable_numparse=True),
        *(["\n".join(["What would settle the open steps:", *settlement_lines(verdict)])] if verdict.open_steps else []),
    ]


def _first_excesses(run: IntrospectionRun) -> list[str]:
    """The excess of concepts' vectors under the reference document, and of the two things that it is compared with."""
    rows = [
        [
            f"introspection, {excess.vectors}",
            "" if math.isnan(excess.dose) else f"{excess.dose:.3f}",
            interval_text(excess.fit.excess, ""),
            interval_text(excess.beside_concepts.difference, "") if excess.beside_concepts else "",
        ]
        for excess in run.reference_excesses
        if excess.vectors in (CONCEPTS, RANDOM)
    ]
    if run.evidence and run.evidence.salience_asked:
        intervals = (run.evidence.salience, run.evidence.beyond_salience)
        rows.append(["salience, concepts", rows[0][1], *(interval_text(interval, "") for interval in intervals)])
    headers = ["questions, vectors", "dose (nats)", "excess over controls (nats)", "the first minus this"]
    return [plain_table(headers, rows)] if rows else []


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
