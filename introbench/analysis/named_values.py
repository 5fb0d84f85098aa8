"""Every number that a run of a task says, by a readable name, for scripts and tests.

A log's metrics are the few numbers that a person looks at first. All others follow from the same trials, and are
computed here when they are asked for. An interval has three names: its own, and the same with `| low` and `| high`.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from introbench.analysis.arm_lens import arm_lenses, lens_peak
from introbench.analysis.calibrate import proposed, responses
from introbench.analysis.contrasts import active_contrasts, control_contrasts
from introbench.analysis.excess import CONCEPTS
from introbench.analysis.identification import Identification, identifications, lens_trials
from introbench.analysis.introspection import IntrospectionRun
from introbench.analysis.location import CONTRASTS, LocationResult, location_results, location_trial, planned_parts
from introbench.analysis.logit_lens import Peak, by_document, lens_trial, peak
from introbench.analysis.model_swap import SwapRun
from introbench.analysis.noticed import Result, ScoredTrial
from introbench.analysis.probe_results import answer_results, probe_results
from introbench.analysis.sampled_detection import results as sampled_results
from introbench.analysis.sweep import EXCESS, broken_from, group_trials, held_out, map_cells, map_names
from introbench.analysis.top_of_mind import beside_opposites, judged_strengths
from introbench.analysis.verdict import VERDICTS
from introbench.records.factors import ContinuationFactors, TrialFactors
from introbench.stats.intervals import NOT_MEASURED, Interval

Values = dict[str, float]

SHORT = dict(zip(CONTRASTS, ("gain beyond random", "gain", "beyond random"), strict=True))
"""What the contrasts of the location task are called here and among its metrics."""


def named_values(scorer: str, trials: Sequence[ScoredTrial]) -> Values:
    """Every number that the trials of one run say; none without trials.

    Args:
        scorer: Name of the task's scorer.
        trials: For each trial its sample's metadata and its score's.
    """
    return VALUES[scorer](trials) if trials else {}


def interval_values(key: str, interval: Interval) -> Values:
    """An estimate, and the ends of its interval beside it."""
    return {key: interval.estimate, f"{key} | low": interval.low, f"{key} | high": interval.high}


def result_values(results: Iterable[Result]) -> Values:
    """The numbers of means and contrasts; a contrast without pairs is NaN with 0 pairs."""
    values: Values = {}
    for result in results:
        values |= interval_values(result.key, result.interval)
        values |= {f"{result.key} | pairs": result.pairs, f"{result.key} | missing": result.missing}
    return values


def introspection_values(trials: Sequence[ScoredTrial]) -> Values:
    """Headline, verdict (1 for the one that holds), excess by population, mean shifts and all contrasts.

    `spread` is how far the excesses by kind of answer lie apart.
    """
    run = IntrospectionRun(trials)
    fit = run.headline.fit if run.headline else None
    excess = fit.excess if fit else NOT_MEASURED
    by_kind = [interval.estimate for interval in fit.by_kind.values()] if fit else []
    name = run.verdict.name if run.verdict else "inconclusive"
    values = {
        "noticed": excess.estimate,
        "low": excess.low,
        "high": excess.high,
        **interval_values("beyond salience", run.evidence.beyond_salience if run.evidence else NOT_MEASURED),
        "spread": max(by_kind) - min(by_kind) if by_kind else math.nan,
        "concepts": excess.units,
        "not finite": run.not_finite,
        **{f"verdict: {verdict}": float(verdict == name) for verdict in VERDICTS},
    }
    for each in run.excesses:
        intervals = {
            "excess": each.fit.excess,
            "bias": each.fit.bias,
            "flattening": each.fit.flattening,
            **({"behind concepts": each.beside_concepts.difference} if each.beside_concepts else {}),
            **{f"excess in {kind}": interval for kind, interval in each.fit.by_kind.items()},
        }
        for name, interval in intervals.items():
            values |= interval_values(f"{name} | {each.vectors} | {each.document}", interval)
    for wording, interval in run.excess_by_wording.items():
        values |= interval_values(f"excess | {CONCEPTS}, {wording} | {run.plan.ordered_documents[0]}", interval)
    values |= result_values(run.contrasts) | result_values(run.mean_shifts)
    values |= result_values(control_contrasts(run.shifts, run.plan))
    if run.active_shifts:
        values |= result_values(active_contrasts(run.shifts, run.active_shifts, run.plan))
    return values


def sweep_values(trials: Sequence[ScoredTrial]) -> Values:
    """What was held out, where controls break, and every map in every cell."""
    plan = TrialFactors.from_json(trials[0][0]).plan.more
    concepts, layers, strengths = plan["concepts"], plan["axes"]["layers"], plan["axes"]["strength"]
    of_concepts = range(len(concepts))
    values: Values = {}
    for document, of_document in group_trials(trials).items():
        held = held_out(document, of_document, concepts, seed=plan["seed"])
        if held:
            for name, interval in {EXCESS: held.excess, **held.families}.items():
                values |= interval_values(f"held out: {name} | {document}", interval)
            values[f"whole map: largest excess | {document}"] = held.at_best
            first = [value for value in broken_from(of_document, of_concepts) if value is not None]
            values[f"ranges where controls break | {document}"] = len(first)
        for name in map_names(of_document):
            for (row, column), cell in map_cells(name, of_document, of_concepts, plan["seed"]).items():
                values |= interval_values(f"{name} | {layers[row]} x{strengths[column]} | {document}", cell.interval)
    return values


def location_values(trials: Sequence[ScoredTrial]) -> Values:
    """Accuracy and nats of every score and of every contrast of every part, beside chance."""
    plan = TrialFactors.from_json(trials[0][0]).plan
    values: Values = {}
    for result in location_results([location_trial(trial) for trial in trials], planned_parts(plan)):
        if result.is_contrast:
            name = f"{result.part}: {SHORT[result.name]}"
            values |= _located(result, name, accuracy=name)
        else:
            name = f"{result.part} | {result.name}"
            values |= _located(result, name, accuracy=f"{name} | accuracy") | {f"{name} | chance": result.chance}
    return values


def _located(result: LocationResult, name: str, accuracy: str) -> Values:
    values = interval_values(accuracy, result.accuracy) | interval_values(f"{name} | nats", result.nats)
    return values | {f"{name} | missing": result.missing}


def probe_values(trials: Sequence[ScoredTrial]) -> Values:
    """Probe, report and what is recovered, for every state, document, kind of vector and sham; the headline first."""
    results = probe_results(trials)
    if not results:
        return {}
    first = results[0].last
    values = interval_values("recovered", first.recovered) | interval_values("probe", first.probe)
    values |= interval_values("report", first.report)
    values |= {
        "concepts": first.probe.units,
        "missing": sum(result.missing for result in answer_results(results)),
    }
    for result in results:
        key = f"{result.state} | {result.vectors} | {result.comparison} sham | {result.document}"
        values |= interval_values(f"report | {key}", result.last.report)
        for name, detection in (("last layer", result.last), ("mean of layers", result.mean)):
            values |= interval_values(f"probe, {name} | {key}", detection.probe)
            values |= interval_values(f"recovered, {name} | {key}", detection.recovered)
        values[f"missing | {key}"] = result.missing
    return values


def lens_values(trials: Sequence[ScoredTrial]) -> Values:
    """For every document: the layer where the gap peaks, the gap there, in the answer, and what is lost in between."""
    documents = TrialFactors.from_json(trials[0][0]).plan.documents
    grouped = by_document([lens_trial(trial) for trial in trials], documents)
    return peak_values([peak(document, of_document) for document, of_document in grouped.items()])


def peak_values(peaks: Iterable[Peak]) -> Values:
    """The numbers of peaks."""
    values: Values = {}
    for top in peaks:
        for name, interval in {
            "peak layer": top.layer,
            "peak gap": top.gap,
            "final": top.final,
            "suppression": top.suppression,
        }.items():
            values |= interval_values(f"{name} | {top.document}", interval)
        values[f"missing | {top.document}"] = top.missing
    return values


def identification_values(trials: Sequence[ScoredTrial]) -> Values:
    """The bits of every part under every document, and the layer at which the concept's own token gains most."""
    values: Values = {}
    for (part, document), identified in identifications(trials).items():
        values |= _identified(f"{part} | {document}", identified)
    peaks = [peak(f"{part} | {document}", of_cell) for (part, document), of_cell in lens_trials(trials).items()]
    return peak_values(peaks) | values  # both count what is missing: that of the bits stays


def _identified(cell: str, identified: Identification) -> Values:
    bits, beyond = identified.information, identified.beyond_random
    values = {
        f"bits | {cell}": bits.bits,
        f"bits | {cell} | low": bits.low,
        f"bits | {cell} | high": bits.high,
        f"bits | {cell} | plug-in": bits.plug_in,
        f"bits | {cell} | p-value": bits.p_value,
        f"bits | {cell} | ceiling": bits.ceiling,
        f"bits, random vectors | {cell}": identified.random_bits,
        f"bits beyond random | {cell}": bits.bits - identified.random_bits,
        f"bits beyond random | {cell} | p-value": beyond.p_value if beyond else math.nan,
        f"accuracy | {cell}": bits.accuracy,
        f"missing | {cell}": identified.missing,
    }
    if math.isnan(identified.nothing.estimate):
        return values
    return values | interval_values(f"nothing, injected - sham | {cell}", identified.nothing)


def swap_values(trials: Sequence[ScoredTrial]) -> Values:
    """Mean shift of every arm for every document and question family, and introspection against control questions.

    Where the lens was read: for every arm and document what `lens_values` has for every document.
    """
    run = SwapRun(trials)
    peaks = [lens_peak(cell, of_cell) for cell, of_cell in arm_lenses(trials).items()]
    return result_values(run.contrasts()) | result_values(run.shifts()) | peak_values(peaks)


def top_of_mind_values(trials: Sequence[ScoredTrial]) -> Values:
    """How many vectors are live at the reference strength; for every strength, how many, and the means behind it.

    Where opposites of vectors were run, the mean gain of the word under these as well.
    """
    judged = [judged_strengths(exact) for _, exact in trials]
    reference = [ContinuationFactors.from_json(metadata).reference for metadata, _ in trials]
    values: Values = {
        "live vectors": sum(
            strengths[name].live for strengths, name in zip(judged, reference, strict=True) if strengths
        )
    }
    for strength in dict.fromkeys(name for by_strength in judged for name in by_strength):
        effects = [by_strength[strength] for by_strength in judged if strength in by_strength]
        means = {
            "gain of the word": [effect.gain for effect in effects],
            "gain of the word, random": [effect.random_gain for effect in effects],
            "concept words": [effect.texts.share for effect in effects],
            "concept words, random": [effect.random_texts.share for effect in effects],
            "repetition": [effect.texts.repetition for effect in effects],
            "log-prob per token": [effect.texts.logprob for effect in effects],
        }
        values[f"live | {strength}"] = sum(effect.live for effect in effects)
        values[f"coherent | {strength}"] = sum(effect.coherent for effect in effects)
        values |= {f"{name} | {strength}": float(np.mean(numbers)) for name, numbers in means.items()}
        written = [one for _, exact in trials for one in beside_opposites(exact) if one.strength == strength]
        if opposite := [one.gain for one in written if one.under == "-"]:
            values[f"gain of the word, opposite | {strength}"] = float(np.mean(opposite))
    return values


def calibrate_values(trials: Sequence[ScoredTrial]) -> Values:
    """The proposed strength as a norm and as a dose, and every strength's dose, live vectors and coherent texts."""
    by_strength = responses([exact for _, exact in trials])
    best = proposed(by_strength)
    values = {
        "proposed norm": float(np.mean(best.norms)) if best else math.nan,
        "proposed dose": float(np.mean(best.doses)) if best else math.nan,
    }
    for response in by_strength:
        values[f"dose | {response.strength}"] = float(np.mean(response.doses))
        values[f"live | {response.strength}"] = response.live
        values[f"coherent | {response.strength}"] = response.coherent
    return values


def sampled_values(trials: Sequence[ScoredTrial]) -> Values:
    """For each protocol the chosen cell's numbers on the other half of the concepts, and those of every cell."""
    values: Values = {}
    for result in sampled_results(trials):
        by_name = {"best": result.best, **{cell.name: cell for cell in result.cells}}
        for where, cell in ((f"{name} | {result.protocol}", cell) for name, cell in by_name.items()):
            for name, interval in {
                "hits - false alarms": cell.above_sham,
                "hits": cell.hits,
                "false alarms": cell.false_alarms,
                "false alarms, random": cell.random,
                "hits - random": cell.above_random,
                "d-prime": cell.d_prime,
                "balanced accuracy": cell.balanced_accuracy,
                "claims and names": cell.named_claims,
                "identified": cell.identified,
                "identified - guessing": cell.above_guessing,
                "names without a claim": cell.unclaimed,
                "declines": cell.refused,
                "incoherent": cell.incoherent,
            }.items():
                values |= interval_values(f"{name} | {where}", interval)
            values[f"identified, random | {where}"] = cell.identified_random
            values[f"most named share | {where}"] = cell.popular_share
            values[f"missing | {where}"] = cell.missing
    return values


VALUES: dict[str, Callable[[Sequence[ScoredTrial]], Values]] = {
    "dose_response": calibrate_values,
    "yes_shift": introspection_values,
    "lens_gap": lens_values,
    "identified": identification_values,
    "located": location_values,
    "arm_shifts": swap_values,
    "probed": probe_values,
    "answers_graded": sampled_values,
    "swept": sweep_values,
    "top_of_mind_texts": top_of_mind_values,
}
"""For the name of each task's scorer, what names the numbers of its trials."""
