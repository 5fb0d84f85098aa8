"""Scored trials of a model swap whose answers were read after every block, with numbers that are written by hand."""

from introbench.analysis.model_swap import exact_numbers
from introbench.analysis.noticed import ScoredTrial
from introbench.records.arm import CONTRAST, FINETUNE, RANDOM, SHAM, Arm
from introbench.records.factors import Plan, QuestionFactors, TrialFactors

ARMS = {
    "sham": Arm(SHAM, 0),
    "finetune": Arm(FINETUNE, 1),
    "contrast +": Arm(CONTRAST, 2, 1),
    "finetune, contrast -": Arm(FINETUNE, 3, -1),
    "random 1": Arm(RANDOM, 4, 1),
}
GAPS = {
    "finetune": [0.0, 3.0, 1.0],
    "contrast +": [0.0, 0.5, 0.75],
    "finetune, contrast -": [0.0, 0.5, 0.5],
    "random": [0.0, 0.25, 0.125],
}
"""Mean gap of each arm after every block, under every document."""


def lens_trials() -> list[ScoredTrial]:
    """Three introspection questions and three control questions under two documents."""
    plan = Plan(["none", "info"], ["introspection", "always_no"])
    trials = []
    for document in plan.documents:
        for family in plan.families:
            for number in (-1, 0, 1):
                question = QuestionFactors(document, family, f"{family} {number}", "yes-no", "words")
                is_read = family == "introspection"
                answers = {"forms": {"yes": ["yes"], "no": ["no"]}, "lens": is_read}
                gaps = {arm: [value + 0.125 * number * (value > 0) for value in GAPS[arm]] for arm in GAPS}
                exact = exact_numbers(question, {arm: values[-1] for arm, values in gaps.items()})
                p_yes = {"sham": [0.1, 0.2, 0.3], "finetune": [0.1, 0.4, 0.3]}
                p_yes |= {arm: [0.1, 0.2, 0.25] for arm in GAPS if arm not in p_yes}
                exact |= {"lens": {"gaps": gaps, "p_yes": p_yes}} if is_read else {}
                exact |= {"p_yes": dict.fromkeys(ARMS, 0.25), "p_no": dict.fromkeys(ARMS, 0.5)}
                trials.append((TrialFactors(question, "", ARMS, plan, answers=answers).to_json(), exact))
    return trials
