"""Planted models: small Llamas whose weights are written by hand, so that it is known what they do.

All planted models share one circuit of nine blocks and differ in a few numbers, which are listed in
`introbench.validation.planted_truths`. They run like any other model; no part of the instrument knows about them.

- Block 0. One head writes a code for every concept word of the text at every later token. The code is the concept's
  direction, which vector extraction recovers and injections add. Another head marks the tokens after the first answer.
- Block 1. One head averages over the words of the question: whether it is about injections or about what stands out,
  and which answer the model gives by itself. Another averages over the words before the question: whether they tell of
  injections. A third finds the labels.
- Block 2. One head finds the label that the question asks for as yes: the label before the word "or".
- Blocks 3 to 5, the middle third, do nothing. Injections are added to their outputs.
- Block 6. Neurons at every token compute whether a concept's code exceeds a threshold (`noticed`), and how much is
  present that no text causes (`energy`: the sum of squares over codes and over dimensions that are otherwise empty).
- Block 7. One head averages both over the prior turn's cache, together with random readings of it, which act as
  steering noise. Neurons multiply the averages with what the question is about and with the model's baseline answer;
  the sum of the products is the log-odds of yes.
- Block 8. Neurons write the log-odds to the labels.
"""

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from transformers import LlamaForCausalLM

from introbench.prompts import data
from introbench.prompts.chat import encode
from introbench.validation.circuit import ATTENDED, CONSTANT, HIDDEN, Circuit, Reading
from introbench.validation.planted_truths import Truth
from introbench.validation.word_meanings import NOISES, SENSES, make_sense
from introbench.validation.word_tokenizer import BEGIN, NOUNS, OVER, word_tokenizer

BLOCKS = 9

STEERED = BLOCKS // 3
"""Number of blocks to whose outputs the default setting adds a vector; also the first of them."""

USUAL = 0.05 * CONSTANT * STEERED
"""Sum of what an injection of the default strength (residual:0.05) adds along a code."""

CODES = len(NOUNS)
"""Number of codes, one for each noun."""

CODE = 10.0
"""Size of the code of a concept that a text mentions; nearly all of what the concept's word changes."""

ANSWERING = 40.0
"""Size of the mark of tokens after the first answer; far larger than what an injection adds to it by chance."""

HERE = 40.0
"""Size of the signals of block 6; far larger than what an injection adds to them by chance."""

EMPTY = 90
"""Number of dimensions that no text uses."""

SILENT = -20.0
"""Logit of the forms of labels that are never given as an answer, in nats."""

SAID = 14.0
"""Logit of the labels that a question asks for, and of a concept's word under its code, in nats."""


ENDING, MOVED = 6.0, 1.5
"""Logit of the end of a turn, and how far an injection of the default strength moves it, in nats: a dose of about 0.2
where the model has nothing to say, and next to nothing beside a label."""

NOISE = 0.25
"""Standard deviation, over vectors and questions, of the noise that steering adds to an answer, in nats."""

JOLT = 0.15
"""Standard deviation, over questions, of the noise that is the same for every injection, in nats."""


def concepts_of(seed: int, count: int = 9) -> list[str]:
    """The concepts to inject into the planted models of a seed, drawn from `NOUNS`."""
    return sorted(np.random.default_rng([seed, 1]).choice(NOUNS, size=count, replace=False).tolist())


def save_planted(truth: Truth, seed: int, folder: Path) -> None:
    """Write a planted model and its tokenizer to a folder in the format of transformers.

    Args:
        truth: What the model does.
        seed: Seed of the codes, the baseline answers and the noise.
        folder: The folder.
    """
    tokenizer = word_tokenizer()
    planted_model(truth, seed, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def planted_model(truth: Truth, seed: int, tokenizer: Any) -> LlamaForCausalLM:
    """A planted model.

    Args:
        truth: What the model does.
        seed: Seed of the codes, the baseline answers and the noise.
        tokenizer: The tokenizer that `word_tokenizer` returns.
    """
    return _Weights(truth, seed, tokenizer).circuit.model


class _Weights:
    """Writes the weights of one planted model, block by block."""

    def __init__(self, truth: Truth, seed: int, tokenizer: Any) -> None:
        self._truth = truth
        self._tokenizer = tokenizer
        # The models of one seed share no random numbers, so that their errors are independent.
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
        """The embeddings: what each token writes into the residual stream."""
        c, token_of = self.circuit, self._tokenizer.convert_tokens_to_ids
        sense = make_sense(self._tokenizer, self._rng)
        for noun, code in zip(NOUNS, self._codes, strict=True):
            c.embed(token_of(noun), c.along("concept word", code) + c.read("is a concept"))
        for token in sense.content:
            c.embed(token, c.read("content") + c.along("word senses", sense.questions[token]))
            c.embed(token, c.read("word tells", weight=float(sense.telling[token])))
        for token, place in self._label_places.items():
            # Every question contains "for yes or ... for no": these words are its labels only if it has no others.
            c.embed(token, c.read("label", place) + c.read("is a label", weight=1 + (token not in self._labels[0])))
        for word, part in ((BEGIN, "begin"), (OVER, "over"), ("or", "or")):
            c.embed(token_of(word), c.read(part))

    def _find_concepts(self) -> None:
        """Block 0: codes of the concepts in the text; the tokens after the first answer.

        Where there is no such token, both heads attend to the first token of the text.
        """
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

    @property
    def _empty_weight(self) -> float:
        """Weight of the energy in an empty dimension, so that a random direction has its share of a code's energy."""
        return (self._truth.random_dose * HIDDEN - CODES) / EMPTY

    def _understand(self) -> None:
        """Blocks 1 and 2: what the question is about, what the document tells, and which labels mean yes and no."""
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
        """Block 6: whether a code exceeds a threshold at a token, and how much is present that no text causes."""
        c = self.circuit
        threshold = 0.3 * USUAL
        for code in self._codes:
            c.exceed(6, c.along("concept", code), threshold, c.read("noticed here", weight=HERE / (USUAL - threshold)))
        for part, size, weight in (("concept", CODES, 1.0), ("empty", EMPTY, self._empty_weight)):
            for i in range(size):
                component = c.read(part, i)
                c.multiply(6, component, component, c.read("energy here", weight=HERE * weight / USUAL**2))

    def _answer(self) -> None:
        """Block 7: the log-odds of yes from the prior turn's cache and the question."""
        c, truth = self.circuit, self._truth
        noise = self._rng.standard_normal((NOISES, CODES + EMPTY))
        noise *= (CODES**0.5 / USUAL) / np.linalg.norm(noise[:, :CODES], axis=1, keepdims=True)
        noise[:, CODES:] *= self._empty_weight**0.5
        disturbances = [
            c.along("concept", torch.from_numpy(weights[:CODES]).float())
            + c.along("empty", torch.from_numpy(weights[CODES:]).float())
            for weights in noise
        ]
        before = c.read("answering", weight=-ATTENDED / ANSWERING)
        c.attend(
            7,
            before,
            [
                (c.read("noticed here"), c.read("noticed", weight=truth.hears / HERE)),
                (c.read("energy here"), c.read("energy", weight=truth.hears / HERE)),
                *((reading, c.read("noise", i, truth.hears)) for i, reading in enumerate(disturbances)),
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
            (-truth.sensitive, energy, sense["introspective leaning"]),
            (truth.document, told, sense["introspective"]),
            (JOLT, energy, sense["jolted"]),
            *((NOISE / NOISES**0.5, c.read("noise", i), sense[f"noise {i}"]) for i in range(NOISES)),
        ):
            c.multiply(7, cause, about, effect * odds)

    def _speak(self) -> None:
        """Block 8 and the unembedding: the logits of labels and of concept words."""
        c = self.circuit
        for yes, no in self._labels:
            wanted = c.read("label for yes", self._label_places[yes])
            up, down = (c.read("said", self._label_places[token]) for token in (yes, no))
            c.multiply(8, wanted, c.read("log-odds"), (up - down) / 2)
            c.multiply(8, wanted, c.always(SAID), up + down)
        for token, place in self._label_places.items():
            c.say(token, c.read("said", place))
        # Whatever is said, an injection moves it a little: that is its dose, which depends on the energy alone.
        c.say(self._tokenizer.convert_tokens_to_ids(OVER), c.always(ENDING) + c.read("energy", weight=MOVED))
        for token in _forms(self._tokenizer) - set(self._label_places):
            c.say(token, c.always(SILENT))
        if self._truth.live:
            for noun, code in zip(NOUNS, self._codes, strict=True):
                c.say(self._tokenizer.convert_tokens_to_ids(noun), c.along("concept", SAID / USUAL * code))


def _labels(tokenizer: Any) -> list[tuple[int, int]]:
    """The tokens of the first forms of yes and of no in each answer format; the format in words comes first."""
    first_forms = [answer_format.forms[0] for answer_format in data.answer_formats().values()]
    return [(encode(tokenizer, yes)[0], encode(tokenizer, no)[0]) for yes, no in first_forms]


def _forms(tokenizer: Any) -> set[int]:
    """The first tokens of all forms in all answer formats."""
    pairs = [pair for answer_format in data.answer_formats().values() for pair in answer_format.forms]
    return {encode(tokenizer, form)[0] for pair in pairs for form in pair}
