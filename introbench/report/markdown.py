"""Markdown tables of one trial's arms, for the explanation of its score in the log viewer."""

import math
from collections.abc import Mapping, Sequence

from introbench.analysis.arm_reading import ArmReading


def published_form(before: float, after: float) -> str:
    """Two probabilities as the published tables show them: `0.150% -> 0.522% (+0.372%)`."""
    return f"{before:.3%} -> {after:.3%} ({after - before:+.3%})"


def arm_table(readings: Sequence[ArmReading]) -> str:
    """Markdown table of all arms in the order given: what was injected, what was answered, shifts against the first."""
    rows = [
        [
            reading.arm,
            reading.vector,
            f"{reading.strength:.3g}" if reading.strength else "",
            f"{reading.dose:.3g}" if reading.dose else "",
            f"{reading.p_yes:.3%}",
            f"{reading.p_no:.3%}",
            f"{reading.mass:.1%}",
            f"{reading.log_odds:+.3f}",
            f"{reading.log_odds - readings[0].log_odds:+.3f}" if reading is not readings[0] else "",
            ", ".join(f"{_visible(token)} {probability:.1%}" for token, probability in reading.top[:4]),
        ]
        for reading in readings
    ]
    headers = ["arm", "vector", "norm", "dose (nats)", "P(yes)", "P(no)", "yes+no", "log-odds", "shift", "top tokens"]
    return markdown([headers, ["---"] * len(headers), *rows])


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; the second row is the line under the headers."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _visible(token: str) -> str:
    """A token as it can stand in a markdown table."""
    escaped = token.replace(" ", "·").replace("\n", "\\n").replace("|", "\\|").replace("`", "'")
    return f"`{escaped}`"


def lens_table(p_yes: Mapping[str, Sequence[float]], odds: Mapping[str, Sequence[float]]) -> str:
    """Markdown table of P(yes) and of log-odds by layer, for each arm."""
    headers = ["layer", *(f"P(yes) {arm}" for arm in p_yes), *(f"log-odds {arm}" for arm in odds)]
    rows = [
        [
            str(layer),
            *(f"{values[layer]:.3%}" for values in p_yes.values()),
            *(f"{values[layer]:+.2f}" for values in odds.values()),
        ]
        for layer in range(len(odds["sham"]))
    ]
    return markdown([headers, ["---"] * len(headers), *rows])


def options_table(
    among: Mapping[str, Mapping[str, float]], answers: Mapping[str, Mapping[str, float]], options: Mapping[str, str]
) -> str:
    """Markdown table of what each arm reports: probability of each option, among the options and of all tokens."""
    headers = ["option", "label", *among, *(f"{arm}, of all tokens" for arm in ("sham", "concept"))]
    rows = [
        [
            name or "(nothing)",
            label,
            *(f"{report[name]:.1%}" for report in among.values()),
            *(f"{math.exp(answers[arm][label]):.3%}" for arm in ("sham", "concept")),
        ]
        for label, name in options.items()
    ]
    return markdown([headers, ["---"] * len(headers), *rows])
