"""Simulated models, as what they do to the shifts of a run; each is given the size of its effect.

`introbench.validation.mechanisms` says what each stands for, and at which sizes it is simulated.
"""

import numpy as np
from scipy.special import expit

from introbench.stats.intervals import Array
from introbench.validation.worlds import Run, World


def nothing(_size: float) -> World:
    """Ordinary disturbances alone."""
    return lambda run: None


def introspection(size: float) -> World:
    """Concepts' vectors are noticed."""
    return lambda run: run.notice(run.concepts, size)


def heavy_tails(size: float) -> World:
    """Noise of single answers is t(2)."""

    def world(run: Run) -> None:
        run.concepts += 0.25 * run.draw.standard_t(2, run.concepts.shape)
        run.random += 0.25 * run.draw.standard_t(2, run.random.shape)
        run.notice(run.concepts, size)

    return world


def alike_pairs(size: float) -> World:
    """Concepts come in pairs that correlate by 0.8 (sd 0.3)."""

    def world(run: Run) -> None:
        count = run.sizes.concepts
        pairs = run.draw.standard_normal(-(-count // 2)).repeat(2)[:count]
        unlike = run.draw.standard_normal(count)
        run.notice(run.concepts, size + 0.3 * (0.8**0.5 * pairs + 0.2**0.5 * unlike))

    return world


def units_differ(size: float) -> World:
    """Concepts are noticed unequally (sd 0.3)."""
    return lambda run: run.notice(run.concepts, run.each(size, 0.3))


def s_shape(size: float) -> World:
    """Any injection saturates answers."""

    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, run.each(1.0, 0.2), -0.9 * np.tanh(run.baseline / 1.5))
        run.notice(run.concepts, size)

    return world


def pulled_shift(log_odds: Array, share: float) -> Array:
    """How far log-odds move, in nats, if probabilities go a share of the way to 1/2."""
    yes, no = (share / 2 + (1 - share) * expit(signed) for signed in (log_odds, -log_odds))
    return np.asarray(np.log(yes) - np.log(no) - log_odds)


def pull(size: float) -> World:
    """Any injection mixes answers with a coin toss (10%)."""

    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, 1.0, pulled_shift(run.baseline, 0.1))
        run.notice(run.concepts, size)

    return world


def formats_differ(size: float) -> World:
    """What is noticed differs between four kinds of answers (sd 0.6)."""

    def world(run: Run) -> None:
        by_kind = size + 0.6 * run.draw.standard_normal(run.sizes.kinds)
        of_questions = run.side * run.is_of("introspection")
        run.concepts += of_questions[:, None] * by_kind

    return world


def far_controls(size: float) -> World:
    """No control question has a baseline like introspection's, and answers saturate."""

    def world(run: Run) -> None:
        is_control = run.side == 0
        sign = np.where(np.arange(len(run.baseline)) % 2, 1.0, -1.0)
        moved = np.where(is_control, 5 * sign, np.where(run.side != 0, -run.side, 0))
        run.baseline = moved + 0.3 * run.draw.standard_normal(len(moved))
        for shifts in (run.concepts, run.random):
            run.move(shifts, size, -np.tanh(run.baseline))

    return world


def push(size: float) -> World:
    """Any injection pushes introspection answers alone toward yes, by 1 nat."""

    def world(run: Run) -> None:
        run.move(run.concepts, 1.0, run.is_of("introspection"))
        run.move(run.random, 1.0, run.is_of("introspection"))
        run.notice(run.concepts, size)

    return world


def dose_detector(size: float) -> World:
    """Any perturbation is noticed by its dose."""

    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.random, size * (1 + 0.04 * run.draw.uniform(-1, 1, run.sizes.concepts)))

    return world


def sensitive_family(size: float) -> World:
    """Any injection flattens introspection answers more than others (share)."""

    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, run.each(size, 0.1 * size), -run.baseline * run.is_of("introspection"))

    return world


def salience_reader(size: float) -> World:
    """What stands out is said in both families."""

    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, size, "salience")

    return world


def shared_component(size: float) -> World:
    """All concepts' vectors share a direction that says that a topic is on the mind."""

    def world(run: Run) -> None:
        wordings = 1 + 0.2 * run.draw.standard_normal(len(run.side))
        for shifts, mean, spread in ((run.concepts, size, 0.15 * size), (run.random, 0.0, 0.1 * size)):
            of_vectors = run.each(mean, spread)
            run.move(shifts, of_vectors, run.side * run.is_of("introspection") * wordings)
            run.notice(shifts, 0.1 * of_vectors, "salience")

    return world


def eroded_denial(size: float) -> World:
    """Concepts weaken a trained denial of inner states (share of its log-odds)."""

    def world(run: Run) -> None:
        run.baseline = np.where(run.is_of("introspection") > 0, run.baseline * 2, run.baseline)
        for shifts, share in ((run.concepts, size), (run.random, size / 4)):
            run.move(shifts, share, -run.baseline * run.is_of("introspection"))
            run.move(shifts, share, -run.baseline * run.is_of("salience"))

    return world


def persona(size: float) -> World:
    """Concepts pull the model toward a human narrator with an inner life."""

    def world(run: Run) -> None:
        for shifts, mean in ((run.concepts, size), (run.random, size / 6)):
            of_vectors = run.each(mean, 0.2)
            run.notice(shifts, of_vectors)
            run.notice(shifts, 0.1 * of_vectors, "salience")
            run.move(shifts, of_vectors, 0.8 * run.is_of("confusing"))

    return world


def fading(size: float) -> World:
    """Rotations of equal dose fade in the cache, concepts do not; any perturbation is noticed."""

    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, 0.1 * size, "salience")
        run.notice(run.random, size * run.draw.uniform(0.3, 0.6, run.sizes.concepts) ** 2)

    return world


def one_sided(size: float) -> World:
    """Concepts push plain introspection wordings toward yes, reversed ones not."""

    def world(run: Run) -> None:
        plain = (run.side > 0) * run.is_of("introspection")
        run.move(run.concepts, run.each(size, 0.2 * size), plain)
        run.move(run.random, run.each(0.1 * size, 0.15 * size), plain)

    return world


def priming(size: float) -> World:
    """Concepts make the words of introspection wordings truer."""

    def world(run: Run) -> None:
        wordings = run.draw.uniform(0.6, 1.4, len(run.side))
        for shifts, of_vectors in (
            (run.concepts, size * run.draw.beta(4, 2, run.sizes.concepts)),
            (run.random, run.each(0.0, 0.1 * size)),
        ):
            run.move(shifts, of_vectors, run.side * run.is_of("introspection") * wordings)
            run.move(shifts, of_vectors, 0.15 * run.side * run.is_of("salience") * wordings)

    return world


def deaf_salience(size: float) -> World:
    """Something is odd, but salience questions are saturated and do not show it."""

    def world(run: Run) -> None:
        run.baseline = np.where(run.is_of("salience") > 0, run.baseline - 3.5 * run.side, run.baseline)
        for shifts, mean in ((run.concepts, size), (run.random, size / 6)):
            run.notice(shifts, mean)
            run.notice(shifts, 0.1 * mean, "salience")

    return world


def jumps(size: float) -> World:
    """Single answers jump to even odds (share of answers)."""

    def world(run: Run) -> None:
        to_even = -np.clip(run.baseline, -4.0, 4.0)[:, None]
        run.concepts += to_even * (run.draw.random(run.concepts.shape) < size)
        run.random += to_even * (run.draw.random(run.random.shape) < size)

    return world


def clustered_controls(size: float) -> World:
    """Each family of control questions has an offset of its own (sd)."""

    def world(run: Run) -> None:
        for name in ("always_no", "always_yes", "ambiguous", "confusing"):
            offset = size * run.draw.standard_normal()
            for shifts in (run.concepts, run.random):
                run.move(shifts, 1.0, offset * run.is_of(name))

    return world


def picked_cell(size: float) -> World:
    """The best of twelve layers or strengths is taken, which differ at random (sd)."""
    return lambda run: run.notice(run.concepts, float((size * run.draw.standard_normal(12)).max()))


def honest_salience(size: float) -> World:
    """An introspector that also says, 0.75 as strongly, that something stands out."""

    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, 0.75 * size, "salience")

    return world


def few_live(size: float) -> World:
    """Five of nine concepts are noticed."""
    return lambda run: run.notice(run.concepts, np.where(np.arange(run.sizes.concepts) % 9 < 5, size, 0.0))


def one_kind(size: float) -> World:
    """Concepts are noticed in one of four kinds of answers."""

    def world(run: Run) -> None:
        by_kind = np.array([size, size / 10, 0.0, 0.0])[: run.sizes.kinds]
        run.concepts += (run.side * run.is_of("introspection"))[:, None] * by_kind

    return world


def deaf_to_negation(size: float) -> World:
    """An introspector that misreads reversed wordings."""

    def world(run: Run) -> None:
        weight = np.where(run.side > 0, size, -0.75 * size) * run.side * run.is_of("introspection")
        run.move(run.concepts, 1.0, weight)

    return world


def odd_wordings(size: float) -> World:
    """Wordings differ with heavy tails (0.6 nats times t(2))."""

    def world(run: Run) -> None:
        wordings = 0.6 * run.draw.standard_t(2, len(run.side)) * run.is_of("introspection")
        run.move(run.concepts, 1.0, wordings)
        run.move(run.random, 1.0, wordings)
        run.notice(run.concepts, size)

    return world


def half_random(size: float) -> World:
    """Rotations are noticed half as much as concepts."""

    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.random, size / 2)

    return world
