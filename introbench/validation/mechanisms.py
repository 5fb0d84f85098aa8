"""What simulated models do: mechanisms that would fool a verdict, and effects that it might miss.

Half of them were named by reviewers who had read the description of the verdict, and not the code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from introbench.validation.simulated_models import (
    alike_pairs,
    clustered_controls,
    deaf_salience,
    deaf_to_negation,
    dose_detector,
    eroded_denial,
    fading,
    far_controls,
    few_live,
    formats_differ,
    half_random,
    heavy_tails,
    honest_salience,
    introspection,
    jumps,
    nothing,
    odd_wordings,
    one_kind,
    one_sided,
    persona,
    picked_cell,
    priming,
    pull,
    push,
    s_shape,
    salience_reader,
    sensitive_family,
    shared_component,
    units_differ,
)
from introbench.validation.worlds import Sizes, World


@dataclass(frozen=True)
class Mechanism:
    """A mechanism, at some sizes.

    Attributes:
        world: From a size to what the model does to a run; its docstring says that in one sentence.
        sizes: The sizes that are simulated, in nats unless the sentence says something else.
        introspects: Whether the model tells injected concepts as such, so that the verdict ought to say so.
        excess: The true excess at a size, if it has one that an interval should cover.
        told_apart: Whether the protocol can tell the mechanism from introspection.
        run: How large the runs are.
    """

    world: Callable[[float], World]
    sizes: tuple[float, ...]
    introspects: bool = False
    excess: Callable[[float], float] | None = None
    told_apart: bool = True
    run: Sizes = field(default_factory=Sizes)

    @property
    def does(self) -> str:
        """What the model does, in one sentence."""
        return str(self.world.__doc__)


def _itself(size: float) -> float:
    return size


def _none(_size: float) -> float:
    return 0.0


_FOUR_KINDS = Sizes(kinds=4)

MECHANISMS: Mapping[str, Mechanism] = MappingProxyType(
    {
        "nothing": Mechanism(nothing, (0.0,), excess=_none),
        "introspection": Mechanism(introspection, (0.2, 0.3, 0.6), introspects=True, excess=_itself),
        "unlike concepts": Mechanism(units_differ, (0.0, 0.6), True, excess=_itself),
        "alike pairs": Mechanism(alike_pairs, (0.0, 0.6), True, excess=_itself),
        "heavy tails": Mechanism(heavy_tails, (0.0, 0.6), True, excess=_itself),
        "S-shape": Mechanism(s_shape, (0.0, 0.6), True, excess=_itself),
        "pull": Mechanism(pull, (0.0, 0.6), True, excess=_itself),
        "formats": Mechanism(
            formats_differ,
            (0.0,),
            excess=_none,
            run=_FOUR_KINDS,
        ),
        "four kinds": Mechanism(
            introspection,
            (0.0, 0.2, 0.6),
            True,
            excess=_itself,
            run=_FOUR_KINDS,
        ),
        "push": Mechanism(
            push,
            (0.0, 0.6),
            True,
            excess=_itself,
        ),
        "far control questions": Mechanism(far_controls, (1.5,)),
        "dose detector": Mechanism(dose_detector, (0.3, 1.5)),
        "sensitive family": Mechanism(sensitive_family, (0.2, 0.5)),
        "salience in both": Mechanism(salience_reader, (0.3, 1.5)),
        "jumps": Mechanism(jumps, (0.05, 0.2)),
        "clustered control questions": Mechanism(clustered_controls, (0.3, 0.6)),
        "picked cell": Mechanism(picked_cell, (0.1, 0.3)),
        "one-sided words": Mechanism(
            one_sided,
            (0.5, 2.0),
            told_apart=False,
        ),
        "shared component": Mechanism(
            shared_component,
            (0.3, 1.0),
            told_apart=False,
        ),
        "eroded denial": Mechanism(
            eroded_denial,
            (0.1, 0.4),
            told_apart=False,
        ),
        "persona": Mechanism(
            persona,
            (0.5, 1.3),
            told_apart=False,
        ),
        "fading rotations": Mechanism(
            fading,
            (0.5, 1.3),
            told_apart=False,
        ),
        "primed vocabulary": Mechanism(priming, (0.5, 1.6), told_apart=False),
        "deaf salience": Mechanism(
            deaf_salience,
            (0.5, 1.2),
            told_apart=False,
        ),
        "honest salience": Mechanism(
            honest_salience,
            (0.6, 2.0),
            True,
        ),
        "half-live": Mechanism(few_live, (0.6, 1.2), True),
        "one kind of answer": Mechanism(one_kind, (0.6, 2.0), True, run=_FOUR_KINDS),
        "deaf to negation": Mechanism(deaf_to_negation, (0.6, 1.6), True),
        "odd wordings": Mechanism(odd_wordings, (0.8,), True),
        "half for rotations": Mechanism(half_random, (0.6, 2.0), True),
    }
)
"""The simulated mechanisms, by name."""
