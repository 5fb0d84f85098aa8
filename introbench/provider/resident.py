"""The one loaded model of this process, the queue in front of it, and errors in one line."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
import anyio.from_thread
from anyio.lowlevel import RunVar
from rich.markup import escape

from introbench.errors import InputError, first_line
from introbench.models.checkpoint import Checkpoint
from introbench.progress import cancel_by, show_on
from introbench.provider.display import InspectScreen
from introbench.provider.inspect_private import PrerequisiteError
from introbench.provider.loaded_model import LoadedModel
from introbench.provider.model_queue import ModelQueue


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show an `InputError` as Inspect shows a missing prerequisite: one line, no traceback.

    Inspect prints it through rich, which would take what stands in brackets for colours, and fail at unknown ones.
    Where a run has begun, Inspect prints the traceback as well, through rich again, which leaves out all frames up to
    one that guards itself.
    """
    _rich_traceback_guard = True
    try:
        yield
    except InputError as error:
        raise PrerequisiteError(escape(str(error))) from None


def end_if_cancelled() -> None:
    """A slow step is given up once its caller was cancelled, rather than run to its end."""
    with suppress(RuntimeError):  # outside of a worker thread there is nobody to cancel
        anyio.from_thread.check_cancelled()


show_on(InspectScreen())
cancel_by(end_if_cancelled)

RESIDENT: dict[str, LoadedModel | InputError] = {}

_ADVICE = {
    "transformers": "weights that fit this machine; see -M dtype, device_map and quantization_config",
    "vllm": "a first block and an unembedding that fit this machine in float32; see docs/scale.md",
}
"""What to do about a model that cannot be loaded, by engine."""

_current_queue: RunVar[ModelQueue] = RunVar("introbench_queue")


def resident(checkpoint: Checkpoint) -> LoadedModel:
    """The loaded model; loading another one lets go of the last.

    Raises:
        InputError: It cannot be loaded; later calls say so again without another attempt.
    """
    key = repr(checkpoint)
    if key not in RESIDENT:
        for loaded in RESIDENT.values():
            if isinstance(loaded, LoadedModel):
                loaded.engine.close()
        RESIDENT.clear()
        try:
            RESIDENT[key] = LoadedModel(checkpoint)
        except BrokenPipeError:  # nobody reads what is printed any more, which says nothing of the model
            raise
        except Exception as error:
            message = f"model inject/{checkpoint.name}: cannot be loaded ({first_line(error)}); expected "
            RESIDENT[key] = InputError(
                str(error) if isinstance(error, InputError) else message + _ADVICE[checkpoint.engine]
            )
    found = RESIDENT[key]
    if isinstance(found, InputError):
        raise found
    return found


def begin_run(checkpoint: Checkpoint) -> None:
    """Begin an evaluation: a model whose engine has failed is let go of, and what was read of this one is forgotten.

    Args:
        checkpoint: The model under evaluation.
    """
    for key, loaded in list(RESIDENT.items()):
        if isinstance(loaded, LoadedModel) and loaded.engine.has_failed:
            loaded.engine.close()
            del RESIDENT[key]
    if kept := loaded_already(checkpoint):
        kept.begin_run()


def loaded_already(checkpoint: Checkpoint) -> LoadedModel | None:
    """The loaded model, if it is this one."""
    loaded = RESIDENT.get(repr(checkpoint))
    return loaded if isinstance(loaded, LoadedModel) else None


def current_queue() -> ModelQueue:
    """This event loop's queue."""
    try:
        return _current_queue.get()
    except LookupError:
        _current_queue.set(ModelQueue())
        return _current_queue.get()
