"""From one trial of a log to the rows of its arms, for each task."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from introbench.analysis.location import placed
from introbench.analysis.probe import COMPARISONS
from introbench.analysis.sampled_detection import LABELS
from introbench.analysis.top_of_mind import Texts
from introbench.records.arm import READ_ONLY_RANDOM, SHAM, Arm
from introbench.records.arm_record import number_or_nan
from introbench.records.factors import ContinuationFactors, PlaceFactors, TrialFactors
from introbench.records.probe_factors import ProbeFactors
from introbench.records.sampled_factors import Cell, SampledFactors
from introbench.report.read_log import LoggedTrial

Row = dict[str, Any]
Exact = Mapping[str, Any]


def _asked(factors: TrialFactors) -> Row:
    """What a trial asks, and about which concept."""
    asked = factors.asked
    if isinstance(asked, PlaceFactors):
        return {
            "part": asked.part,
            "passage": asked.passage,
            "kind": asked.kind,
            "wording": asked.wording,
            "order": asked.order,
            "expected": asked.expected,
            "concept": factors.concept,
        }
    return {
        "document": asked.document,
        "family": asked.family,
        "question": asked.question,
        "format": asked.answer_format,
        "answer_kind": asked.answer_kind,
        "framing": asked.framing,
        "reversed": asked.reversed,
        "expected": asked.expected,
        "concept": factors.concept,
    }


def _arm(name: str, arm: Arm, trial: LoggedTrial) -> Row:
    """Which arm a row is of, with what the provider recorded of it."""
    record = next((each for each in trial.arms if each.get("arm") == name), {})
    return {
        "arm": name,
        "arm_kind": arm.kind,
        "arm_number": arm.number,
        "steering": arm.steering,
        "matched": arm.matched,
        "place": arm.place,
        "vector": record.get("vector", ""),
        "norm": number_or_nan(record.get("strength")),
        "dose": number_or_nan(record.get("dose")),
        "live": record.get("live"),
    }


def _arms(trial: LoggedTrial) -> Iterator[tuple[str, Row]]:
    factors = TrialFactors.from_json(trial.metadata)
    for name, arm in factors.arms.items():
        yield name, _asked(factors) | _arm(name, arm, trial)


def _yes_no(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """Log-odds, shifts and probabilities of yes and no under every arm."""
    factors = TrialFactors.from_json(trial.metadata)
    log_odds, p_yes, p_no = (exact.get(name, {}) for name in ("log_odds", "p_yes", "p_no"))
    sham = next((log_odds[name] for name, arm in factors.arms.items() if arm.kind == SHAM and name in log_odds), None)
    for name, row in _arms(trial):
        odds = number_or_nan(log_odds.get(name))
        shift = odds - number_or_nan(sham)
        yield row | {
            "log_odds": odds,
            "shift": shift,
            "noticed": factors.question.side * shift,
            "p_yes": number_or_nan(p_yes.get(name)),
            "p_no": number_or_nan(p_no.get(name)),
        }


def _lens_by_layer(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """The same by the logit lens after every block."""
    gaps, log_odds, p_yes = (exact.get(name, {}) for name in ("gaps", "log_odds", "p_yes"))
    for name, row in _arms(trial):
        for layer, p in enumerate(p_yes.get(name, ())):
            noticed = gaps[name][layer] if name in gaps else 0.0 if row["arm_kind"] == SHAM else None
            yield row | {
                "layer": layer,
                "log_odds": number_or_nan(log_odds[name][layer]),
                "noticed": number_or_nan(noticed),
                "p_yes": number_or_nan(p),
            }


def _lens(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    by_arm: dict[str, Row] = {row["arm"]: row for row in _lens_by_layer(trial, exact)}  # the last layer's stays
    for name, row in _arms(trial):
        missing = dict.fromkeys(("log_odds", "noticed", "p_yes"), math.nan)
        found = by_arm.get(name, missing)
        yield row | {key: found[key] for key in missing}


def _swap_by_layer(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """The lens of a model swap's arms, random vectors averaged; none of trials that it was not read of."""
    factors, lens = TrialFactors.from_json(trial.metadata), exact.get("lens", {})
    for name, p_yes in lens.get("p_yes", {}).items():
        arm = factors.arms.get(name, Arm(name, -1))
        for layer, p in enumerate(p_yes):
            gap = lens["gaps"][name][layer] if name in lens["gaps"] else 0.0
            numbers = {"layer": layer, "noticed": number_or_nan(gap), "p_yes": number_or_nan(p)}
            yield _asked(factors) | _arm(name, arm, trial) | numbers


def _sweep(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """Every cell's vectors, and the sham of each range of layers."""
    factors = TrialFactors.from_json(trial.metadata)
    axes, named = exact.get("axes") or factors.plan.more["axes"], iter(_arms(trial))
    for number, layers in enumerate(axes["layers"]):
        baseline = number_or_nan(exact["baseline"][number]) if exact else math.nan
        _, row = next(named)
        yield row | {"layers": layers, "strength": "", "log_odds": baseline, "shift": 0.0, "noticed": 0.0}
        for column, strength in enumerate(axes["strength"]):
            for place, vector in enumerate(axes["vector"]):
                _, row = next(named)
                shift, dose = (
                    number_or_nan(exact[name][number][column][place]) if exact else math.nan
                    for name in ("shift", "dose")
                )
                yield row | {
                    "vector": vector,
                    "dose": dose,
                    "layers": layers,
                    "strength": strength,
                    "log_odds": baseline + shift,
                    "shift": shift,
                    "noticed": factors.question.side * shift,
                }


def _identification(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    concept = TrialFactors.from_json(trial.metadata).concept
    for name, row in _arms(trial):
        among = exact.get("arms", {}).get(name, {})
        ranked = sorted(among, key=lambda option: -among[option])
        yield row | {
            "p": number_or_nan(among.get(concept)),
            "rank": ranked.index(concept) + 1 if concept in ranked else math.nan,
            "p_nothing": number_or_nan(among.get("")),
            "answer": (ranked[0] or "nothing") if ranked else "",
        }


def _identification_by_option(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    for name, row in _arms(trial):
        for option, p in exact.get("arms", {}).get(name, {}).items():
            yield row | {"option": option, "p": p}


def _location(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    for name, row in _arms(trial):
        change = exact.get("changes", {}).get(name)
        right, nats = placed(change, row["place"]) if change else (math.nan, math.nan)
        yield row | {
            "right": right,
            "nats": nats,
            "answer": max(change, key=lambda place: change[place]) if change else "",
            "mass": number_or_nan(exact.get("mass", {}).get(name)),
        }


def _location_by_option(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    for name, row in _arms(trial):
        change = exact.get("changes", {}).get(name, {})
        for place, p in exact.get("among", {}).get(name, {}).items():
            changed = 0.0 if row["arm_kind"] == SHAM else number_or_nan(change.get(place))
            yield row | {"option": place, "p": p, "change": changed}


def _probe_by_layer(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    factors = ProbeFactors.from_json(trial.metadata)
    same, other = COMPARISONS
    layers = len(exact["answer"][same]) if exact else 0
    vectors = [("concept", name) for name in exact.get("concepts", ())]
    vectors += [("random", name) for name in exact.get("random", ())]
    for number, (kind, name) in enumerate(vectors):
        for layer in range(layers):
            yield {
                "document": factors.document,
                "concept": name if kind == "concept" else "",
                "arm": name,
                "arm_kind": kind,
                "vector": name,
                "layer": layer,
                "report": number_or_nan(exact["report"][same][number]),
                "probe": number_or_nan(exact["answer"][same][layer][number]),
                f"report_{other}": number_or_nan(exact["report"][other][number]),
                f"probe_{other}": number_or_nan(exact["answer"][other][layer][number]),
            }


def _probe(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    last = {row["arm"]: row for row in _probe_by_layer(trial, exact)}
    yield from ({name: value for name, value in row.items() if name != "layer"} for row in last.values())


def _texts(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    factors = ContinuationFactors.from_json(trial.metadata)
    gains: dict[str, float | None] = {}
    for strength, arms in exact.get("strengths", {}).items():
        # Random vectors without texts follow those with texts; only the concept's word was read under them.
        silent = [
            f"{READ_ONLY_RANDOM} {number} at {strength}" for number in range(len(arms), len(exact["gains"][strength]))
        ]
        gains |= dict(zip([*arms, *silent], exact["gains"][strength], strict=True))
    opposites = exact.get("opposites", {})
    gains |= {name: exact["opposite_gains"][place] for place, name in opposites.items()}
    known = {name: (arm.kind, arm.place) for name, arm in factors.arms.items()}
    for name in dict.fromkeys([*known, *gains]):
        kind, place = known.get(name, (READ_ONLY_RANDOM, name.partition(" at ")[2]))
        measured = exact.get("measured", {}).get(name)
        texts = Texts(*map(number_or_nan, measured)) if measured else Texts(*[math.nan] * 4)
        arm = factors.arms.get(name, Arm(kind, -1, place=place))
        yield {"concept": factors.concept, **_arm(name, arm, trial)} | {
            "strength": place,
            "gain": 0.0 if kind == SHAM else number_or_nan(gains.get(name)),
            "concept_words": texts.share,
            "repetition": texts.repetition,
            "words": texts.words,
            "logprob": texts.logprob,
        }


def _sampled_texts(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """Every sampled answer with its grade; what has no grade is missing."""
    factors = SampledFactors.from_json(trial.metadata)
    no_cell = Cell(-1, math.nan, "")
    for name, arm in factors.arms.items():
        record = next((each for each in trial.arms if each.get("arm") == name), {})
        grades = exact.get("grades", {}).get(name, [])
        guesses = exact.get("guesses", {}).get(name, [])
        cell = factors.cells.get(arm.place, no_cell)
        for number, (grade, guessed) in enumerate(zip(grades, guesses, strict=True)):
            texts = record.get("texts", ())
            yield (
                {"concept": factors.concept, "protocol": factors.protocol, "half": factors.half}
                | _arm(name, arm, trial)
                | {
                    "block": math.nan if cell is no_cell else cell.layer,
                    "layer_fraction": cell.fraction,
                    "strength": cell.strength,
                    "number": number,
                    "text": f"{factors.begins}{texts[number]}" if number < len(texts) else "",
                    "guesses": ", ".join(guessed),
                }
                | {label: math.nan if grade is None else float(label in grade) for label in LABELS}
            )


def _sampled(trial: LoggedTrial, exact: Exact) -> Iterator[Row]:
    """Every arm, with its number of graded answers and the share of these of which each label is true."""
    by_arm: dict[str, list[Row]] = {}
    for row in _sampled_texts(trial, exact):
        by_arm.setdefault(row["arm"], []).append(row)
    for rows in by_arm.values():
        shares = {label: [row[label] for row in rows if not math.isnan(row[label])] for label in LABELS}
        of_text = ("number", "text", "guesses", *LABELS)
        yield {name: value for name, value in rows[0].items() if name not in of_text} | {
            "graded": len(shares[LABELS[0]]),
            **{label: sum(true) / len(true) if true else math.nan for label, true in shares.items()},
        }


ROWS: dict[tuple[str, str], Callable[[LoggedTrial, Exact], Iterator[Row]]] = {
    ("yes_shift", "arm"): _yes_no,
    ("arm_shifts", "arm"): _yes_no,
    ("arm_shifts", "layer"): _swap_by_layer,
    ("lens_gap", "arm"): _lens,
    ("lens_gap", "layer"): _lens_by_layer,
    ("swept", "arm"): _sweep,
    ("identified", "arm"): _identification,
    ("identified", "option"): _identification_by_option,
    ("located", "arm"): _location,
    ("located", "option"): _location_by_option,
    ("probed", "arm"): _probe,
    ("probed", "layer"): _probe_by_layer,
    ("top_of_mind_texts", "arm"): _texts,
    ("dose_response", "arm"): _texts,
    ("answers_graded", "arm"): _sampled,
    ("answers_graded", "text"): _sampled_texts,
}
"""For a task's scorer, and what has a row of its own, what makes the rows of a trial."""
