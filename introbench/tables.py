"""What a log's trials say, as plain text."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from tabulate import tabulate

from introbench.arm_contrasts import arm_contrasts, arm_shifts
from introbench.contrasts import (
    Plan,
    TrialShift,
    active_contrasts,
    contrasts,
    control_contrasts,
    interval_text,
    mean_shifts,
    number_text,
    results_table,
)
from introbench.errors import InputError
from introbench.excess import Excess, evidence, excesses
from introbench.identification import NOTHING, Identification
from introbench.lens import LensTrial, by_document, concept_means, peak
from introbench.location import location_results
from introbench.mind import LEAST_WORDS, MOST_LOGPROB_LOST, MOST_REPETITION
from introbench.probe_table import probe_paragraphs
from introbench.scorers.arm_shifts import arm_trial, compared_arms
from introbench.scorers.dose_response import MOST_INCOHERENT, proposed, responses
from introbench.scorers.identified import identifications, lens_trials
from introbench.scorers.lens_gap import lens_trial
from introbench.scorers.located import location_trial, planned_parts
from introbench.scorers.swept import group_trials
from introbench.scorers.top_of_mind import judged_strengths
from introbench.scorers.yes_shift import plan_of, shift_of_trial
from introbench.selfchecks import SECONDS, summary
from introbench.stats import Interval, simultaneous_intervals
from introbench.sweep import SweepTrial
from introbench.sweep_plot import draw_sweep
from introbench.sweep_table import sweep_paragraphs
from introbench.verdict import ladder, verdict

TABLES: dict[str, Callable[[list[EvalSample]], list[str]]] = {}
"""Scorer to what makes the paragraphs of its table."""


def log_table(location: str) -> str:
    """Everything that a log's trials say.

    Raises:
        InputError: The log holds no scored trials of an introbench task.
    """
    log = read_eval_log(location, resolve_attachments=False)
    for scorer, paragraphs in TABLES.items():
        scored = [sample for sample in log.samples or [] if sample.scores and scorer in sample.scores]
        if scored:
            return "\n\n".join([_headline(log, len(scored)), *paragraphs(scored), *_self_checks(log, scored)])
    raise InputError(
        f"log {location}: no scored trials of an introbench task; status {log.status}; run the task to its end"
    )


def plot_log(location: str, path: Path) -> None:
    """Draw the maps of a sweep's log.

    Raises:
        InputError: It is no log of a sweep with scored trials.
    """
    log = read_eval_log(location, resolve_attachments=False)
    scored = [sample for sample in log.samples or [] if sample.scores and "swept" in sample.scores]
    if not scored:
        raise InputError(f"log {location}: no scored trials of a sweep; run evals/sweep.py, and pass its log")
    draw_sweep(_sweep_trials(scored), scored[0].metadata["plan"], f"{log.eval.model}: shift in log-odds", path)


def _self_checks(log: EvalLog, scored: list[EvalSample]) -> list[str]:
    """What the run found out about itself."""
    records: dict[int, dict[str, Any]] = {}
    for sample in scored:
        record, bank = (sample.output.metadata or {}).get("self_checks"), sample.metadata.get("bank", 0)
        # A bank's later trials know of all the time that its checks took.
        if record and record[SECONDS] >= records.get(bank, record)[SECONDS]:
            records[bank] = record
    if not records:
        return []
    times = [str(time) for time in (log.stats.started_at, log.stats.completed_at)]
    duration = 0.0
    if all(times):  # a run that was cut off has no end
        begun, ended = map(datetime.fromisoformat, times)
        duration = (ended - begun).total_seconds()
    return [summary(list(records.values()), duration)]


def _sweep(scored: list[EvalSample]) -> list[str]:
    return sweep_paragraphs(_sweep_trials(scored), scored[0].metadata["plan"])


def _sweep_trials(scored: list[EvalSample]) -> dict[str, list[SweepTrial]]:
    return group_trials([(sample.metadata, (sample.scores or {})["swept"]) for sample in scored])


def _yes_shift(scored: list[EvalSample]) -> list[str]:
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
            *_both(each.confusion.excess),
            *(
                number_text(each.confusion.by_kind[kind].estimate) if kind in each.confusion.by_kind else ""
                for kind in kinds
            ),
            *(_both(each.behind_concepts) if each.behind_concepts else ("", "")),
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


def _both(interval: Interval) -> tuple[str, str]:
    return number_text(interval.estimate), interval_text(interval)


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


def _lens_gap(scored: list[EvalSample]) -> list[str]:
    trials = [lens_trial(sample.metadata, (sample.scores or {})["lens_gap"]) for sample in scored]
    grouped = by_document(trials, plan_of(scored[0].metadata).documents)
    rows: list[list[Any]] = []
    for document, each in grouped.items():
        found = peak(document, each)
        rows.append(
            [
                document,
                f"{found.layer.estimate:.0f} [{found.layer.low:.0f}, {found.layer.high:.0f}]",
                *(f"{number_text(i.estimate)} {interval_text(i)}" for i in (found.gap, found.final, found.suppression)),
                found.layer.units,
                found.missing or "",
            ]
        )
    headers = ["document", "peak layer", "gap there", "gap in the answer", "lost in between", "concepts", "missing"]
    return [
        "Gap between injected and sham by the logit lens, in nats: where it peaks, and what the last layers take away",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *(paragraph for document, each in grouped.items() for paragraph in _layers_of(document, each)),
        "Intervals: 95% over concepts. Those of gaps by layer, at the peak, and of what is lost hold for all layers\n"
        "together, since the peak was picked. P(yes) is the mean over questions that are not reversed.",
    ]


def _arm_shifts(scored: list[EvalSample]) -> list[str]:
    trials = [arm_trial(sample.metadata, (sample.scores or {})["arm_shifts"]) for sample in scored]
    arms, plan = compared_arms(scored[0].metadata), plan_of(scored[0].metadata)
    return [
        "Mean shift toward yes under each arm, against the sham; for introspection toward 'noticed'",
        results_table(arm_shifts(trials, arms, plan)),
        "Contrasts: does introspection move more than control questions do, under the same arm?",
        results_table(arm_contrasts(trials, arms, plan)),
        "Units are questions, as there is one fine-tune: intervals are 95% each, studentised bootstrap over\n"
        "questions. finetune: the fine-tune filled the cache. contrast +/-: the base filled it, steered by the vector\n"
        "from base to fine-tune, or by its opposite. random: by rotations of that vector, on average.",
    ]


def _probed(scored: list[EvalSample]) -> list[str]:
    return probe_paragraphs([(sample.metadata, (sample.scores or {})["probed"]) for sample in scored])


def _top_of_mind(scored: list[EvalSample]) -> list[str]:
    rows = []
    for sample in scored:
        for strength, each in judged_strengths((sample.scores or {})["top_of_mind_texts"]).items():
            rows.append(
                [
                    sample.metadata["concept"],
                    strength,
                    "live" if each.live else "",
                    "coherent" if each.coherent else "",
                    f"{each.gain:+.2f}",
                    f"{each.random_gain:+.2f}",
                    f"{each.own.share:.1%}",
                    f"{each.random.share:.1%}",
                    f"{each.own.repetition:.1%}",
                    f"{each.own.words:.0f}",
                    f"{each.own.logprob:+.2f}",
                    f"{each.random.logprob:+.2f}",
                ]
            )
    headers = [
        "concept",
        "strength",
        "live",
        "coherent",
        "gain of the word",
        "random, at most",
        "concept words",
        "random",
        "repetition",
        "words",
        "log-prob per token",
        "random",
    ]
    return [
        "What the model goes on to write while it is steered",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "Gain: how much likelier the concept's word is where the model goes on than under the sham, in nats. live: it\n"
        "is above 0 and above that of every random vector. Concept words, repetition and words: of the texts.\n"
        f"coherent: at most {MOST_LOGPROB_LOST:g} nats per token less likely to the model as it is than the sham's\n"
        f"texts, at most {MOST_REPETITION:.0%} more trigrams repeated, at least {LEAST_WORDS:.0%} of the sham's words.",
    ]


def _dose_response(scored: list[EvalSample]) -> list[str]:
    found = responses([(sample.scores or {})["dose_response"] for sample in scored])
    best = proposed(found)
    rows = [
        [
            each.strength,
            f"{np.mean(each.norms):.3g}",
            f"{np.mean(each.doses):.3g}",
            f"{np.min(each.doses):.3g} to {np.max(each.doses):.3g}",
            f"{each.live} of {len(each.doses)}",
            f"{each.coherent} of {len(each.doses)}",
            f"{each.gain:+.2f}",
            "<- proposed" if each is best else "",
        ]
        for each in found
    ]
    headers = ["strength", "norm", "dose (nats)", "of the vectors", "live", "coherent", "gain of the word (nats)", ""]
    return [
        f"Proposed: -T strength={best.strength}"
        if best
        else "No strength is proposed: none leaves texts coherent and brings a concept to mind; try others.",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "Dose: divergence on neutral questions, with the injection in the cache alone. live, coherent: vectors, when\n"
        f"the model is steered while it writes. Proposed: the strongest before texts fall apart under more than\n"
        f"{MOST_INCOHERENT:.0%} of the vectors. To compare models, give the same dose to each: -T strength=kl:NATS.",
    ]


def _identified(scored: list[EvalSample]) -> list[str]:
    trials = [(sample.metadata, (sample.scores or {})["identified"]) for sample in scored]
    found = identifications(trials, by_layer=True)
    rows = []
    for each in found.values():
        bits = each.information
        by_layer = np.nan_to_num(each.bits_by_layer, nan=-np.inf)
        top = int(by_layer.argmax())
        rows.append(
            [
                each.part,
                each.document,
                f"{bits.bits:+.2f} [{bits.low:+.2f}, {bits.high:+.2f}]",
                f"{bits.ceiling:.2f}",
                f"{bits.p_value:.3f}",
                f"{bits.accuracy:.1%}",
                f"{by_layer[top]:+.2f} at {top}" if np.isfinite(by_layer[top]) else "",
                number_text(each.nothing.estimate) if NOTHING in each.options else "",
                interval_text(each.nothing) if NOTHING in each.options else "",
                number_text(each.nothing_random.estimate) if NOTHING in each.options else "",
                bits.orders,
                each.missing or "",
            ]
        )
    headers = [
        "part",
        "document",
        "bits",
        "ceiling",
        "p",
        "accuracy",
        "most bits, at layer",
        "P(nothing) - sham",
        "95% interval",
        "random vectors",
        "orders",
        "missing",
    ]
    return [
        "Mutual information between the injected and the reported concept",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        *(paragraph for each in found.values() for paragraph in _reports_of(each)),
        *(
            paragraph
            for (part, document), each in lens_trials(trials).items()
            for paragraph in _layers_of(f"{document} ({part})", each)
        ),
        "Bits: corrected for bias, 95% jackknife interval over orders or wordings; p by permutation of the injected\n"
        "concepts. The layer with most bits was picked, so that number flatters. Lift: how much more often a concept\n"
        "is reported when it was injected than when another was. Gaps by layer: log-probability of the injected\n"
        "concept's own token, injected minus sham.",
    ]


def _located(scored: list[EvalSample]) -> list[str]:
    trials = [location_trial(sample.metadata, (sample.scores or {})["located"]) for sample in scored]
    results = location_results(trials, planned_parts(scored[0].metadata))

    def table(counts: bool) -> str:
        rows = [
            [
                each.part,
                each.name,
                *_percentages(each.accuracy, "+" if counts else ""),
                *([] if counts else [f"{each.chance:.1%}"]),
                number_text(each.nats.estimate),
                interval_text(each.nats),
                each.nats.units,
                each.trials,
                each.missing or "",
            ]
            for each in results
            if each.counts == counts
        ]
        accuracy = ["accuracy", "95% interval", *([] if counts else ["chance"])]
        headers = ["part", "score", *accuracy, "nats", "95% interval", "units", "trials", "missing"]
        align = ("left", "left", *("right",) * (len(headers) - 2))
        return tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=align)

    return [
        "Where was the thought placed? The scores that count: differences in accuracy and in nats",
        table(counts=True),
        "What they are made of",
        table(counts=False),
        "accuracy: how often the place whose label gains most over the sham is the right one; ties are shared, so\n"
        "that whoever ignores thoughts, or prefers a label, is at chance exactly. nats: gain of the right place less\n"
        "the mean gain of the others, 0 by chance. introspective: questions about thoughts; other: questions about\n"
        "something else with the same options, after the same thoughts. concept, random: the vector. The first\n"
        "contrast is for concepts, the second for introspective questions, the third is their difference in\n"
        "differences. Units are concepts. Intervals: 95% each, studentised bootstrap over concepts, conditional on\n"
        "passages and wordings; not corrected for how many there are.",
    ]


def _percentages(interval: Interval, sign: str) -> tuple[str, str]:
    """A share, or with "+" as sign a difference of shares, and the ends of its interval."""
    estimate, low, high = (format(each, f"{sign}.1%") for each in (interval.estimate, interval.low, interval.high))
    if math.isnan(interval.low):
        return "" if math.isnan(interval.estimate) else estimate, interval_text(interval)
    return estimate, f"[{low}, {high}]"


def _reports_of(found: Identification) -> list[str]:
    """A confusion matrix, and each concept's lift."""
    shown = [*found.options[: found.confusion.shape[1]]]
    names = [name or "nothing" for name in shown] if len(found.options) == len(shown) else [*found.concepts, "others"]
    rows = [
        [
            concept,
            *(f"{value:.0%}" for value in row),
            f"{lift.hit:.1%}",
            f"{lift.background:.1%}",
            f"{lift.lift:.2f} [{lift.low:.2f}, {lift.high:.2f}]",
        ]
        for concept, row, lift in zip(found.concepts, found.confusion, found.lifts, strict=True)
    ]
    headers = ["injected", *names, "hit", "otherwise", "lift"]
    return [
        f"What is reported, document {found.document} ({found.part})",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
    ]


def _layers_of(document: str, trials: Sequence[LensTrial]) -> list[str]:
    gaps, random, curves, _ = concept_means(trials)
    if not gaps.size:
        return []
    rows = []
    for layer, interval in enumerate(simultaneous_intervals(gaps, rng=np.random.default_rng(0))):
        rows.append(
            [
                layer,
                *(f"{values[layer]:.3%}" for values in curves.values()),
                number_text(interval.estimate),
                interval_text(interval),
                number_text(float(random[:, layer].mean())),
            ]
        )
    headers = ["layer", *curves, "gap (nats)", "95% interval", "random vectors"]
    return [
        f"Document {document}, layer by layer",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True, colalign=("right",) * len(headers)),
    ]


TABLES |= {
    "dose_response": _dose_response,
    "yes_shift": _yes_shift,
    "lens_gap": _lens_gap,
    "identified": _identified,
    "located": _located,
    "arm_shifts": _arm_shifts,
    "probed": _probed,
    "swept": _sweep,
    "top_of_mind_texts": _top_of_mind,
}


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
        "Beside salience, plain questions stand beside plain ones and reversed ones beside reversed ones.\n"
        "An interval that contains 0 is no evidence of an effect, and no evidence that there is none."
    )
