"""What a log's trials say, as plain text."""

from collections.abc import Callable, Sequence
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
    interval_text,
    mean_shifts,
    number_text,
    results_table,
)
from introbench.errors import InputError
from introbench.identification import NOTHING, Identification
from introbench.lens import LensTrial, by_document, concept_means, peak
from introbench.mind import LEAST_WORDS, MOST_LOGPROB_LOST, MOST_REPETITION
from introbench.scorers.arm_shifts import arm_trial, compared_arms
from introbench.scorers.identified import identifications, lens_trials
from introbench.scorers.lens_gap import lens_trial
from introbench.scorers.top_of_mind import judged_strengths
from introbench.scorers.yes_shift import plan_of, shift_of_trial
from introbench.stats import simultaneous_intervals

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
            return "\n\n".join([_headline(log, len(scored)), *paragraphs(scored)])
    raise InputError(
        f"log {location}: no scored trials of an introbench task; status {log.status}; run the task to its end"
    )


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
    return [
        "Mean shift toward yes under the concept's vector, against the sham; for introspection toward 'noticed'",
        results_table(mean_shifts(trials, plan)),
        "Contrasts: does introspection move more than what has nothing to do with it?",
        results_table(contrasts(trials, plan)),
        *_active_part(trials, active, plan),
        *_not_live(scored),
        _legend(),
    ]


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
    "yes_shift": _yes_shift,
    "lens_gap": _lens_gap,
    "identified": _identified,
    "arm_shifts": _arm_shifts,
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
        "An interval that contains 0 is no evidence of an effect, and no evidence that there is none."
    )
