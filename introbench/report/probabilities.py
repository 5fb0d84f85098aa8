"""Tables of probabilities as the published study shows them: `0.150% -> 0.522% (+0.372%)`."""

from collections.abc import Sequence

from introbench.analysis.noticed import SIDED
from introbench.analysis.probabilities import MeanProbabilities
from introbench.report.markdown import published_form
from introbench.report.report import plain_table

FIRST = ("introspection", "always_no", "always_yes")
"""Families of the first screen: what was asked, and the control questions whose answers are known."""


def first_table(means: Sequence[MeanProbabilities]) -> list[str]:
    """The table of the first screen, under the reference document alone; none without trials.

    Args:
        means: The reference document's first.
    """
    here = [mean for mean in means if mean.document == means[0].document]
    shown = [mean for mean in here if mean.family in FIRST] or here[:4]
    return [_table(shown, f"document {means[0].document}", with_documents=False)] if shown else []


def full_table(means: Sequence[MeanProbabilities]) -> list[str]:
    """The table of all documents and families; none without trials."""
    if not means:
        return []
    return [
        "Probabilities without and with the injection, mean over trials; plain: a yes says that something was noticed\n"
        "(or stands out), reversed: a no does",
        _table(means, "questions", with_documents=True),
    ]


def _table(means: Sequence[MeanProbabilities], title: str, *, with_documents: bool) -> str:
    rows = [
        [
            *([mean.document] if with_documents else []),
            name_of(mean),
            f"yes {published_form(*mean.yes)}",
            f"no {published_form(*mean.no)}",
            *([mean.trials] if with_documents else []),
        ]
        for mean in means
    ]
    injected = "without -> with the injection"
    headers = ["document", title, injected, injected, "trials"] if with_documents else [title, injected, injected]
    return plain_table(headers, rows)


def name_of(mean: MeanProbabilities) -> str:
    """A kind of question: its family, and its side if it has one."""
    return f"{mean.family}, {'reversed' if mean.is_reversed else 'plain'}" if mean.family in SIDED else mean.family
