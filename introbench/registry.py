"""What Inspect finds when introbench is installed: its provider, tasks, solvers and scorers.

Every run and every listing of Inspect imports this file, of whatever project. So it imports nothing that needs PyTorch:
the provider is imported when a model is made, and a task when it is made.
"""

import sys
from collections.abc import Callable
from importlib import import_module

from inspect_ai import Task
from inspect_ai.model import ModelAPI, modelapi

from introbench.provider.inspect_private import TaskByName, find_scorer_as
from introbench.records.scores import recorded_name
from introbench.scorers.calibrate import dose_response
from introbench.scorers.identification import identified
from introbench.scorers.introspection import yes_shift
from introbench.scorers.location import located
from introbench.scorers.logit_lens import lens_gap
from introbench.scorers.model_swap import arm_shifts
from introbench.scorers.probe import probed
from introbench.scorers.sampled_detection import answers_graded
from introbench.scorers.sweep import swept
from introbench.scorers.top_of_mind import top_of_mind_texts
from introbench.solvers.continue_steered import continue_steered
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.solvers.probe_states import probe_states
from introbench.solvers.sample_answers import sample_answers

__all__ = [
    "answers_graded",
    "arm_shifts",
    "calibrate",
    "continue_steered",
    "dose_response",
    "identification",
    "identified",
    "inject",
    "inject_prior_turn",
    "introspection",
    "lens_gap",
    "located",
    "location",
    "logit_lens",
    "model_swap",
    "probe",
    "probe_states",
    "probed",
    "sample_answers",
    "sampled_detection",
    "sweep",
    "swept",
    "top_of_mind",
    "top_of_mind_texts",
    "yes_shift",
]

for _scorer in (
    answers_graded,
    arm_shifts,
    dose_response,
    identified,
    lens_gap,
    located,
    probed,
    swept,
    top_of_mind_texts,
    yes_shift,
):
    find_scorer_as(recorded_name(_scorer.__name__), _scorer)


def _task(name: str) -> Callable[..., Task]:
    module = f"introbench.evals.{name}"

    def imported() -> Callable[..., Task]:
        return getattr(import_module(module), name)

    return imported() if module in sys.modules else TaskByName(f"introbench/{name}", imported)


calibrate = _task("calibrate")
identification = _task("identification")
introspection = _task("introspection")
location = _task("location")
logit_lens = _task("logit_lens")
model_swap = _task("model_swap")
probe = _task("probe")
sampled_detection = _task("sampled_detection")
sweep = _task("sweep")
top_of_mind = _task("top_of_mind")


@modelapi(name="inject")
def inject() -> type[ModelAPI]:
    """The provider behind model names that begin with `inject/`."""
    from introbench.provider.inject_api import InjectAPI  # noqa: PLC0415 (needs PyTorch)

    return InjectAPI
