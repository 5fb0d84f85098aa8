"""What Inspect finds when introbench is installed: its provider, tasks, solvers and scorers."""

from inspect_ai.model import ModelAPI, modelapi

from introbench.evals.calibrate import calibrate
from introbench.evals.identification import identification
from introbench.evals.introspection import introspection
from introbench.evals.location import location
from introbench.evals.logit_lens import logit_lens
from introbench.evals.model_swap import model_swap
from introbench.evals.probe import probe
from introbench.evals.sweep import sweep
from introbench.evals.top_of_mind import top_of_mind
from introbench.provider.inject_api import InjectAPI
from introbench.provider.inspect_private import find_scorer_as
from introbench.records.scores import recorded_name
from introbench.scorers.calibrate import dose_response
from introbench.scorers.identification import identified
from introbench.scorers.introspection import yes_shift
from introbench.scorers.location import located
from introbench.scorers.logit_lens import lens_gap
from introbench.scorers.model_swap import arm_shifts
from introbench.scorers.probe import probed
from introbench.scorers.sweep import swept
from introbench.scorers.top_of_mind import top_of_mind_texts
from introbench.solvers.continue_steered import continue_steered
from introbench.solvers.inject_prior_turn import inject_prior_turn
from introbench.solvers.probe_states import probe_states

__all__ = [
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
    "sweep",
    "swept",
    "top_of_mind",
    "top_of_mind_texts",
    "yes_shift",
]

for _scorer in (
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


@modelapi(name="inject")
def inject() -> type[ModelAPI]:
    """The provider behind model names that begin with `inject/`."""
    return InjectAPI
