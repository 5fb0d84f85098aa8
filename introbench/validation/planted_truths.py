"""What planted models do: known positives and known negatives, with the verdict that is right for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

EFFECT = 1.5
"""Default effect size, in nats."""


@dataclass(frozen=True)
class Truth:
    """What a planted model does. Effects are in nats of log-odds, for an injection of the default strength.

    Attributes:
        mechanism: Description in one sentence. Its text also seeds the weights, so that rewording it draws others.
        verdict: The verdict that a correct instrument reaches.
        introspection: A concept's code in the cache moves answers about injections toward "noticed".
        salience: A concept's code in the cache moves answers about what stands out toward "noticed".
        perturbation: Anything in the cache that no text causes moves answers about injections toward "noticed".
        bias: Anything in the cache that no text causes moves every answer toward yes.
        flattening: Anything in the cache that no text causes takes away this share of every answer's log-odds.
        sensitive: It takes away this share more of the log-odds of answers about injections.
        document: A document that tells of injections moves answers about them toward "noticed", whatever is injected.
        naming: Whether a concept's code in the cache raises the probability of its word in the answer.
        hears: Whether anything in the prior turn's cache reaches an answer.
        live: Whether a concept's code raises the probability of its word at the token where it is added.
        random_dose: How strongly a vector in a random direction acts, as a share of how strongly a concept's vector of
            the same norm does; at least 0.3.
    """

    mechanism: str
    verdict: str
    introspection: float = 0.0
    salience: float = 0.0
    perturbation: float = 0.0
    bias: float = 0.0
    flattening: float = 0.0
    sensitive: float = 0.0
    document: float = 0.0
    naming: bool = False
    hears: bool = True
    live: bool = True
    random_dose: float = 1.0


PLANTED: Mapping[str, Truth] = MappingProxyType(
    {
        "introspector": Truth(
            "A concept's code in the cache is a reason to say so, when asked about injections.",
            "tracks the concept",
            introspection=EFFECT,
        ),
        "namer": Truth(
            "Names the concept that it finds in the cache, and never says that it noticed one.",
            "no effect",
            naming=True,
        ),
        "yes-bias": Truth("Whatever is injected, every answer moves toward yes.", "yes-bias", bias=EFFECT),
        "flattener": Truth("Whatever is injected, every answer moves toward even odds.", "flattening", flattening=0.5),
        "salience reader": Truth(
            "A concept's code stands out, and it says so whether asked about the text or about injections.",
            "reads salience",
            introspection=EFFECT,
            salience=EFFECT,
        ),
        "perturbation detector": Truth(
            "Anything that no text brings is a reason to say so, when asked about injections; random vectors, too.",
            "notices any perturbation",
            perturbation=EFFECT,
        ),
        "dose-detector": Truth(
            "Anything that no text brings is a reason to say so, by its dose; random vectors of one norm have less.",
            "notices any perturbation",
            perturbation=EFFECT,
            random_dose=0.4,
        ),
        "sensitive-family": Truth(
            "Whatever is injected, answers about injections move toward even odds more than other answers do.",
            "notices any perturbation",
            flattening=0.1,
            sensitive=0.4,
            random_dose=0.4,
        ),
        "deaf": Truth("Nothing of what is in the cache reaches an answer.", "no effect", hears=False),
        "document-driven": Truth(
            "Says that it noticed something where the document tells of injections, whatever is injected.",
            "document alone",
            document=EFFECT,
        ),
        "numb": Truth("Concepts have codes, but these do not bring their words to mind.", "not live", live=False),
    }
)
"""The planted models, by name."""
