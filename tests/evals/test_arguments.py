"""Arguments that several tasks have are described in one wording."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

EVALS = sorted(path for path in (Path(__file__).parents[2] / "evals").glob("*.py") if path.stem != "__init__")

WORDINGS = {
    "concepts": "Words to inject",
    "documents": "What is added to the first turn: none, info, inaccurate, lorem, neutral; ",
    "families": "Question families: introspection, always_no, always_yes, ambiguous, confusing",
    "formats": "Answer formats: yes-no, one-zero, zero-one, b-a, a-b, red-blue, blue-red; ",
    "parts": "Parts of the experiment: ",
    "replicates": "How often every option stands at each label",
    "descriptions": "What vectors are called, in place of their names: 'descriptions={NAME: insecure code}'. ",
    "method": "How a concept's vector is extracted: pca_center, mean_diff or tell_me_about.",
    "layers": "Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the "
    "middle third by default.",
    "strength": "Norm of what is added at each layer, residual:SHARE of the model's median residual norm, or a dose "
    "kl:NATS; the model's known setting ",
    "strengths": "Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or "
    "doses kl:NATS; ",
    "samples": "Texts for each vector and strength.",
    "length": "Most tokens of a text.",
    "temperature": "Of sampling; 0 for the most likely token.",
    "random_vectors": "Random vectors per trial",
    "seed": "Seed of the random vectors",
    "system": 'Content of the system turn; "none" for no system turn.',
    "prompts": "Files or folders of published conversations (arXiv 2602.20031's format) to run in place of our own",
    "questions": "A YAML file of your own questions, by family as in datasets/questions.yaml; a family of the file "
    "takes the place of ours of that name.",
    "vectors": "A folder of vectors' files (GGUF, safetensors, .npy, .pt), named by concept, or one file, to inject in "
    "place of extracted vectors.",
}
"""How the description of each argument begins that several tasks have; what a task adds follows."""


def described(path: Path) -> dict[str, str]:
    """The arguments of a task with their descriptions, from its docstring."""
    (task,) = (n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name == path.stem)
    text = (ast.get_docstring(task) or "").partition("Args:\n")[2]
    found = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: ))*)", text, re.MULTILINE)
    assert [name for name, _ in found] == [argument.arg for argument in task.args.args], "described in their order"
    return {name: " ".join(words.split()) for name, words in found}


def test_arguments_of_several_tasks_have_a_wording() -> None:
    tasks: dict[str, set[str]] = defaultdict(set)
    for path in EVALS:
        for name in described(path):
            tasks[name].add(path.stem)
    assert {name for name, where in tasks.items() if len(where) > 1} == set(WORDINGS)


@pytest.mark.parametrize("path", EVALS, ids=lambda path: path.stem)
def test_a_task_describes_its_arguments_in_that_wording(path: Path) -> None:
    for name, words in described(path).items():
        assert words.startswith(WORDINGS.get(name, "")), f"{name}: {words}"
