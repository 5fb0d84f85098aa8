"""Under which name a log holds the scores of a scorer.

Inspect leaves the package out of the names that it records, and cannot find the scorer again by what remains: it is
recorded under a name that has the package in it, so that `inspect score LOG` works from any folder.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

PACKAGE = "introbench"

_RECORDED = re.compile(rf"(?:{PACKAGE}/)?(.*?)\d*", re.DOTALL)

_Score = TypeVar("_Score")


class Scored(Protocol):
    """A score of a trial, of Inspect's or as tables read it."""

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The exact numbers; None if nothing could be read."""


class Sample(Protocol):
    """A sample of a log, of Inspect's or as tables read it."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The trial's factors."""

    @property
    def scores(self) -> Mapping[str, Scored] | None:
        """The trial's scores, by recorded name; None if it was not scored."""


def recorded_name(scorer: str) -> str:
    """The name under which logs hold a scorer and its scores, by which Inspect finds it."""
    return f"{PACKAGE}/{scorer}"


def own_name(recorded: str) -> str:
    """A scorer's own name, from one under which a log holds its scores."""
    return _RECORDED.fullmatch(recorded)[1]  # type: ignore[index]  # matches any text


def score_of(scores: Mapping[str, _Score] | None, scorer: str) -> _Score | None:
    """The score that a scorer gave a trial; of several the last, since scoring again may add one; None without one.

    Args:
        scores: The trial's scores, by recorded name; logs of release 0.1.0 leave the package out, and Inspect puts a
            number behind the name of a scorer that has given a score before.
        scorer: The scorer's own name.
    """
    given = [score for recorded, score in (scores or {}).items() if own_name(recorded) == scorer]
    return given[-1] if given else None


def scored_trials(samples: Sequence[Sample], scorer: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The metadata of every sample that a scorer has scored, and of its score, empty if nothing could be read."""
    scores = [score_of(sample.scores, scorer) for sample in samples]
    return [(sample.metadata, score.metadata or {}) for sample, score in zip(samples, scores, strict=True) if score]
