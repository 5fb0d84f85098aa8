"""Under which name a log holds the scores of a scorer."""

from dataclasses import dataclass, field
from typing import Any

from introbench.records.scores import recorded_name, score_of, scored_trials


@dataclass
class Given:
    metadata: dict[str, Any] | None = None
    scores: dict[str, Any] | None = field(default_factory=dict)


def test_a_score_is_found_by_its_name_with_or_without_the_package() -> None:
    assert recorded_name("swept") == "introbench/swept"
    assert score_of({"swept": 1}, "swept") == score_of({"introbench/swept": 1}, "swept") == 1
    assert score_of({"other/swept": 1, "unswept": 2, "swept_away": 3}, "swept") is None
    assert score_of(None, "swept") is None


def test_of_several_scores_it_is_the_last() -> None:
    assert score_of({"swept": 1, "introbench/swept": 2}, "swept") == 2
    assert score_of({"introbench/swept": 1, "introbench/swept1": 2, "match": 3}, "swept") == 2


def test_trials_without_the_score_are_left_out() -> None:
    samples = [
        Given({"n": 1}, {"introbench/swept": Given({"shift": 1})}),
        Given({"n": 2}, {"probed": Given({"shift": 2})}),
        Given({"n": 3}, {"swept": Given(None)}),
        Given({"n": 4}, None),
    ]
    assert scored_trials(samples, "swept") == [({"n": 1}, {"shift": 1}), ({"n": 3}, {})]
