"""What one arm's answer distribution says: log-odds, probabilities, mass; and how two arms differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RESOLUTION = 1e-6
"""Probability of all other answers below which float32 log-probabilities do not tell it from 0."""


@dataclass(frozen=True)
class ArmReading:
    """One arm of a trial.

    Attributes:
        arm: Name of the arm: `sham`, `concept`, `random 1`, ...
        vector: Which vector was injected.
        answers: Log-probability of each answer: logsumexp over its forms, in nats.
        top: The most likely tokens with their probabilities.
        lens: The same after every block, where it was read: one number per layer for each answer.
    """

    arm: str
    vector: str
    answers: Mapping[str, float]
    top: tuple[tuple[str, float], ...] = ()
    lens: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def log_odds(self) -> float:
        """Log-odds of yes against no, in nats."""
        return log_odds(self.answers)

    @property
    def p_yes(self) -> float:
        """Probability of all yes forms together."""
        return math.exp(self.answers["yes"])

    @property
    def p_no(self) -> float:
        """Probability of all no forms together."""
        return math.exp(_no(self.answers))

    @property
    def mass(self) -> float:
        """Probability that the answer is one of the forms at all."""
        return self.p_yes + self.p_no


def log_odds(answers: Mapping[str, float]) -> float:
    """Log-odds of yes against no, from their log-probabilities; against every other answer, if there is no no."""
    return answers["yes"] - _no(answers)


def _no(answers: Mapping[str, float]) -> float:
    return answers["no"] if "no" in answers else math.log(max(-math.expm1(answers["yes"]), RESOLUTION))


def arm_readings(arms: Sequence[Mapping[str, Any]], top: Sequence[Sequence[tuple[str, float]]]) -> list[ArmReading]:
    """Measures of every arm whose numbers are finite.

    Args:
        arms: Per arm, the provider's record with the log-probabilities of each answer's forms.
        top: Per arm, the most likely tokens with their log-probabilities.
    """
    readings = []
    for record, tokens in zip(arms, top, strict=True):
        if not record["finite"]:
            continue
        likely = tuple((token, math.exp(logprob)) for token, logprob in tokens)
        answers = {name: _logsumexp(values) for name, values in record["logprobs"].items()}
        readings.append(ArmReading(record["arm"], record["vector"], answers, likely, record.get("lens", {})))
    return readings


def _logsumexp(values: Sequence[float]) -> float:
    """Of a few finite numbers; scipy's takes longer to look at its arguments than to compute."""
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def published_form(before: float, after: float) -> str:
    """Two probabilities as the published tables show them: `0.150% -> 0.522% (+0.372%)`."""
    return f"{before:.3%} -> {after:.3%} ({after - before:+.3%})"


def arm_table(readings: Sequence[ArmReading]) -> str:
    """Markdown table of all arms, in the order given, with shifts against the first."""
    rows = [
        [
            reading.arm,
            reading.vector,
            f"{reading.p_yes:.3%}",
            f"{reading.p_no:.3%}",
            f"{reading.mass:.1%}",
            f"{reading.log_odds:+.3f}",
            f"{reading.log_odds - readings[0].log_odds:+.3f}" if reading is not readings[0] else "",
            ", ".join(f"{_visible(token)} {probability:.1%}" for token, probability in reading.top[:4]),
        ]
        for reading in readings
    ]
    headers = ["arm", "vector", "P(yes)", "P(no)", "yes+no", "log-odds", "shift", "top tokens"]
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
