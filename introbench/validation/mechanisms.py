"""What simulated models do: mechanisms that would fool a verdict, and effects that it might miss.

Half of them were named by reviewers who had read the description of the verdict, and not the code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy.special import expit

from introbench.stats.intervals import Array
from introbench.validation.worlds import Run, Sizes, World


@dataclass(frozen=True)
class Mechanism:
    """A mechanism, at some sizes.

    Attributes:
        does: What the model does, in one sentence.
        world: From a size to what the model does to a run.
        sizes: The sizes that are simulated, in nats unless the sentence says something else.
        introspects: Whether the model tells injected concepts as such, so that the verdict ought to say so.
        excess: The true excess at a size, if it has one that an interval should cover.
        told_apart: Whether the protocol can tell the mechanism from introspection.
        run: How large the runs are.
    """

    does: str
    world: Callable[[float], World]
    sizes: tuple[float, ...]
    introspects: bool = False
    excess: Callable[[float], float] | None = None
    told_apart: bool = True
    run: Sizes = field(default_factory=Sizes)


def nothing(_size: float) -> World:
    """Ordinary disturbances alone."""
    return lambda run: None


def introspection(size: float) -> World:
    """Concepts' vectors are noticed, rotations are not."""
    return lambda run: run.notice(run.concepts, size)


def _heavy_tails(size: float) -> World:
    def world(run: Run) -> None:
        run.concepts += 0.25 * run.draw.standard_t(2, run.concepts.shape)
        run.random += 0.25 * run.draw.standard_t(2, run.random.shape)
        run.notice(run.concepts, size)

    return world


def _alike_pairs(size: float) -> World:
    def world(run: Run) -> None:
        count = run.sizes.concepts
        pairs = run.draw.standard_normal(-(-count // 2)).repeat(2)[:count]
        unlike = run.draw.standard_normal(count)
        run.notice(run.concepts, size + 0.3 * (0.8**0.5 * pairs + 0.2**0.5 * unlike))

    return world


def _units_differ(size: float) -> World:
    return lambda run: run.notice(run.concepts, run.each(size, 0.3))


def _s_shape(size: float) -> World:
    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, run.each(1.0, 0.2), -0.9 * np.tanh(run.baseline / 1.5))
        run.notice(run.concepts, size)

    return world


def pulled_shift(log_odds: Array, share: float) -> Array:
    """How far log-odds move, in nats, if probabilities go a share of the way to 1/2."""
    yes, no = (share / 2 + (1 - share) * expit(signed) for signed in (log_odds, -log_odds))
    return np.asarray(np.log(yes) - np.log(no) - log_odds)


def _pull(size: float) -> World:
    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, 1.0, pulled_shift(run.baseline, 0.1))
        run.notice(run.concepts, size)

    return world


def _formats_differ(size: float) -> World:
    def world(run: Run) -> None:
        by_kind = size + 0.6 * run.draw.standard_normal(run.sizes.kinds)
        of_questions = run.side * run.is_of("introspection")
        run.concepts += of_questions[:, None] * by_kind

    return world


def _far_controls(size: float) -> World:
    """Controls at even odds plus or minus 5, introspection at plus or minus 1, under a saturating confusion."""

    def world(run: Run) -> None:
        is_control = run.side == 0
        sign = np.where(np.arange(len(run.baseline)) % 2, 1.0, -1.0)
        moved = np.where(is_control, 5 * sign, np.where(run.side != 0, -run.side, 0))
        run.baseline = moved + 0.3 * run.draw.standard_normal(len(moved))
        for shifts in (run.concepts, run.random):
            run.move(shifts, size, -np.tanh(run.baseline))

    return world


def _push(size: float) -> World:
    def world(run: Run) -> None:
        run.move(run.concepts, 1.0, run.is_of("introspection"))
        run.move(run.random, 1.0, run.is_of("introspection"))
        run.notice(run.concepts, size)

    return world


def _dose_detector(size: float) -> World:
    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.random, size * (1 + 0.04 * run.draw.uniform(-1, 1, run.sizes.concepts)))

    return world


def _sensitive_family(size: float) -> World:
    def world(run: Run) -> None:
        for shifts in (run.concepts, run.random):
            run.move(shifts, run.each(size, 0.1 * size), -run.baseline * run.is_of("introspection"))

    return world


def _salience_reader(size: float) -> World:
    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, size, "salience")

    return world


def _shared_component(size: float) -> World:
    def world(run: Run) -> None:
        wordings = 1 + 0.2 * run.draw.standard_normal(len(run.side))
        for shifts, mean, spread in ((run.concepts, size, 0.15 * size), (run.random, 0.0, 0.1 * size)):
            of_vectors = run.each(mean, spread)
            run.move(shifts, of_vectors, run.side * run.is_of("introspection") * wordings)
            run.notice(shifts, 0.1 * of_vectors, "salience")

    return world


def _eroded_denial(size: float) -> World:
    def world(run: Run) -> None:
        run.baseline = np.where(run.is_of("introspection") > 0, run.baseline * 2, run.baseline)
        for shifts, share in ((run.concepts, size), (run.random, size / 4)):
            run.move(shifts, share, -run.baseline * run.is_of("introspection"))
            run.move(shifts, share, -run.baseline * run.is_of("salience"))

    return world


def _persona(size: float) -> World:
    def world(run: Run) -> None:
        for shifts, mean in ((run.concepts, size), (run.random, size / 6)):
            of_vectors = run.each(mean, 0.2)
            run.notice(shifts, of_vectors)
            run.notice(shifts, 0.1 * of_vectors, "salience")
            run.move(shifts, of_vectors, 0.8 * run.is_of("confusing"))

    return world


def _fading(size: float) -> World:
    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, 0.1 * size, "salience")
        run.notice(run.random, size * run.draw.uniform(0.3, 0.6, run.sizes.concepts) ** 2)

    return world


def _one_sided(size: float) -> World:
    def world(run: Run) -> None:
        plain = (run.side > 0) * run.is_of("introspection")
        run.move(run.concepts, run.each(size, 0.2 * size), plain)
        run.move(run.random, run.each(0.1 * size, 0.15 * size), plain)

    return world


def _priming(size: float) -> World:
    def world(run: Run) -> None:
        wordings = run.draw.uniform(0.6, 1.4, len(run.side))
        for shifts, of_vectors in (
            (run.concepts, size * run.draw.beta(4, 2, run.sizes.concepts)),
            (run.random, run.each(0.0, 0.1 * size)),
        ):
            run.move(shifts, of_vectors, run.side * run.is_of("introspection") * wordings)
            run.move(shifts, of_vectors, 0.15 * run.side * run.is_of("salience") * wordings)

    return world


def _deaf_salience(size: float) -> World:
    def world(run: Run) -> None:
        run.baseline = np.where(run.is_of("salience") > 0, run.baseline - 3.5 * run.side, run.baseline)
        for shifts, mean in ((run.concepts, size), (run.random, size / 6)):
            run.notice(shifts, mean)
            run.notice(shifts, 0.1 * mean, "salience")

    return world


def _jumps(size: float) -> World:
    def world(run: Run) -> None:
        to_even = -np.clip(run.baseline, -4.0, 4.0)[:, None]
        run.concepts += to_even * (run.draw.random(run.concepts.shape) < size)
        run.random += to_even * (run.draw.random(run.random.shape) < size)

    return world


def _clustered_controls(size: float) -> World:
    def world(run: Run) -> None:
        for name in ("always_no", "always_yes", "ambiguous", "confusing"):
            offset = size * run.draw.standard_normal()
            for shifts in (run.concepts, run.random):
                run.move(shifts, 1.0, offset * run.is_of(name))

    return world


def _picked_cell(size: float) -> World:
    """The best of twelve cells is taken, in each of which all concepts share a draw."""
    return lambda run: run.notice(run.concepts, float((size * run.draw.standard_normal(12)).max()))


def _honest_salience(size: float) -> World:
    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.concepts, 0.75 * size, "salience")

    return world


def _few_live(size: float) -> World:
    return lambda run: run.notice(run.concepts, np.where(np.arange(run.sizes.concepts) % 9 < 5, size, 0.0))


def _one_kind(size: float) -> World:
    def world(run: Run) -> None:
        by_kind = np.array([size, size / 10, 0.0, 0.0])[: run.sizes.kinds]
        run.concepts += (run.side * run.is_of("introspection"))[:, None] * by_kind

    return world


def _deaf_to_negation(size: float) -> World:
    def world(run: Run) -> None:
        weight = np.where(run.side > 0, size, -0.75 * size) * run.side * run.is_of("introspection")
        run.move(run.concepts, 1.0, weight)

    return world


def _odd_wordings(size: float) -> World:
    def world(run: Run) -> None:
        wordings = 0.6 * run.draw.standard_t(2, len(run.side)) * run.is_of("introspection")
        run.move(run.concepts, 1.0, wordings)
        run.move(run.random, 1.0, wordings)
        run.notice(run.concepts, size)

    return world


def _half_random(size: float) -> World:
    def world(run: Run) -> None:
        run.notice(run.concepts, size)
        run.notice(run.random, size / 2)

    return world


def _itself(size: float) -> float:
    return size


def _none(_size: float) -> float:
    return 0.0


_FOUR_KINDS = Sizes(kinds=4)

MECHANISMS: Mapping[str, Mechanism] = MappingProxyType(
    {
        "nothing": Mechanism("Ordinary disturbances alone.", nothing, (0.0,), excess=_none),
        "introspection": Mechanism(
            "Concepts' vectors are noticed.", introspection, (0.2, 0.3, 0.6), introspects=True, excess=_itself
        ),
        "unlike concepts": Mechanism(
            "Concepts are noticed unequally (sd 0.3).", _units_differ, (0.0, 0.6), True, excess=_itself
        ),
        "alike pairs": Mechanism(
            "Concepts come in pairs that correlate by 0.8 (sd 0.3).", _alike_pairs, (0.0, 0.6), True, excess=_itself
        ),
        "heavy tails": Mechanism("Noise of single answers is t(2).", _heavy_tails, (0.0, 0.6), True, excess=_itself),
        "S-shape": Mechanism("Any injection saturates answers.", _s_shape, (0.0, 0.6), True, excess=_itself),
        "pull": Mechanism(
            "Any injection mixes answers with a coin toss (10%).", _pull, (0.0, 0.6), True, excess=_itself
        ),
        "formats": Mechanism(
            "What is noticed differs between four kinds of answers (sd 0.6).",
            _formats_differ,
            (0.0,),
            excess=_none,
            run=_FOUR_KINDS,
        ),
        "four kinds": Mechanism(
            "Concepts' vectors are noticed; four kinds of answers.",
            introspection,
            (0.0, 0.2, 0.6),
            True,
            excess=_itself,
            run=_FOUR_KINDS,
        ),
        "push": Mechanism(
            "Any injection pushes introspection answers alone toward yes, by 1 nat.",
            _push,
            (0.0, 0.6),
            True,
            excess=_itself,
        ),
        "far control questions": Mechanism(
            "No control question has a baseline like introspection's, and answers saturate.", _far_controls, (1.5,)
        ),
        "dose detector": Mechanism("Any perturbation is noticed by its dose.", _dose_detector, (0.3, 1.5)),
        "sensitive family": Mechanism(
            "Any injection flattens introspection answers more than others (share).", _sensitive_family, (0.2, 0.5)
        ),
        "salience reader": Mechanism("What stands out is said in both families.", _salience_reader, (0.3, 1.5)),
        "jumps": Mechanism("Single answers jump to even odds (share of answers).", _jumps, (0.05, 0.2)),
        "clustered control questions": Mechanism(
            "Each family of control questions has an offset of its own (sd).", _clustered_controls, (0.3, 0.6)
        ),
        "picked cell": Mechanism(
            "The best of twelve layers or strengths is taken, which differ at random (sd).", _picked_cell, (0.1, 0.3)
        ),
        "one-sided words": Mechanism(
            "Concepts push plain introspection wordings toward yes, reversed ones not.",
            _one_sided,
            (0.5, 2.0),
            told_apart=False,
        ),
        "shared component": Mechanism(
            "All concepts' vectors share a direction that says that a topic is on the mind.",
            _shared_component,
            (0.3, 1.0),
            told_apart=False,
        ),
        "eroded denial": Mechanism(
            "Concepts weaken a trained denial of inner states (share of its log-odds).",
            _eroded_denial,
            (0.1, 0.4),
            told_apart=False,
        ),
        "persona": Mechanism(
            "Concepts pull the model toward a human narrator with an inner life.",
            _persona,
            (0.5, 1.3),
            told_apart=False,
        ),
        "fading rotations": Mechanism(
            "Rotations of equal dose fade in the cache, concepts do not; any perturbation is noticed.",
            _fading,
            (0.5, 1.3),
            told_apart=False,
        ),
        "primed vocabulary": Mechanism(
            "Concepts make the words of introspection wordings truer.", _priming, (0.5, 1.6), told_apart=False
        ),
        "deaf salience": Mechanism(
            "Something is odd, but salience questions are saturated and do not show it.",
            _deaf_salience,
            (0.5, 1.2),
            told_apart=False,
        ),
        "honest salience": Mechanism(
            "An introspector that also says, 0.75 as strongly, that something stands out.",
            _honest_salience,
            (0.6, 2.0),
            True,
        ),
        "half-live": Mechanism("Five of nine concepts are noticed.", _few_live, (0.6, 1.2), True),
        "one kind of answer": Mechanism(
            "Concepts are noticed in one of four kinds of answers.", _one_kind, (0.6, 2.0), True, run=_FOUR_KINDS
        ),
        "deaf to negation": Mechanism(
            "An introspector that misreads reversed wordings.", _deaf_to_negation, (0.6, 1.6), True
        ),
        "odd wordings": Mechanism(
            "Wordings differ with heavy tails (0.6 nats times t(2)).", _odd_wordings, (0.8,), True
        ),
        "half for rotations": Mechanism(
            "Rotations are noticed half as much as concepts.", _half_random, (0.6, 2.0), True
        ),
    }
)
"""The simulated mechanisms, by name."""
