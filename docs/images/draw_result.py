"""Draw the picture of the README: python docs/images/draw_result.py LOG (a log of the introspection task)."""

import sys
from pathlib import Path

import numpy as np
from inspect_ai.log import EvalLog, read_eval_log
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from introbench.analysis.named_values import introspection_values
from introbench.records.scores import scored_trials
from introbench.stats.robust_curve import curve_basis, heights, robust_fits

DOCUMENT, FORMAT = "info", "yes-no"
LOOKS = {
    "control": ("o", "#9a9a9a", "control question"),
    "plain": ("^", "#d62728", "introspection question, yes says 'noticed'"),
    "reversed": ("v", "#1f77b4", "introspection question, no says 'noticed'"),
}
"""Marker, colour and name of every kind of question."""

VECTORS = {
    "concepts": "the concept's vector",
    "random vectors": "random rotation, equal dose",
    "random vectors (equal norm)": "random rotation, equal norm",
    "gaussian": "random direction",
    "covariance": "random, of the model's covariance",
    "shuffle": "shuffled coordinates",
    "negated": "its opposite",
    "other": "another concept's vector",
}
"""What is injected, in words."""


def main(path: str, folder: Path = Path(__file__).parent) -> None:
    """Draw one log's picture.

    Args:
        path: A log of the introspection task with the document info.
        folder: Where to write result.png; beside this file by default.
    """
    log = read_eval_log(path)
    points = answers(log)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    concept = next(iter(sorted(points)))
    draw_answers(left, points[concept], concept)
    draw_excess(right, log)
    figure.savefig(folder / "result.png", dpi=110)


def answers(log: EvalLog) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """For every concept and kind of question: log-odds of yes without injection, and their shift toward yes."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for factors, exact in scored_trials(log.samples or [], "yes_shift"):
        if factors["document"] != DOCUMENT or factors["format"] != FORMAT or factors["family"] == "salience":
            continue
        log_odds = exact["log_odds"]
        kind = "control"
        if factors["family"] == "introspection":
            kind = "reversed" if factors["reversed"] else "plain"
        point = (log_odds["sham"], log_odds["concept"] - log_odds["sham"])
        found.setdefault(factors["concept"], {name: [] for name in LOOKS})[kind].append(point)
    return found


def draw_answers(axes: Axes, points: dict[str, list[tuple[float, float]]], concept: str) -> None:
    """Every question under one concept's vector, with the robust curve through the control questions."""
    for kind, (marker, colour, name) in LOOKS.items():
        x, y = np.array(points[kind]).T
        axes.scatter(x, y, marker=marker, color=colour, s=38, label=name, zorder=3)
    x, y = np.array(points["control"]).T
    curve = curve_basis(x)
    fits, _ = robust_fits(curve, x[None], y[None])
    ends = np.array(axes.get_xlim())
    along = np.linspace(*ends, 200)
    axes.plot(
        along,
        heights(curve, fits, along[None])[0],
        color="#555555",
        lw=1.4,
        label="curve through the control questions",
    )
    axes.set_xlim(*ends)
    axes.axhline(0, color="k", lw=0.6)
    axes.set_xlabel("log-odds of yes with nothing injected (nats)")
    axes.set_ylabel("shift toward yes (nats)")
    axes.set_title(f"What injecting '{concept}' does to each answer", fontsize=10)
    axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)


def draw_excess(axes: Axes, log: EvalLog) -> None:
    """What introspection questions move beyond the curve, with intervals, by kind of vector."""
    values = introspection_values(scored_trials(log.samples or [], "yes_shift"))
    start, end = "excess | ", f" | {DOCUMENT}"
    rows = [name for vectors in VECTORS if (name := f"{start}{vectors}{end}") in values]
    for at, name in enumerate(rows):
        low, high = values[f"{name} | low"], values[f"{name} | high"]
        colour = "#d62728" if at == 0 else "#777777"
        axes.plot([low, high], [-at, -at], color=colour, lw=2)
        axes.plot(values[name], -at, "o", color=colour)
    margin = (log.samples or [])[0].metadata["plan"]["margin"]
    axes.axvspan(-margin, margin, color="#2ca02c", alpha=0.1, label=f"too small to matter (margin of {margin:g} nats)")
    axes.axvline(0, color="k", lw=0.6)
    axes.set_yticks([-at for at in range(len(rows))], [VECTORS[name[len(start) : -len(end)]] for name in rows])
    axes.set_xlim(-1.5 * margin, 1.5 * margin)
    axes.set_xlabel("excess toward 'noticed', 95% interval (nats)")
    axes.set_title("How far introspection answers leave the curve", fontsize=10)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False)


if __name__ == "__main__":
    main(sys.argv[1])
