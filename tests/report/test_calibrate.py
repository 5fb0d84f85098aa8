"""The calibration in words: which strength is proposed, and why."""

import pytest
from old_trials import old_trials

from introbench.analysis.calibrate import Response
from introbench.report import calibrate

TRIALS = old_trials("calibrate", "dose_response")


def test_the_proposal_is_an_argument_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    responses = [
        Response("kl:0.1", (1.0, 3.0), (0.1, 0.3), live=2, coherent=2, gain=3.0),
        Response("kl:1", (8.0, 8.0), (1.0, 1.0), live=2, coherent=0, gain=5.0),
    ]
    monkeypatch.setattr(calibrate, "responses", lambda _: responses)
    report = calibrate.report(TRIALS)
    first, at_it, rest, _ = report.conclusion
    assert first == "Proposed: -T strength=kl:0.1, a mean norm of 2 at each layer and a mean dose of 0.2 nats."
    assert at_it.startswith(
        "There 2 of 2 vectors are live, and texts stay coherent under 2 of 2; it is the strongest before"
    )
    assert rest == "It rests on 2 concepts at kl:0.1 and kl:1."
    assert "<- proposed" in report.tables[0].splitlines()[2]


def test_where_nothing_is_proposed_this_is_said_first() -> None:
    report = calibrate.report(TRIALS)
    assert report.conclusion[0].startswith("No strength is proposed: none leaves texts coherent and brings a concept")
    assert "proposed" not in report.tables[0]
    none = [(factors, {}) for factors, _ in TRIALS]
    assert calibrate.report(none).conclusion == ["No strength is proposed: the model wrote nothing."]
