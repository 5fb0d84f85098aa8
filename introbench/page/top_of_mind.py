"""Figures of the top-of-mind task: how much likelier a concept's word becomes under its vector."""

from collections.abc import Mapping, Sequence

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.top_of_mind import beside_opposites, judged_strengths
from introbench.page.charts import BLUE, ORANGE, PINK, points
from introbench.page.figure import Figure, Panel

GROUPS = {"the concept's vector": BLUE, "random vectors, the largest": ORANGE, "the vector's opposite": PINK}
SHAPES = dict(zip(GROUPS, ("circle", "square", "diamond"), strict=True))


def figures(trials: Sequence[ScoredTrial], questions: Mapping[str, str]) -> list[Figure]:
    """The figures of a run."""
    strengths: dict[str, list[dict[str, object]]] = {}
    concepts = [metadata["concept"] for metadata, _ in trials]
    for metadata, exact in trials:
        opposite = {one.strength: one.gain for one in beside_opposites(exact) if one.under == "-"}
        for strength, effect in judged_strengths(exact).items():
            gains = [effect.gain, effect.random_gain, *([opposite[strength]] if strength in opposite else [])]
            state = {"live": "yes" if effect.live else "no", "coherent": "yes" if effect.coherent else "no"}
            strengths.setdefault(strength, []).extend(
                {
                    "x": concepts.index(metadata["concept"]),
                    "y": gain,
                    "group": group,
                    "concept": metadata["concept"],
                    **state,
                }
                for group, gain in zip(GROUPS, gains, strict=False)
            )
    panels, has_opposites = [], False
    for strength, rows in strengths.items():
        colours = {group: colour for group, colour in GROUPS.items() if any(row["group"] == group for row in rows)}
        has_opposites |= len(colours) == len(GROUPS)
        chart = points(rows, "concept", "gain of its word (nats)", colours, {group: SHAPES[group] for group in colours})
        chart["encoding"]["x"] = {
            "field": "concept",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"labelAngle": -40},
        }
        panels.append(Panel(f"strength {strength}", chart, rows))
    opposites = " Vectors that lead to a fine-tune have opposites beside them." if has_opposites else ""
    return [
        Figure(
            "gains",
            "Do vectors bring their concepts to mind?",
            "How much likelier the concept's word becomes under steering than under the sham, in nats. A vector is "
            f"live where it does more than every random vector.{opposites}",
            panels,
        )
    ]
