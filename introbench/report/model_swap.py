"""Tables of the model swap task: shifts and contrasts of every arm."""

from inspect_ai.log import EvalSample

from introbench.analysis.model_swap import arm_contrasts, arm_shifts, arm_trial, compared_arms
from introbench.analysis.shifts import plan_of
from introbench.report.text import results_table


def tables(scored: list[EvalSample]) -> list[str]:
    trials = [arm_trial(sample.metadata, (sample.scores or {})["arm_shifts"]) for sample in scored]
    arms, plan = compared_arms(scored[0].metadata), plan_of(scored[0].metadata)
    return [
        "Mean shift toward yes under each arm, against the sham; for introspection toward 'noticed'",
        results_table(arm_shifts(trials, arms, plan)),
        "Contrasts: does introspection move more than control questions do, under the same arm?",
        results_table(arm_contrasts(trials, arms, plan)),
        "Units are questions, as there is one fine-tune: intervals are 95% each, studentised bootstrap over\n"
        "questions. finetune: the fine-tune filled the cache. contrast +/-: the base filled it, steered by the vector\n"
        "from base to fine-tune, or by its opposite. random: by rotations of that vector, on average.",
    ]
