"""The published study's seven experiments in one run that can be gone on with, and a report whose sections they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from inspect_ai import eval_set

from introbench.page.page import page
from introbench.page.section import read_sections

EXPERIMENTS = {
    "introspection": "experiments 1 to 4, detection, information, control questions and documents",
    "logit_lens": "experiment 5, the logit lens",
    "identification": "experiment 6, what was injected",
    "model_swap": "experiment 7, a fine-tune fills the cache",
    "top_of_mind": "beside them, what the vectors bring to mind",
}
"""What each task repeats of the study (arXiv 2602.20031)."""

SWAP = "model_swap"


def replicate(
    model: str,
    logs: str,
    *,
    with_swap: bool,
    prompts: str | None = None,
    finetune: str | None = None,
    model_args: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> int:
    """Run what is not finished yet of the experiments, and write the report.

    Args:
        model: The model's name in Inspect.
        logs: Folder of the logs; those of finished tasks in it are kept, and interrupted ones are gone on with.
        with_swap: Whether the seventh experiment can be run: there is a fine-tune.
        prompts: Files or folders of published conversations, separated by commas.
        finetune: The fine-tune of the seventh experiment; the embedded model has one by default.
        model_args: The model's arguments, as text.
        limit: How many trials of each task to run; all by default.

    Returns:
        The exit status: 0 if every task has finished.
    """
    of_all: dict[str, Any] = {"prompts": prompts} if prompts else {}
    tasks = [task for task in EXPERIMENTS if task != SWAP]
    runs = {"answers": (tasks, of_all)}
    if with_swap:
        runs[SWAP] = ([SWAP], of_all | ({"finetune": finetune} if finetune else {}))
    else:
        print("introbench: experiment 7 is left out: it needs a fine-tune of the model (--finetune ID)")
    locations: dict[str, str] = {}
    # Each set has a folder of its own, as its tasks have arguments of their own.
    for name, (names, arguments) in runs.items():
        is_finished, finished = eval_set(
            [f"introbench/{task}" for task in names],
            log_dir=str(Path(logs) / name),
            model=model,
            model_args={key: yaml.safe_load(value) for key, value in (model_args or {}).items()},
            task_args=arguments,
            limit=limit,
            max_tasks=1,
            retry_attempts=0,
            log_realtime=False,
            score_display=False,
        )
        if not is_finished:
            print(f"introbench: not finished; the same command goes on where it stopped ({logs})")
            return 1
        locations |= {log.eval.task.rpartition("/")[2]: log.location for log in finished}
    sections = read_sections([locations[task] for task in EXPERIMENTS if task in locations], EXPERIMENTS)
    out = Path(logs) / "report.html"
    out.write_text(page(sections), encoding="utf-8")
    print(out)
    return 0
