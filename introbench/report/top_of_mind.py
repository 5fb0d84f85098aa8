"""The table of the top-of-mind task: what the model writes while it is steered."""

import textwrap
from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.top_of_mind import (
    LEAST_WORDS,
    MOST_LOGPROB_LOST,
    MOST_REPETITION,
    beside_opposites,
    judged_strengths,
    reference_effects,
)
from introbench.records.factors import ContinuationFactors
from introbench.report.report import Report, counted, plain_table


def report(trials: Sequence[ScoredTrial]) -> Report:
    """What the task says about its trials."""
    tables = [_by_strength(trials), *_beside_opposites(trials, everywhere=False)]
    return Report(_conclusion(trials), tables, [*_by_concept(trials), *_beside_opposites(trials, everywhere=True)])


def _conclusion(trials: Sequence[ScoredTrial]) -> list[str]:
    """How many vectors are live at the reference strength, by how much, and what would change that."""
    effects = [effect for _, effect in reference_effects(trials)]
    if not effects:
        return ["No vector was judged: the model wrote nothing."]
    factors = next(ContinuationFactors.from_json(metadata) for metadata, exact in trials if exact)
    live, coherent = sum(effect.live for effect in effects), sum(effect.coherent for effect in effects)
    random = len(factors.strengths[factors.reference]) - 1
    chance = (
        f"a vector that does no more than {counted(random, 'random vector')} would be live once in {random + 1} times"
        if random
        else "no random vector was run, so that any push of this norm may do the same"
    )
    return [
        f"At strength {factors.reference}, {live} of {counted(len(effects), 'vector')} "
        f"{'brings its concept' if live == 1 else 'bring their concepts'} to mind while the model is steered (live).",
        f"The concept's word is {np.mean([effect.gain for effect in effects]):+.2f} nats likelier than under the sham, "
        f"on average; under random vectors at most {np.mean([effect.random_gain for effect in effects]):+.2f}.",
        f"Texts stay coherent under {coherent} of {len(effects)}.",
        f"It rests on {counted(len(effects), 'concept')}; {chance}.",
        "What would change it: other layers, or a strength that brings more to mind and leaves texts coherent "
        "(evals/calibrate.py looks for it).",
    ]


def _by_strength(trials: Sequence[ScoredTrial]) -> str:
    """Counts and means over concepts at every strength."""
    judged = [judged_strengths(exact) for _, exact in trials]
    rows = []
    for strength in dict.fromkeys(name for by_strength in judged for name in by_strength):
        effects = [by_strength[strength] for by_strength in judged if strength in by_strength]
        rows.append(
            [
                strength,
                f"{sum(effect.live for effect in effects)} of {len(effects)}",
                f"{sum(effect.coherent for effect in effects)} of {len(effects)}",
                f"{np.mean([effect.gain for effect in effects]):+.2f}",
                f"{np.mean([effect.random_gain for effect in effects]):+.2f}",
                f"{np.mean([effect.texts.share for effect in effects]):.1%}",
                f"{np.mean([effect.texts.repetition for effect in effects]):.1%}",
                f"{np.mean([effect.texts.logprob for effect in effects]):+.2f}",
            ]
        )
    headers = ["strength", "live", "coherent", "gain (nats)", "of random", "concept words", "repeats", "log-prob"]
    return plain_table(headers, rows)


def _by_concept(trials: Sequence[ScoredTrial]) -> list[str]:
    rows = []
    for factors, exact in trials:
        for strength, effect in judged_strengths(exact).items():
            rows.append(
                [
                    factors["concept"],
                    strength,
                    "live" if effect.live else "",
                    "coherent" if effect.coherent else "",
                    f"{effect.gain:+.2f}",
                    f"{effect.random_gain:+.2f}",
                    f"{effect.texts.share:.1%}",
                    f"{effect.random_texts.share:.1%}",
                    f"{effect.texts.repetition:.1%}",
                    f"{effect.texts.words:.0f}",
                    f"{effect.texts.logprob:+.2f}",
                    f"{effect.random_texts.logprob:+.2f}",
                ]
            )
    headers = [
        "concept",
        "strength",
        "live",
        "coherent",
        "gain of the word",
        "random, at most",
        "concept words",
        "random",
        "repetition",
        "words",
        "log-prob per token",
        "random",
    ]
    return [
        "What the model goes on to write while it is steered",
        tabulate(rows, headers, tablefmt="simple", disable_numparse=True),
        "Gain: how much likelier the concept's word is where the model goes on than under the sham, in nats. live: it\n"
        "is above 0 and above that of every random vector. Concept words, repetition and words: of the texts.\n"
        f"coherent: at most {MOST_LOGPROB_LOST:g} nats per token less likely to the model as it is than the sham's\n"
        f"texts, at most {MOST_REPETITION:.0%} more trigrams repeated, at least {LEAST_WORDS:.0%} of the sham's words.",
    ]


def _beside_opposites(trials: Sequence[ScoredTrial], *, everywhere: bool) -> list[str]:
    """What is written under vectors that lead to a fine-tune, under their opposites, and under nothing.

    Args:
        trials: For each concept its sample's metadata and its score's.
        everywhere: Whether to show the whole texts at all strengths, or their beginnings at the reference strength.
    """
    rows = []
    for metadata, exact in trials:
        for written in beside_opposites(exact):
            if everywhere or written.strength == metadata["reference"]:
                text = " ".join(written.text.split())
                rows.append(
                    [
                        metadata["concept"],
                        written.strength,
                        written.under,
                        f"{written.gain:+.2f}",
                        f"{written.texts.logprob:+.2f}",
                        text if everywhere else textwrap.shorten(text, 50, placeholder="..."),
                    ]
                )
    headers = ["vector", "strength", "under", "gain (nats)", "log-prob", "first text"]
    align = ("left", "left", "left", "right", "right", "left")
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=align if rows else None)
    title = "Texts under a vector that leads to a fine-tune (+), under its opposite (-), and under the sham"
    return [title, table] if rows else []
