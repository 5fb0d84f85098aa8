"""Errors of the loaded model are shown in one line, as they are written."""

import io

import pytest
from rich.console import Console
from rich.traceback import Traceback

from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.provider.resident import one_line_errors


def refused(message: str) -> PrerequisiteError:
    """A refusal, raised some calls deep."""

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        with one_line_errors():
            raise InputError(message)

    with pytest.raises(PrerequisiteError) as refusal:
        deep(5)
    return refusal.value


def printed(what: object) -> str:
    screen = Console(file=io.StringIO(), width=400)
    screen.print(what)
    return screen.file.getvalue().strip()


@pytest.mark.parametrize("message", ["concept '[/bold]': expected a name", "[red]", "x=['a']: expected text"])
def test_brackets_are_printed_as_they_are(message: str) -> None:
    assert printed(refused(message).message) == message


def test_a_refusal_in_a_run_is_printed_without_its_frames() -> None:
    error = refused("file x: damaged; get it again")
    shown = printed(Traceback.from_exception(type(error), error, error.__traceback__))
    assert shown == "PrerequisiteError: file x: damaged; get it again"


@pytest.mark.usefixtures("nothing_loaded")
def test_a_closed_pipe_says_nothing_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Checkpoint) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(resident, "LoadedModel", closed)
    with pytest.raises(BrokenPipeError):
        resident.resident(Checkpoint("anything"))
    assert not resident.RESIDENT


@pytest.mark.usefixtures("nothing_loaded")
def test_a_new_run_lets_go_of_a_failed_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded:
        def __init__(self, has_failed: bool) -> None:
            self.engine = self
            self.has_failed, self.calls = has_failed, list[str]()

        def close(self) -> None:
            self.calls.append("close")

        def begin_run(self) -> None:
            self.calls.append("begin")

    monkeypatch.setattr(resident, "LoadedModel", Loaded)
    well, failed, checkpoint = Loaded(False), Loaded(True), Checkpoint("anything")
    for kept, stays in ((well, True), (failed, False), (InputError("no such server"), True)):
        monkeypatch.setattr(resident, "RESIDENT", {repr(checkpoint): kept})
        resident.begin_run(checkpoint)
        assert bool(resident.RESIDENT) == stays
    assert (well.calls, failed.calls) == (["begin"], ["close"])
