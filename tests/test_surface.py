"""What `import introbench` offers: names, signatures and descriptions, and how little the import loads."""

import inspect
import subprocess
import sys

import pytest

import introbench

PARAMETERS = {
    "SteeredModel": "model tokenizer options",
    "contrasts": "logs",
    "excess": "logs",
    "sample_columns": "",
    "trials": "logs each",
    "verdict": "logs",
}
METHODS = {
    "ask": "chat question vectors strength layers random_vectors seed answer_format steering",
    "prior_turn": "document text system",
    "vector": "concept method",
    "vector_from": "source name",
    "hidden_size": "",
    "n_layers": "",
}


def test_the_surface_has_these_names() -> None:
    assert introbench.__all__ == [*PARAMETERS]
    assert set(introbench.__all__) <= set(dir(introbench))
    with pytest.raises(AttributeError, match="has no attribute 'steered'"):
        _ = introbench.steered


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_name_has_its_parameters_and_is_described(name: str) -> None:
    offered = getattr(introbench, name)
    assert [*inspect.signature(offered).parameters] == PARAMETERS[name].split()
    described = inspect.getdoc(offered) or ""
    assert described
    assert all(f"{parameter}:" in described for parameter in PARAMETERS[name].split())


def test_the_model_has_these_methods() -> None:
    own = {name: value for name, value in vars(introbench.SteeredModel).items() if not name.startswith("_")}
    assert own.keys() == METHODS.keys()
    for name, parameters in METHODS.items():
        described = inspect.getdoc(own[name]) or ""
        assert described
        if parameters:
            assert [*inspect.signature(own[name]).parameters][1:] == parameters.split()
            assert all(f"{parameter}:" in described for parameter in parameters.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import introbench; dir(introbench)", ["torch", "transformers", "numpy", "pandas", "inspect_ai"]),
        ("import introbench; introbench.SteeredModel", ["pandas", "inspect_ai"]),
        ("import introbench; introbench.trials; introbench.verdict", ["torch", "transformers", "pandas", "inspect_ai"]),
    ],
)
def test_a_name_loads_what_it_needs_alone(code: str, absent: list[str]) -> None:
    asked = f"{code}\nimport sys\nassert not {set(absent)!r} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
