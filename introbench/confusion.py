"""Confusion told apart from noticing: what an injection does to introspection beyond what it does to any answer.

An injection that flattens multiplies every log-odds by 1 - flattening: a confident no moves up, a confident yes down.
A yes-bias moves every answer up alike. Under both, the shifts of one injected vector lie on a line over the log-odds
under the sham,

    shift = bias - flattening * baseline,

which is fitted to the control questions, for each vector and each kind of answer by itself. What introspection
questions move in excess of their vector's line, signed so that "noticed" is positive, is not confusion of this form.

Lines are Huber's M-estimates: a few control questions that the concept is about have bounded weight. The excess is
therefore over the typical control question, not over the mean of all.

Intervals have to allow for two things: units (vectors) are few, and so are questions, which all units share. The
variance is that of two-way clustering (Cameron, Gelbach & Miller 2011), V = V_units + V_questions - V_cells. V_units
comes from the spread of the units' numbers; V_questions from a jackknife: each question is left out in turn, for all
units and kinds at once, and the lines are refitted; V_cells from what that does to single units beyond their mean. Each
part is multiplied by the squared quantile of its own degrees of freedom (as Cochran & Cox combine variances):

    reach^2 = max(0, t_units^2 (V_units - V_cells) + t_questions^2 (V_questions - V_cells)) + t_cells^2 V_cells,

for controls and introspection questions separately, with t_cells in place of the others where a bracket is negative.
The quantiles of the units are those of `mean_interval`, so that skewed units have a skewed interval.

Measured on normal effects, 34 controls and six introspection questions (1,000 to 2,000 simulations each): the excess of
nine units is covered 95-97%, whether units, questions or noise prevail; of three to twelve units, and differences,
94-98%; exponential units 94%. With nothing but noise it is 98% for nine units and 99% for three, whose bias and
flattening are covered 91-92%. A bootstrap of questions with Satterthwaite's degrees of freedom covered 98.5% under
noise, with wider intervals and in 30 times the time. Outliers on one side in every tenth answer leave the excess alone
(94-97%), but not the bias (75-90%).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from introbench.stats import Array, Interval, mean_interval

HUBER = 1.345
"""Residuals beyond this many robust standard deviations have bounded weight: 95% efficiency on normal data."""

ITERATIONS = 100
"""Of iteratively reweighted least squares, at most; 15 to 20 are usual."""

REFITS = 6
"""Iterations when one question is left out, from the line of all questions and with its scale: a percent is enough."""

FEWEST_CONTROLS = 3
"""With fewer control questions there is no line without any one of them."""

REACH = 1.0
"""Nats beyond the control baselines within which their line is still trusted."""

PULLS = np.concatenate([[0.0], np.geomspace(1e-5, 0.95, 120)])
"""Shares of the way to 1/2 that probabilities may be pulled."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Answer:
    """One question, asked under one injection and under the sham.

    Attributes:
        unit: The injected vector: an exchangeable unit.
        item: The question.
        kind: How it is answered ("words", "digits"); lines are fitted per kind.
        labels: Which assignment of labels within the kind ("a-b", "b-a"). A question's numbers are averaged over the
            kind's assignments, which cancels a pull toward a label.
        sign: +1 where a yes, -1 where a no says that something was noticed; 0 on control questions.
        baseline: Log-odds of yes under the sham, in nats.
        shift: Log-odds of yes under the injection minus the baseline, in nats, toward yes whatever the sign; NaN if
            there is no finite number.
    """

    unit: str
    item: str
    kind: str
    labels: str
    sign: float
    baseline: float
    shift: float


@dataclass(frozen=True)
class Confusion:
    """What injections did to all answers alike, and to introspection beyond that.

    Attributes:
        excess: Shift of introspection questions in excess of the lines, signed so that "noticed" is positive: mean over
            kinds (with equal weight), questions and units.
        by_kind: The same in each kind that has a line.
        bias: What the lines say an even answer moves toward yes, mean over kinds and units.
        flattening: Share of the log-odds that the lines say is lost, mean over kinds and units.
        covered: Share of the introspection baselines that lie within the range of the control baselines: for the others
            the line is extrapolated.
        within_reach: Share of them that lie no further than `REACH` from that range.
        over_pull: The excess if it is probabilities that are pulled toward 1/2, and not log-odds: then shifts lie on a
            curve that is steep where answers are confident.
        questions: Number of introspection questions.
        controls: Number of control questions.
        missing: Number of answers, by unit, question and kind, that could not be used: lost, not finite, without one of
            the kind's label assignments, or because the question is missing for another unit.
        without_line: Kinds that were left out, see `confusion`.
    """

    excess: Interval
    by_kind: dict[str, Interval]
    bias: Interval
    flattening: Interval
    covered: float
    within_reach: float
    over_pull: float
    questions: int
    controls: int
    missing: int
    without_line: tuple[str, ...]


@dataclass(frozen=True)
class _Kind:
    """The answers of one kind, all questions for all units.

    Attributes:
        controls: Its control questions, by number.
        questions: Its introspection questions, by number.
        signs: Signs of its introspection questions.
        at: Baselines of the control questions, [units, controls].
        moved: Shifts of the control questions.
        asked_at: Baselines of the introspection questions, [units, questions].
        asked: Shifts of the introspection questions.
    """

    controls: NDArray[np.intp]
    questions: NDArray[np.intp]
    signs: Array
    at: Array
    moved: Array
    asked_at: Array
    asked: Array

    @property
    def has_line(self) -> bool:
        """Whether a line and an excess can be told, whichever one control question is left out."""
        if self.at.shape[1] < FEWEST_CONTROLS or not self.asked.size:
            return False
        order = np.sort(self.at, axis=1)
        least = 1e-9 * np.abs(order).max()
        return bool(min((order[:, -1] - order[:, 1]).min(), (order[:, -2] - order[:, 0]).min()) > least)


@dataclass(frozen=True)
class _Data:
    """Balanced answers of one or two populations of units.

    Attributes:
        kinds: Those with a line, by name.
        without_line: Names of the others.
        population: Which population each unit is from, [units].
        missing: See `Confusion`.
    """

    kinds: dict[str, _Kind]
    without_line: tuple[str, ...]
    population: NDArray[np.intp]
    missing: int

    @property
    def controls(self) -> list[int]:
        """Control questions of any kind, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.controls})

    @property
    def questions(self) -> list[int]:
        """Introspection questions of any kind, by number."""
        return sorted({int(number) for kind in self.kinds.values() for number in kind.questions})

    def fits(self) -> list[tuple["_Estimate", "_Estimate", "_Estimate"]]:
        """Excess, bias and flattening of each unit in each kind."""
        columns = self.controls, self.questions
        return [_fitted(kind, columns) for kind in self.kinds.values()]


@dataclass(frozen=True)
class _Estimate:
    """A number per unit, and what each question did to it.

    Attributes:
        values: [units].
        families: For each family of questions that matters, the controls first: its degrees of freedom in the kind
            with the fewest, and its jackknife, [units, questions]: over questions, the squares of the mean over units
            sum to the variance that is due to questions.
    """

    values: Array
    families: tuple[tuple[int, Array], ...]

    def of(self, units: Mask, sign: float) -> "_Estimate":
        """Those of some units, times a sign."""
        return _Estimate(sign * self.values[units], tuple((f, sign * pulls[units]) for f, pulls in self.families))


def confusion(
    answers: Sequence[Answer], *, level: float = 0.95, resamples: int = 2000, rng: np.random.Generator
) -> Confusion:
    """Bias and flattening from the control questions, and the excess of the introspection questions.

    A kind has no line, and is left out, unless it has an introspection question and at least three control questions,
    and a slope can be told whichever one of these is left out. A bias alone would pass flattening off as noticing.

    A question that is missing for one unit in a kind is left out there for all. A unit that answered none of a kind's
    introspection questions, or none of its controls, is left out first, so that it does not take the others with it.

    Args:
        answers: In any order; repeated ones are averaged over the finite ones.
        level: Nominal coverage of the intervals, which need two units and two introspection questions.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller; it does not touch the estimates.

    Raises:
        ValueError: A sign is not -1, 0 or 1, or a question has several.
    """
    data = _balanced([answers])
    fits = data.fits()

    def interval(estimate: _Estimate) -> Interval:
        return _interval([estimate], level, resamples, rng)

    excess, bias, flattening = (interval(_mean([fit[part] for fit in fits])) for part in range(3))
    return Confusion(
        excess=excess,
        by_kind={
            name: interval(fit[0]) if len(fits) > 1 else excess for name, fit in zip(data.kinds, fits, strict=True)
        },
        bias=bias,
        flattening=flattening,
        covered=_share_within(data, 0.0),
        within_reach=_share_within(data, REACH),
        over_pull=float(np.mean([_excess_over_pull(kind) for kind in data.kinds.values()])) if data.kinds else math.nan,
        questions=len(data.questions),
        controls=len(data.controls),
        missing=data.missing,
        without_line=data.without_line,
    )


def difference(
    first: Sequence[Answer],
    second: Sequence[Answer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Interval:
    """Excess of the first answers minus excess of the second: concept vectors against random ones.

    Two independent populations of units, on the same questions: what a question does to both cancels. Questions that
    are missing for a unit of either are left out for both.

    Args:
        first: Answers of the first population.
        second: Answers of the second; a unit of the same name is another unit.
        level: Nominal coverage; an interval needs two units on both sides.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Raises:
        ValueError: A sign is not -1, 0 or 1, or a question has several.
    """
    data = _balanced([first, second])
    excesses = [fit[0] for fit in data.fits()]
    sides = ((data.population == 0, 1.0), (data.population == 1, -1.0))
    return _interval([_mean([e.of(*side) for e in excesses]) for side in sides], level, resamples, rng)


def beyond(
    first: Sequence[Answer],
    second: Sequence[Answer],
    controls: Sequence[Answer],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> Interval:
    """Excess of some questions minus excess of others, of the same units: introspection against salience.

    Both are over the same lines through the control questions, in the kinds in which both are asked; units are paired.
    What a control question does to both cancels; the two sides' questions are families of their own.

    Args:
        first: Answers to the first questions, with signs.
        second: Answers to the others, with signs.
        controls: Answers to control questions.
        level: Nominal coverage of the interval, which needs two units, and two questions on both sides.
        resamples: Number of bootstrap resamples of the units.
        rng: Source of randomness, seeded by the caller.

    Raises:
        ValueError: A sign is not -1, 0 or 1, or a question has several.
    """
    kinds = {answer.kind for answer in first} & {answer.kind for answer in second}
    # A unit without answers on one side is left out, so that it does not take the others with it.
    units = [{answer.unit for answer in side if math.isfinite(answer.shift)} for side in (first, second)]
    asked = [a for a in (*first, *second, *controls) if a.kind in kinds and a.unit in units[0] & units[1]]
    others = {answer.item for answer in second}
    is_other = np.array([item in others for item in sorted({answer.item for answer in asked})], dtype=bool)
    data = _balanced([asked])
    differences = []
    for kind in data.kinds.values():
        own, other = (_with_questions(kind, mask) for mask in (~is_other[kind.questions], is_other[kind.questions]))
        if own.has_line and other.has_line:
            one, two = (_fitted(each, (data.controls, data.questions))[0] for each in (own, other))
            (freedom, pulls), own_questions = one.families
            (_, other_pulls), (other_freedom, other_questions) = two.families
            families = ((freedom, pulls - other_pulls), own_questions, (other_freedom, -other_questions))
            differences.append(_Estimate(one.values - two.values, families))
    return _interval([_mean(differences)], level, resamples, rng)


def _with_questions(kind: _Kind, mask: Mask) -> _Kind:
    """A kind with some of its introspection questions."""
    return replace(
        kind,
        questions=kind.questions[mask],
        signs=kind.signs[mask],
        asked_at=kind.asked_at[:, mask],
        asked=kind.asked[:, mask],
    )


def _balanced(populations: Sequence[Sequence[Answer]]) -> _Data:
    """Average label assignments and repeats, and leave every unit with the same questions."""
    keyed = [((which, a.unit), a) for which, answers in enumerate(populations) for a in answers]
    signs = _signs([a for _, a in keyed])
    units = sorted({unit for unit, _ in keyed})
    kinds = sorted({a.kind for _, a in keyed})
    items = sorted(signs)
    labels = sorted({a.labels for _, a in keyed})
    places = [{name: number for number, name in enumerate(names)} for names in (kinds, items, units, labels)]
    cells = [(places[0][a.kind], places[1][a.item], places[2][u], places[3][a.labels]) for u, a in keyed]
    shape = (len(kinds), len(items), len(units), len(labels))
    baseline, shift = _cell_means(cells, [(a.baseline, a.shift) for _, a in keyed], shape)
    planned = np.zeros(shape[:2], dtype=bool)
    planned[[c[0] for c in cells], [c[1] for c in cells]] = True

    population = np.array([which for which, _ in units], dtype=np.intp)
    sign = np.array([signs[item] for item in items])
    usable = np.isfinite(shift)
    kept_units = _units_with_answers(usable, sign != 0, population)
    kept = planned & usable[:, :, kept_units].all(axis=2)
    found = {}
    for number, name in enumerate(kinds):
        c, q = (np.flatnonzero(kept[number] & role) for role in (sign == 0, sign != 0))
        b, s = (values[number][:, kept_units].T for values in (baseline, shift))
        found[name] = _Kind(c, q, sign[q], b[:, c], s[:, c], b[:, q], s[:, q])
    return _Data(
        kinds={name: kind for name, kind in found.items() if kind.has_line},
        without_line=tuple(name for name, kind in found.items() if not kind.has_line),
        population=population[kept_units],
        missing=int(planned.sum()) * len(units) - int(kept.sum()) * int(kept_units.sum()),
    )


def _units_with_answers(usable: Mask, introspection: Mask, population: NDArray[np.intp]) -> Mask:
    """Units that answered some introspection and some control question of each kind that every population answered.

    Args:
        usable: Which answers there are, [kinds, items, units].
        introspection: Which items are introspection questions.
        population: Which population each unit is from.
    """
    kept = np.ones(len(population), dtype=bool)
    for role in (introspection, ~introspection):
        for answers in usable[:, role]:
            answered = np.any(answers, axis=0)
            if len(set(population[answered])) == len(set(population)):
                kept &= answered
    return kept


def _signs(answers: Sequence[Answer]) -> dict[str, float]:
    """The sign of each question."""
    signs: dict[str, float] = {}
    for answer in answers:
        if answer.sign not in (-1, 0, 1) or signs.setdefault(answer.item, answer.sign) != answer.sign:
            raise ValueError(f"question {answer.item!r}: expected one sign, -1, 0 or 1, got {answer.sign}")
    return signs


def _cell_means(
    cells: Sequence[tuple[int, int, int, int]], numbers: Sequence[tuple[float, float]], shape: tuple[int, int, int, int]
) -> tuple[Array, Array]:
    """Baselines and shifts, [kinds, items, units]; NaN without a finite number for each of the kind's assignments."""
    belongs = np.zeros((shape[0], shape[3]), dtype=bool)
    belongs[[c[0] for c in cells], [c[3] for c in cells]] = True
    finite = sorted((c, n) for c, n in zip(cells, numbers, strict=True) if math.isfinite(n[0] + n[1]))
    where = tuple(np.array([c for c, _ in finite], dtype=np.intp).reshape(-1, 4).T)
    sums = np.zeros((*shape, 3))
    np.add.at(sums, where, np.array([(*n, 1.0) for _, n in finite]).reshape(-1, 3))
    with np.errstate(invalid="ignore"):
        means = sums[..., :2] / sums[..., 2:]
    assigned = np.where(belongs[:, None, None, :, None], means, 0.0).sum(axis=3)
    assigned /= belongs.sum(axis=1)[:, None, None, None]
    return assigned[..., 0], assigned[..., 1]


def _fitted(kind: _Kind, columns: tuple[list[int], list[int]]) -> tuple[_Estimate, _Estimate, _Estimate]:
    """Excess, bias and flattening of each unit in one kind.

    Args:
        kind: Its answers.
        columns: Which control and introspection questions the estimates have columns for.
    """
    lines, scale = _lines(kind.at, kind.moved)
    without = _lines_without_each(kind.at, kind.moved, lines, scale)
    excess, excess_without = (kind.signs * (kind.asked - _along(line, kind.asked_at)) for line in (lines, without))
    units, count = excess.shape
    questions = np.zeros((units, len(columns[1])))
    # The jackknife of a mean in closed form.
    deviations = (excess - excess.mean(axis=1, keepdims=True)) / math.sqrt(max(1, count * (count - 1)))
    questions[:, np.searchsorted(columns[1], kind.questions)] = deviations

    def estimate(values: Array, without: Array, *more: tuple[int, Array]) -> _Estimate:
        controls = np.zeros((units, len(columns[0])))
        shrink = math.sqrt(1 - 1 / len(without))
        controls[:, np.searchsorted(columns[0], kind.controls)] = shrink * (without.mean(axis=0) - without).T
        # A line takes two degrees of freedom, a mean one.
        return _Estimate(values, ((len(without) - 2, controls), *more))

    return (
        estimate(excess.mean(axis=-1), excess_without.mean(axis=-1), (count - 1, questions)),
        estimate(lines[..., 0], without[..., 0]),
        estimate(-lines[..., 1], -without[..., 1]),
    )


def _share_within(data: _Data, reach: float) -> float:
    """Share of the introspection baselines that lie no further than so many nats from their controls' range."""
    inside = [
        (kind.asked_at >= kind.at.min(axis=1, keepdims=True) - reach)
        & (kind.asked_at <= kind.at.max(axis=1, keepdims=True) + reach)
        for kind in data.kinds.values()
    ]
    return float(np.concatenate([each.ravel() for each in inside]).mean()) if inside else math.nan


def _excess_over_pull(kind: _Kind) -> float:
    """Mean excess of one kind over a push and a pull of probabilities, fitted by least absolute deviations."""
    missed = [kind.moved - _pulled(kind.at, pull) for pull in PULLS]
    pushes = np.median(missed, axis=-1)
    best = np.abs(np.array(missed) - pushes[..., None]).sum(axis=-1).argmin(axis=0)
    push, pull = pushes[best, np.arange(len(best))], PULLS[best]
    return float((kind.signs * (kind.asked - push[:, None] - _pulled(kind.asked_at, pull[:, None]))).mean())


def _pulled(log_odds: Array, pull: float | Array) -> Array:
    """How far log-odds move if probabilities go some share of the way to 1/2."""
    yes, no = (pull / 2 + (1 - pull) * expit(each) for each in (log_odds, -log_odds))
    return np.asarray(np.log(yes) - np.log(no) - log_odds)


def _lines(x: Array, y: Array) -> tuple[Array, Array]:
    """Huber's line for each unit.

    Args:
        x: Baselines, [units, questions].
        y: Shifts.

    Returns:
        Intercepts and slopes, [units, 2], and the robust standard deviations of the residuals, [units].
    """
    size = np.maximum(np.abs(y).max(axis=1), 1e-200)
    # The median of all but the two smallest: a line can always make two residuals zero.
    middle = [(x.shape[1] + 1) // 2, (x.shape[1] + 2) // 2]
    lines = _weighted_lines(x, y, np.ones_like(x))
    for _ in range(ITERATIONS):
        residuals = y - _along(lines, x)
        ordered = np.sort(np.abs(residuals), axis=1)
        scale = np.maximum(ordered[:, middle].mean(axis=1) / 0.6745, 1e-13 * size)
        lines = _weighted_lines(x, y, _weights(residuals, scale))
        if (np.abs(y - _along(lines, x) - residuals).max(axis=1) <= 1e-10 * size).all():
            break
    return lines, scale


def _lines_without_each(x: Array, y: Array, lines: Array, scale: Array) -> Array:
    """The lines with each question left out in turn, [questions, units, 2]."""
    others = 1 - np.eye(x.shape[1])[:, None, :]
    without = np.broadcast_to(lines, (x.shape[1], *lines.shape))
    for _ in range(REFITS):
        without = _weighted_lines(x, y, others * _weights(y - _along(without, x), scale))
    return without


def _weights(residuals: Array, scale: Array) -> Array:
    limit = HUBER * scale[..., None]
    return limit / np.maximum(np.abs(residuals), limit)


def _weighted_lines(x: Array, y: Array, weights: Array) -> Array:
    """Weighted least squares along the last axis: intercepts and slopes."""
    total = weights.sum(axis=-1)
    centre, height = (np.einsum("...i,...i->...", weights, values) / total for values in (x, y))
    offset = x - centre[..., None]
    leaning = weights * offset
    slope = np.einsum("...i,...i->...", leaning, y) / np.einsum("...i,...i->...", leaning, offset)
    return np.stack([height - slope * centre, slope], axis=-1)


def _along(lines: Array, x: Array) -> Array:
    return lines[..., :1] + lines[..., 1:] * x


def _mean(estimates: Sequence[_Estimate]) -> _Estimate:
    """Mean over kinds; without any, an estimate of no units."""
    if not estimates:
        return _Estimate(np.zeros(0), ())
    by_family = zip(*(estimate.families for estimate in estimates), strict=True)
    return _Estimate(
        values=np.mean([estimate.values for estimate in estimates], axis=0),
        families=tuple(
            (min(freedom for freedom, _ in family), np.mean([pulls for _, pulls in family], axis=0))
            for family in by_family
        ),
    )


def _interval(samples: Sequence[_Estimate], level: float, resamples: int, rng: np.random.Generator) -> Interval:
    """Interval for the sum of the means of independent samples of units, which answered the same questions."""
    units = min(len(sample.values) for sample in samples)
    if units == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    estimate = float(sum(sample.values.mean() for sample in samples))
    fewest = min(freedom for freedom, _ in samples[0].families)
    if units == 1 or fewest < 1:
        return Interval(estimate, math.nan, math.nan, units)

    # A variance below the noise of single cells is so by chance, and takes no more away than that noise is given.
    noise_quantile = _quantile((units - 1) * fewest, level)
    noise, effects = 0.0, np.zeros(2)  # towards the low and the high end
    for sample in samples:
        cells = sum(_cell_variance(pulls) for _, pulls in sample.families)
        variance = sample.values.var(ddof=1) / len(sample.values)
        quantiles = np.array(noise_quantile)
        if variance > cells:
            own = mean_interval(sample.values, level=level, resamples=resamples, rng=rng)
            quantiles = np.square([own.low - own.estimate, own.high - own.estimate]) / variance
        effects += (variance - cells) * quantiles
        noise += cells * noise_quantile
    floor = 0.0
    for family in zip(*(sample.families for sample in samples), strict=True):
        variance = np.square(sum(pulls.mean(axis=0) for _, pulls in family)).sum()
        cells = sum(_cell_variance(pulls) for _, pulls in family)
        effects += (variance - cells) * (_quantile(family[0][0], level) if variance > cells else noise_quantile)
        floor += max(0.0, float(variance - cells)) * _quantile(family[0][0], level)
    low, high = np.sqrt(np.maximum(effects, 0) + noise)
    return Interval(estimate, estimate - float(low), estimate + float(high), units, math.sqrt(floor))


def _cell_variance(pulls: Array) -> float:
    """The part of the variance of the mean over units that single cells bring in by way of some questions."""
    return float(pulls.var(axis=0, ddof=1).sum()) / len(pulls)


def _quantile(freedom: int, level: float) -> float:
    """Squared quantile of Student's t."""
    return float(stdtrit(freedom, (1 + level) / 2)) ** 2


def excess_by_unit(answers: Sequence[Answer]) -> dict[str, float]:
    """The excess of each unit by itself, in nats, without intervals; NaN where a unit has no line.

    Args:
        answers: In any order.
    """
    found = {}
    for unit in sorted({answer.unit for answer in answers}):
        fits = _balanced([[answer for answer in answers if answer.unit == unit]]).fits()
        found[unit] = float(_mean([fit[0] for fit in fits]).values[0]) if fits else math.nan
    return found
