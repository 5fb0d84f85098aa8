"""What the probes of a log say, as plain text."""

import math
from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.probe import as_units, clipped
from introbench.analysis.probe_results import Result, answer_results, probe_results
from introbench.report.report import Report, counted, plain_table
from introbench.stats.intervals import Interval, simultaneous_intervals

LEGEND = (
    "state: answer is where a question is answered, cache where the prior turn ends (documents take the place\n"
    "of questions; the last block is left out, whose output no later token reads). sham: same is that of the\n"
    "same question, any is all of them under one threshold. Chance is 0.5. The probe is tested on concepts and\n"
    "questions that it was not trained on; on random vectors, after training on concepts. recovered: (report -\n"
    "0.5) / (probe - 0.5), where the probe's interval is above 0.5. No layer was picked: last is the last one,\n"
    "mean that of all after which anything can differ. Units are concepts, or random vectors. Intervals: 95%\n"
    "each, studentised bootstrap, conditional on the wordings. A report above chance is no introspection by\n"
    "itself: an injection that merely flattens answers gives one, too (see the introspection task)."
)


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    results = probe_results(trials)
    if not results:
        return Report(["No document was scored."])
    rows = [
        [
            result.state,
            result.document,
            result.vectors,
            result.comparison,
            *(_share(interval) for interval in (result.last.probe, result.mean.probe, result.last.report)),
            result.last.reason or _share(result.last.recovered),
            result.mean.reason or _share(result.mean.recovered),
            result.last.probe.units,
            result.missing or "",
        ]
        for result in results
    ]
    headers = ["state", "document", "vectors", "sham", "probe (last)", "probe (mean)", "report"]
    headers += ["recovered (last)", "recovered (mean)", "units", "missing"]
    curves: dict[str, list[Result]] = {}
    for result in results:
        if result.comparison == "same":
            curves.setdefault(f"{result.state}, document {result.document}", []).append(result)
    return Report(
        conclusion=_conclusion(results),
        tables=[_first_table(results)],
        further=[
            "Was the information there to report? AUROC of a linear probe and of the model's report, injected against "
            "sham",
            tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
            *_warning(results),
            *(paragraph for name, of_name in curves.items() for paragraph in _by_layer(name, of_name)),
            LEGEND,
        ],
    )


def _conclusion(results: Sequence[Result]) -> list[str]:
    """How much of what a probe reads the report recovers, beside random vectors, and what that rests on."""
    first = results[0]
    last = first.last
    lost = sum(result.missing for result in answer_results(results))
    missing = [f"{counted(lost, 'vector')} without finite numbers: lower the strength."] if lost else []
    if math.isnan(last.probe.estimate):
        return [
            "No conclusion: nothing was read with finite numbers, or from too few concepts and questions.",
            *missing,
        ]
    if math.isnan(last.recovered.estimate):
        headline = f"What the model's report recovers is not known: {last.reason}."
    elif last.recovered.low > 0:
        headline = f"The model's report recovers {_share(last.recovered)} of what a linear probe reads in its state."
    else:
        headline = (
            f"It is not shown that the report recovers any of what a probe reads: {_share(last.recovered)} of it."
        )
    of_random = (r.last for r in answer_results(results) if (r.document, r.vectors) == (first.document, "random"))
    random = next(of_random, None)
    return [
        headline,
        f"Injected against sham, document {first.document}, chance 0.50: the probe after the last block has an AUROC "
        f"of {_share(last.probe)}, the report one of {_share(last.report)} (95% intervals).",
        f"Under random vectors: probe {_share(random.probe)}, report {_share(random.report)}."
        if random
        else "Random vectors were not run, so that the probe may read any disturbance.",
        f"It rests on {counted(last.probe.units, 'concept')}; the probe was trained on other concepts and questions.",
        "What would change it: more concepts; and control questions, since an injection that merely flattens answers "
        "gives a report above chance, too (evals/introspection.py asks them).",
        *missing,
    ]


def _first_table(results: Sequence[Result]) -> str:
    """Probe and report against the sham of the same question, under every document and in the cache."""
    rows = [
        [
            f"{result.state}, {result.document}, {result.vectors}",
            _share(result.last.probe),
            _share(result.last.report),
            "not known" if result.last.reason else _share(result.last.recovered),
            result.last.probe.units,
        ]
        for result in results
        if result.comparison == "same"
    ]
    return plain_table(["state, document, vectors", "probe", "report", "recovered", "units"], rows)


def _warning(results: Sequence[Result]) -> list[str]:
    cached = [result for result in results if result.state == "cache"]
    if all(np.isnan(result.last.probe.estimate) for result in cached) and results[0].last.probe.units:
        return ["cache: no scores. With one document no other sham is left to train on; run two or more."]
    return []


def _by_layer(name: str, results: Sequence[Result]) -> list[str]:
    """A table of AUROC after every block."""
    shown = {result.vectors: result.curve for result in results if result.curve.shape[1]}
    if not shown:
        return []
    intervals = {
        vectors: [
            clipped(result)
            for result in simultaneous_intervals(as_units(curve.T) if vectors == "concepts" else curve.T, rng=_rng())
        ]
        for vectors, curve in shown.items()
    }
    layers = len(next(iter(shown.values())))
    rows = [[layer, *(_share(result[layer]) for result in intervals.values())] for layer in range(layers)]
    return [
        f"Probe by layer: {name}, same sham; intervals hold for all layers together",
        tabulate(rows, ["layer", *intervals], tablefmt="simple", disable_numparse=True),
    ]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _share(interval: Interval) -> str:
    if math.isnan(interval.estimate):
        return ""
    ends = "" if math.isnan(interval.low) else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"{interval.estimate:.2f}{ends}"
