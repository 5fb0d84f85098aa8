"""The table of the top-of-mind task: what the model writes while it is steered."""

from collections.abc import Sequence

from tabulate import tabulate

from introbench.analysis.noticed import ScoredTrial
from introbench.analysis.top_of_mind import LEAST_WORDS, MOST_LOGPROB_LOST, MOST_REPETITION, judged_strengths


def tables(trials: Sequence[ScoredTrial]) -> list[str]:
    """The paragraphs of the task's tables."""
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
