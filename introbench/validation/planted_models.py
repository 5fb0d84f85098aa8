"""Models whose truth is known, because their weights were written by hand: known positives and known negatives.

All share one circuit, a Llama of nine blocks, and differ in a few numbers (`Truth`). It runs like any other model; no
part of the instrument knows about it.

- Block 0. A head collects the concept words of a text at every later token, as one code each: the concept's direction,
  which extraction finds, and at which injections aim. Another marks the tokens after the first answer.
- Block 1. Heads average over the words of the question: is it about an injection or about what stands out, how does the
  model lean by itself; and over the words before it: do they tell of injections. Another finds the labels.
- Block 2. A head finds the label that the question wants for yes: the one before the word "or".
- Blocks 3 to 5, the middle third, do nothing. This is where injections arrive.
- Block 6. Neurons at every token: does a concept's code stand out of what is there (`noticed`), and how much is there
  that no text brings (`energy`: the sum of squares over the codes and over dimensions that are empty otherwise).
- Block 7. A head averages both over the prior turn's cache, and some random readings of it as steering noise. Neurons
  multiply them with what the question is about and with how the model leans: the log-odds of yes.
- Block 8. Neurons write them to the labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np
import torch
from transformers import LlamaForCausalLM

from introbench.prompts import data
from introbench.prompts.chat import encode
from introbench.validation.circuit import ATTENDED, CONSTANT, HIDDEN, Circuit, Reading
from introbench.validation.word_meanings import NOISES, SENSES, make_sense
from introbench.validation.word_tokenizer import BEGIN, NOUNS, OVER, word_tokenizer

BLOCKS = 9

STEERED = BLOCKS // 3
"""Blocks at whose outputs the default setting injects."""

USUAL = 0.05 * CONSTANT * STEERED
"""How much of a code an injection of the default strength (residual:0.05) adds up to."""

CODES = len(NOUNS)

CODE = 10.0
"""Size of the code of a concept that a text is about: of what a concept's word changes, nearly all."""

ANSWERING = 40.0
"""Size of the mark of tokens after the first answer: far above what an injection adds to it by chance."""

HERE = 40.0
"""Size of what is perceived at a token, for the same reason."""

EMPTY = 90
"""Dimensions that no text ever uses."""

SILENT = -20.0
"""Logit of forms of labels that are never said, in nats."""

SAID = 14.0
"""Logit of the labels that a question asks for, and of a concept's word when it comes to mind."""


@dataclass(frozen=True)
class Truth:
    """What a planted model does; effects in nats of log-odds, for an injection of the default strength.

    Attributes:
        mechanism: In a few words.
        verdict: What a correct instrument says about it.
        introspection: A concept's code in the cache moves answers about injections toward "noticed".
        salience: The same moves answers about what stands out.
        perturbation: Anything in the cache that no text brings moves answers about injections toward "noticed".
        bias: The same moves every answer toward yes.
        flattening: The same takes away this share of every answer's log-odds.
        document: A document that tells of injections moves answers about them toward "noticed", whatever is injected.
        naming: Whether a concept's code in the cache brings its word to mind.
        hears: Whether anything of what is in the cache reaches an answer.
        live: Whether a concept's code brings its word to mind where it stands.
    """

    mechanism: str
    verdict: str
    introspection: float = 0.0
    salience: float = 0.0
    perturbation: float = 0.0
    bias: float = 0.0
    flattening: float = 0.0
    document: float = 0.0
    naming: bool = False
    hears: bool = True
    live: bool = True


EFFECT = 1.5
"""Default effect size, in nats."""

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
        "deaf": Truth("Nothing of what is in the cache reaches an answer.", "no effect", hears=False),
        "document-driven": Truth(
            "Says that it noticed something where the document tells of injections, whatever is injected.",
            "document alone",
            document=EFFECT,
        ),
        "numb": Truth("Concepts have codes, but these do not bring their words to mind.", "not live", live=False),
    }
)


NOISE = 0.25
"""Standard deviation over vectors and questions of how steering disturbs an answer, in nats."""

JOLT = 0.15
"""Standard deviation over questions of what every injection does to an answer, in nats."""


def concepts_of(seed: int, count: int = 9) -> list[str]:
    """The concepts to inject into the models of a seed."""
    return sorted(np.random.default_rng([seed, 1]).choice(NOUNS, size=count, replace=False).tolist())


def save_planted(truth: Truth, seed: int, folder: Path) -> None:
    """Write a planted model to a folder, as transformers models are kept.

    Args:
        truth: What it does.
        seed: Of everything that is drawn: codes, leanings, noise.
        folder: Where to.
    """
    tokenizer = word_tokenizer()
    planted_model(truth, seed, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def planted_model(truth: Truth, seed: int, tokenizer: Any) -> LlamaForCausalLM:
    """Write the weights of a planted model.

    Args:
        truth: What it does.
        seed: Of everything that is drawn: codes, leanings, noise.
        tokenizer: Of `word_tokenizer`.
    """
    return _Planted(truth, seed, tokenizer).circuit.model


class _Planted:
    """A planted model in the making."""

    def __init__(self, truth: Truth, seed: int, tokenizer: Any) -> None:
        self._truth = truth
        self._tokenizer = tokenizer
        # Two models of a seed have nothing in common, so that their errors are independent.
        self._rng = np.random.default_rng([seed, crc32(truth.mechanism.encode())])
        self._labels = _labels(tokenizer)
        tokens = list(dict.fromkeys(token for pair in self._labels for token in pair))
        self._label_places = {token: place for place, token in enumerate(tokens)}
        self.circuit = Circuit(
            len(tokenizer),
            BLOCKS,
            {
                "concept word": CODES,
                "concept": CODES,
                "empty": EMPTY,
                **dict.fromkeys(("begin", "over", "or", "content", "is a concept", "is a label"), 1),
                "answering": 1,  # after the first answer
                "label": len(tokens),
                "label so far": len(tokens),
                "label for yes": len(tokens),
                "word senses": len(SENSES),
                "senses": len(SENSES),
                "word tells": 1,
                "told": 1,
                **dict.fromkeys(("noticed here", "energy here", "noticed", "energy", "log-odds"), 1),
                "noise": NOISES,
                "said": len(tokens),
            },
        )
        codes = np.linalg.qr(self._rng.standard_normal((CODES, CODES)))[0]
        self._codes = torch.from_numpy(codes).float()
        self._words()
        self._find_concepts()
        self._understand()
        self._perceive()
        self._answer()
        self._speak()

    def _words(self) -> None:
        """What each token brings by itself."""
        c, token_of = self.circuit, self._tokenizer.convert_tokens_to_ids
        sense = make_sense(self._tokenizer, self._rng)
        for noun, code in zip(NOUNS, self._codes, strict=True):
            c.embed(token_of(noun), c.along("concept word", code) + c.read("is a concept"))
        for token in sense.content:
            c.embed(token, c.read("content") + c.along("word senses", sense.questions[token]))
            c.embed(token, c.read("word tells", weight=float(sense.telling[token])))
        for token, place in self._label_places.items():
            # Every question says "for yes or ... for no": these are its labels only if it has no others.
            c.embed(token, c.read("label", place) + c.read("is a label", weight=1 + (token not in self._labels[0])))
        for word, part in ((BEGIN, "begin"), (OVER, "over"), ("or", "or")):
            c.embed(token_of(word), c.read(part))

    def _find_concepts(self) -> None:
        """Block 0: the concepts of a text; what comes after the first answer. Else they look where it begins."""
        c = self.circuit
        c.attend(
            0,
            c.read("is a concept", weight=2 * ATTENDED) + c.read("begin", weight=ATTENDED),
            [(c.read("concept word", i), c.read("concept", i, CODE)) for i in range(CODES)],
        )
        c.attend(
            0,
            c.read("over", weight=2 * ATTENDED) + c.read("begin", weight=ATTENDED),
            [(c.read("over"), c.read("answering", weight=ANSWERING))],
        )

    def _understand(self) -> None:
        """Blocks 1 and 2: what is asked, what was told, and how to answer."""
        c = self.circuit
        later = c.read("answering", weight=ATTENDED / ANSWERING)
        c.attend(
            1,
            later + c.read("content", weight=ATTENDED),
            [(c.read("word senses", i), c.read("senses", i)) for i in range(len(SENSES))],
        )
        c.attend(1, c.read("content", weight=ATTENDED) - later, [(c.read("word tells"), c.read("told"))])
        labels = range(len(self._label_places))
        c.attend(
            1,
            3 * later + c.read("is a label", weight=ATTENDED),
            [(c.read("label", i), c.read("label so far", i)) for i in labels],
        )
        seen = sum((c.read("label so far", i, ATTENDED) for i in labels), torch.zeros(HIDDEN))
        c.attend(
            2,
            later + c.read("or", weight=ATTENDED) + seen,
            [(c.read("label so far", i), c.read("label for yes", i)) for i in labels],
        )

    def _perceive(self) -> None:
        """Block 6: what stands out at a token, and how much is there that no text brings."""
        c = self.circuit
        least = 0.3 * USUAL
        for code in self._codes:
            c.exceed(6, c.along("concept", code), least, c.read("noticed here", weight=HERE / (USUAL - least)))
        # An injection in a random direction has as much energy as one along a code, on average.
        share = (HIDDEN - CODES) / EMPTY
        for part, size, weight in (("concept", CODES, 1.0), ("empty", EMPTY, share)):
            for i in range(size):
                one = c.read(part, i)
                c.multiply(6, one, one, c.read("energy here", weight=HERE * weight / USUAL**2))

    def _answer(self) -> None:
        """Block 7: from the prior turn's cache and the question to the log-odds of yes."""
        c, truth = self.circuit, self._truth
        noise = self._rng.standard_normal((NOISES, CODES + EMPTY))
        noise *= (CODES**0.5 / USUAL) / np.linalg.norm(noise[:, :CODES], axis=1, keepdims=True)
        disturbances = [
            c.along("concept", torch.from_numpy(each[:CODES]).float())
            + c.along("empty", torch.from_numpy(each[CODES:]).float())
            for each in noise
        ]
        before = c.read("answering", weight=-ATTENDED / ANSWERING)
        c.attend(
            7,
            before,
            [
                (c.read("noticed here"), c.read("noticed", weight=truth.hears / HERE)),
                (c.read("energy here"), c.read("energy", weight=truth.hears / HERE)),
                *((each, c.read("noise", i, truth.hears)) for i, each in enumerate(disturbances)),
            ],
        )
        if truth.naming:
            c.attend(7, before, [(c.read("concept", i), c.read("concept", i)) for i in range(CODES)])
        sense: dict[str, Reading] = {name: c.read("senses", i) for i, name in enumerate(SENSES)}
        noticed, energy, told, odds = c.read("noticed"), c.read("energy"), c.read("told"), c.read("log-odds")
        one = c.always(1.0)
        for effect, cause, about in (
            (1.0, one, sense["leaning"]),
            (truth.introspection, noticed, sense["introspective"]),
            (truth.salience, noticed, sense["salient"]),
            (truth.perturbation, energy, sense["introspective"]),
            (truth.bias, energy, one),
            (-truth.flattening, energy, sense["leaning"]),
            (truth.document, told, sense["introspective"]),
            (JOLT, energy, sense["jolted"]),
            *((NOISE / NOISES**0.5, c.read("noise", i), sense[f"noise {i}"]) for i in range(NOISES)),
        ):
            c.multiply(7, cause, about, effect * odds)

    def _speak(self) -> None:
        """Block 8 and the unembedding: labels, and words that come to mind."""
        c = self.circuit
        for yes, no in self._labels:
            wanted = c.read("label for yes", self._label_places[yes])
            up, down = (c.read("said", self._label_places[token]) for token in (yes, no))
            c.multiply(8, wanted, c.read("log-odds"), (up - down) / 2)
            c.multiply(8, wanted, c.always(SAID), up + down)
        for token, place in self._label_places.items():
            c.say(token, c.read("said", place))
        for token in _other_forms(self._tokenizer) - set(self._label_places):
            c.say(token, c.always(SILENT))
        if self._truth.live:
            for noun, code in zip(NOUNS, self._codes, strict=True):
                c.say(self._tokenizer.convert_tokens_to_ids(noun), c.along("concept", SAID / USUAL * code))


def _labels(tokenizer: Any) -> list[tuple[int, int]]:
    """The tokens for yes and for no in each answer format; words first."""
    return [
        (encode(tokenizer, each.forms[0][0])[0], encode(tokenizer, each.forms[0][1])[0])
        for each in data.answer_formats().values()
    ]


def _other_forms(tokenizer: Any) -> set[int]:
    """All forms of all labels, also those that are never said."""
    return {
        encode(tokenizer, form)[0] for each in data.answer_formats().values() for pair in each.forms for form in pair
    }
