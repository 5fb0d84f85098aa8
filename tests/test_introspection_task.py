"""The introspection task through Inspect: what a user runs, on a tiny model."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from inspect_ai import eval, eval_retry, score
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import get_model
from scipy.special import logsumexp

from introbench import cli, provider
from introbench.checkpoint import Checkpoint
from introbench.contrasts import contrasts
from introbench.engine import Want
from introbench.engine.architecture import find_parts
from introbench.engine.hooks import steering
from introbench.engine.readout import summarise
from introbench.evals.introspection import introspection
from introbench.injection import VectorRecipe
from introbench.scorers.yes_shift import plan_of, shift_of_trial, yes_shift

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {
    "concepts": ["cats", "bread", "love"],
    "documents": ["none", "info"],
    "families": ["introspection", "always_yes"],
    "layers": "1:3",
    "strength": 3,
}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return run(tiny_folder, tmp_path_factory.mktemp("logs"))


def run(folder: Path, logs: Path, model_args: dict[str, Any] | None = None, **arguments: Any) -> EvalLog:
    options = {key: arguments.pop(key) for key in ("limit", "sample_id", "sample_shuffle") if key in arguments}
    task_args = {**SMALL, **arguments}
    (log,) = eval(
        "introbench/introspection",
        model=f"inject/{folder}",
        model_args=model_args or {},
        task_args=task_args,
        log_dir=str(logs),
        display="none",
        **options,
    )
    return log


def values(log: EvalLog) -> dict[str, dict[str, Any]]:
    """Everything measured, by sample."""
    assert log.samples
    return {str(s.id): {"value": s.scores["yes_shift"].value, **s.scores["yes_shift"].metadata} for s in log.samples}


def metrics(log: EvalLog) -> dict[str, float]:
    assert log.results
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def test_every_trial_is_run_and_scored(log: EvalLog) -> None:
    assert log.status == "success"
    assert log.eval.task == "introbench/introspection"
    assert len(log.samples or []) == 2 * 3 * (6 * 2 + 8)
    measured = metrics(log)
    assert measured["concepts"] == 0, "without always_no there is nothing to head the list with"
    assert measured["not finite"] == 0
    assert math.isfinite(measured["introspection - always_yes | info"])
    assert measured["introspection - always_yes | info | pairs"] == 3
    assert measured["info - none | pairs"] == 36
    assert measured["concept - random vector | none | low"] < measured["concept - random vector | none | high"]


def test_the_log_says_what_ran(log: EvalLog) -> None:
    facts = log.eval.metadata or {}
    assert facts["layers"] == "1:3 of 4"
    assert facts["model_revision"].startswith("local-")
    assert set(facts["versions"]) >= {"torch", "transformers", "introbench"}
    sample = (log.samples or [])[0]
    output = sample.output.metadata or {}
    assert output["model"]["dtype"] == "float32"
    assert output["model"]["device"] == "cpu"
    arms = {arm["arm"]: arm for arm in output["arms"]}
    assert list(arms) == ["sham", "concept", "random 1", "random 2", "random 3"]
    assert len({arm["sha256"] for arm in arms.values() if arm["sha256"]}) == 4
    assert len(sample.output.choices) == 5
    explanation = sample.scores["yes_shift"].explanation
    assert "% -> " in explanation
    assert "| random 3 |" in explanation
    assert any(event.event == "info" and event.source == "arms" for event in sample.events)


def test_scores_equal_a_plain_computation(log: EvalLog, tiny_folder: Path) -> None:
    """One unpadded, uncached forward pass per arm, steered on the prior turn, read off the model's own logits."""
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    layers = find_parts(model).layers
    runtime = next(iter(provider._resident.values()))
    tokenizer = runtime.tokenizer
    for sample in [s for s in log.samples or [] if "untouched" in str(s.id) or "detect.one-zero" in str(s.id)][:8]:
        messages = [{"role": m.role, "content": m.text} for m in sample.messages[:5]]
        text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
        prior = tokenizer.apply_chat_template(messages[:3], tokenize=False)
        tokens, steered = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, prior))
        yes, no = (
            [
                tokenizer(form, add_special_tokens=False)["input_ids"][-1]
                for form in (sample.output.metadata or {})["forms"][side]
            ]
            for side in ("yes", "no")
        )
        log_odds = []
        for strength in (0.0, 3.0):
            directions = runtime.library.directions(VectorRecipe("pca_center", sample.metadata["concept"]))
            added = {layer: strength * directions[layer : layer + 1] for layer in (1, 2)}
            with torch.inference_mode(), steering(layers, added, slice(0, len(steered))):
                logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1].double().numpy()
            log_odds.append(logsumexp(logits[yes]) - logsumexp(logits[no]))
        sign = -1 if sample.metadata["reversed"] else 1
        exact = sample.scores["yes_shift"].metadata["shift"]
        assert exact == pytest.approx(sign * (log_odds[1] - log_odds[0]), abs=1e-4), sample.id
        assert abs(exact) > 1e-3


def test_the_same_run_twice_gives_the_same_values(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    provider._resident.clear()
    again = run(tiny_folder, tmp_path)
    assert values(again) == values(log)
    assert repr(metrics(again)) == repr(metrics(log)), "NaN included"


def test_a_trial_does_not_depend_on_its_neighbours(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    provider._resident.clear()
    few = run(tiny_folder, tmp_path, sample_id=["info.detect.yes-no.bread", "none.untouched.one-zero.love"])
    for name, measured in values(few).items():
        assert measured == values(log)[name], "bit for bit, since a bank is always run whole"
    provider._resident.clear()
    shuffled = run(tiny_folder, tmp_path, sample_shuffle=5, limit=6)
    for name, measured in values(shuffled).items():
        assert measured == values(log)[name]


def test_a_trial_with_other_arms_beside_it_agrees(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    alone = run(tiny_folder, tmp_path, concepts=["cats"], documents=["info"], random_vectors=0, families=["always_yes"])
    for name, measured in values(alone).items():
        assert measured["shift"] == pytest.approx(values(log)[name]["shift"], abs=1e-4)
        assert measured["log_odds"]["sham"] == pytest.approx(values(log)[name]["log_odds"]["sham"], abs=1e-4)


def test_strength_zero_moves_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    still = run(tiny_folder, tmp_path, strength=0, limit=12)
    for measured in values(still).values():  # two rows of one batch may be rounded differently, in the last bit
        assert [measured["shift"], *measured["random"].values()] == pytest.approx([0, 0, 0, 0], abs=1e-5)


def test_limit_leaves_contrasts_without_pairs_and_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    part = run(tiny_folder, tmp_path, documents=["info", "none"], limit=3)
    measured = metrics(part)
    for unmatched in ("noticed", "introspection - always_yes | info", "info - none", "always_yes | none"):
        assert math.isnan(measured[unmatched]), unmatched
    assert measured["info - none | pairs"] == 0
    assert measured["info - none | missing"] == 3
    table = cli.log_table(part.location)
    assert "3 of 3 trials scored" in table
    assert len([line for line in table.splitlines() if "no pairs" in line]) == 3 + 2 + 1 + 1


def test_numbers_that_are_not_finite_are_shown_and_counted(tiny_folder: Path, tmp_path: Path) -> None:
    broken = run(tiny_folder, tmp_path, strength=1e300, limit=12)
    assert broken.status == "success"
    scores = [sample.scores["yes_shift"] for sample in broken.samples or []]
    assert all(math.isnan(s.value["shift"]) for s in scores)
    assert "not finite under: concept (" in scores[0].explanation
    assert metrics(broken)["not finite"] == 12
    assert math.isnan(metrics(broken)["introspection | none"])
    assert "no pairs" in cli.log_table(broken.location)


def test_relative_strength_is_a_share_of_the_residual_norm(tiny_folder: Path, tmp_path: Path) -> None:
    relative = run(tiny_folder, tmp_path, strength="residual:0.1", limit=2)
    runtime = next(iter(provider._resident.values()))
    (arm,) = [a for a in (relative.samples or [])[0].output.metadata["arms"] if a["arm"] == "concept"]
    assert arm["strength"] == pytest.approx(0.1 * runtime.library.residual_norm((1, 3)))


def test_rescoring_needs_no_model_and_changes_nothing(log: EvalLog) -> None:
    provider._resident.clear()
    again = score(read_eval_log(log.location), yes_shift(), action="overwrite", display="none")
    assert provider._resident == {}
    assert values(again) == values(log)
    assert repr(metrics(again)) == repr(metrics(log)), "NaN included"


def test_retry_completes_an_interrupted_run(tiny_folder: Path, tmp_path: Path) -> None:
    whole = run(tiny_folder, tmp_path, limit=8)
    interrupted = read_eval_log(whole.location)
    interrupted.status, interrupted.samples = "cancelled", (interrupted.samples or [])[:3]
    (retried,) = eval_retry(interrupted, log_dir=str(tmp_path), display="none")
    assert retried.status == "success"
    assert values(retried) == values(whole)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"concepts": "cat"}, "concept 'cat': unknown, and nearly 'cats'"),
        ({"documents": "lorm"}, "documents='lorm': expected one of"),
        ({"families": "control"}, "families='control'"),
        ({"formats": "one-two"}, "formats='one-two'"),
        ({"method": "pca"}, "method='pca'"),
        ({"layers": "3:9"}, "layers=3:9: expected START:STOP with 0 <= START < STOP <= 4"),
        ({"layers": "2:2"}, "layers=2:2"),
        ({"strength": math.nan}, "strength=nan"),
        ({"strength": math.inf}, "strength=inf"),
        ({"random_vectors": -1}, "random_vectors=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"documents": ["none", "none"]}, "each once"),
        ({"families": "always_no", "formats": "one-zero"}, "no question is asked in these"),
    ],
)
def test_bad_arguments_are_refused_before_weights_load(
    tiny_folder: Path, arguments: dict[str, Any], complaint: str
) -> None:
    provider._resident.clear()
    get_model(f"inject/{tiny_folder}")
    with pytest.raises(PrerequisiteError) as refusal:
        eval(
            introspection,
            model=f"inject/{tiny_folder}",
            task_args={**SMALL, **arguments},
            display="none",
            log_dir="unused",
        )
    assert complaint in str(refusal.value.message)
    assert "\n" not in str(refusal.value.message)
    assert provider._resident == {}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in"),
        (lambda folder: [path.unlink() for path in folder.glob("token*")], "its tokenizer cannot be loaded"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "mamba"}'), "mamba: keeps a recurrent"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "clip"}'), "cannot be set up|expected"),
    ],
)
def test_unusable_folders_are_refused_before_weights_load(
    tiny_folder: Path, tmp_path: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    spoil(folder)
    provider._resident.clear()
    with pytest.raises(PrerequisiteError) as refusal:
        eval(introspection, model=f"inject/{folder}", task_args=SMALL, display="none", log_dir=str(tmp_path))
    assert re.search(complaint, str(refusal.value.message)), refusal.value.message
    assert "\n" not in str(refusal.value.message)
    assert provider._resident == {}


def test_unknown_attention_is_refused_before_weights_load(tiny_folder: Path, tmp_path: Path) -> None:
    model_args = {"attn_implementation": "bogus"}
    with pytest.raises(PrerequisiteError) as refusal:
        run(tiny_folder, tmp_path, model_args)
    assert "cannot be set up" in str(refusal.value.message)


def test_broken_weights_are_one_line_and_one_attempt(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    attempts: list[str] = []
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda self: attempts.append(self.name) or load(self))
    failed = run(folder, tmp_path, limit=4)
    assert failed.status == "error"
    assert failed.error
    assert "cannot be loaded" in failed.error.message
    assert len(attempts) == 1


def test_options_that_are_mappings_work(tiny_folder: Path, tmp_path: Path) -> None:
    assert run(tiny_folder, tmp_path, {"device_map": {"": "cpu"}}, limit=1).status == "success"


def test_several_models_are_loaded_once_each(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    attempts: list[str] = []
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", lambda self: attempts.append(self.name) or load(self))
    logs = eval(
        introspection,
        model=[f"inject/{tiny_folder}", f"inject/{other}"],
        task_args=SMALL | {"documents": "none"},
        log_dir=str(tmp_path),
        display="none",
        max_tasks=2,
    )
    assert [log.status for log in logs] == ["success", "success"]
    assert len(attempts) <= 3
    assert values(logs[0]) == values(logs[1])


def test_other_providers_are_refused() -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        eval(introspection, model="mockllm/model", display="none", log_dir="unused")
    assert "model mockllm/model: cannot be injected into; expected inject/NAME" in str(refusal.value.message)


def test_unknown_model_arguments_are_refused() -> None:
    with pytest.raises(PrerequisiteError) as refusal:
        get_model("inject/smollm2", dtyp="float32")
    assert "-M dtyp: unknown; expected one of dtype, device" in str(refusal.value.message)


def test_ordinary_generation_is_refused_in_one_line(tiny_folder: Path) -> None:
    import asyncio

    with pytest.raises(Exception, match="inject/ models answer injection trials only"):
        asyncio.run(get_model(f"inject/{tiny_folder}", memoize=False).generate("Hello"))


def test_the_table_recomputes_what_the_log_says(log: EvalLog) -> None:
    trials = [shift_of_trial(s.metadata, s.scores["yes_shift"]) for s in log.samples or []]
    for result in contrasts(trials, plan_of((log.samples or [])[0].metadata)):
        assert metrics(log)[result.key] == result.interval.estimate
        assert metrics(log)[f"{result.key} | low"] == result.interval.low


def command(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "INSPECT_DISPLAY": "plain", **environment},
    )


def test_commands_from_the_checkout_and_from_anywhere(tiny_folder: Path, tmp_path: Path) -> None:
    listed = command("inspect_ai", "list", "tasks", "--json", folder=ROOT)
    assert "evals/introspection.py" in [task["file"] for task in json.loads(listed.stdout)], listed.stderr
    options = ["--model", f"inject/{tiny_folder}", "--limit", "2", "--log-dir", str(tmp_path), "-T", "layers=1:3"]
    by_file = command("inspect_ai", "eval", "evals/introspection.py", *options, folder=ROOT)
    assert by_file.returncode == 0, by_file.stdout + by_file.stderr
    by_name = command(
        "inspect_ai", "eval", "introbench/introspection", *options, "--log-format", "json", folder=tmp_path
    )
    assert by_name.returncode == 0, by_name.stdout + by_name.stderr
    first, second = (read_eval_log(str(next(tmp_path.glob(f"*.{kind}")))) for kind in ("eval", "json"))
    assert values(first) == values(second)
    assert (first.eval.metadata or {})["layers"] == "1:3 of 4"
    table = command("introbench.cli", "table", str(tmp_path), folder=tmp_path)
    assert "2 of 2 trials scored" in table.stdout, table.stderr


def test_the_table_command_refuses_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", str(tmp_path)]) == 2
    assert "no introspection log there" in capsys.readouterr().err


def test_an_answer_of_probability_zero_is_not_scored() -> None:
    certain = torch.full((1, 49152), -torch.inf)
    certain[0, 7] = 0.0
    assert summarise(certain, Want((7, 8), top=3)).finite == [False]
    assert summarise(certain, Want((7,), top=3)).finite == [True]
    certain[0, 3] = torch.nan
    assert summarise(certain, Want((7,), top=3)).finite == [False]
