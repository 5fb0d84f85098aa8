"""What Inspect finds when introbench is installed: its provider, tasks, solvers and scorers."""

from inspect_ai.model import ModelAPI, modelapi

from introbench.evals.identification import identification
from introbench.evals.introspection import introspection
from introbench.evals.logit_lens import logit_lens
from introbench.evals.model_swap import model_swap
from introbench.evals.top_of_mind import top_of_mind
from introbench.provider import InjectAPI
from introbench.scorers.arm_shifts import arm_shifts
from introbench.scorers.identified import identified
from introbench.scorers.lens_gap import lens_gap
from introbench.scorers.top_of_mind import top_of_mind_texts
from introbench.scorers.yes_shift import yes_shift
from introbench.solvers.continue_steered import continue_steered
from introbench.solvers.inject_prior_turn import inject_prior_turn

__all__ = [
    "arm_shifts",
    "continue_steered",
    "identification",
    "identified",
    "inject",
    "inject_prior_turn",
    "introspection",
    "lens_gap",
    "logit_lens",
    "model_swap",
    "top_of_mind",
    "top_of_mind_texts",
    "yes_shift",
]


@modelapi(name="inject")
def inject() -> type[ModelAPI]:
    """The provider behind model names that begin with `inject/`."""
    return InjectAPI
