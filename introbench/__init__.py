"""introbench: does a language model notice a concept injected into its KV cache?

The tasks are run by Inspect. For notebooks and scripts there is what `__all__` lists: the instrument without Inspect,
logs as data frames, and columns for Inspect's own data frames.
Each name is imported when it is first used, because Inspect imports this package at every start, of any project.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introbench.frames.columns import sample_columns
    from introbench.frames.results import contrasts, excess, verdict
    from introbench.frames.trials import trials
    from introbench.notebook.steered_model import SteeredModel

__version__ = "0.1.0"

__all__ = ["SteeredModel", "contrasts", "excess", "sample_columns", "trials", "verdict"]

_PLACES = {
    "SteeredModel": "introbench.notebook.steered_model",
    "contrasts": "introbench.frames.results",
    "excess": "introbench.frames.results",
    "sample_columns": "introbench.frames.columns",
    "trials": "introbench.frames.trials",
    "verdict": "introbench.frames.results",
}
"""The module that each name is imported from."""


def __getattr__(name: str) -> Any:
    """Import a name of `__all__` when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (only who uses a name waits)

    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
