"""The sampled detection task through Inspect, against transformers' own `generate` under hooks of the test's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate, numbers
from inspect_ai import eval, eval_retry
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from introbench.analysis.grading import grade_by_rules
from introbench.analysis.sampled_detection import grade_record
from introbench.models.checkpoint import Checkpoint
from introbench.page.recompute import recompute
from introbench.prompts import data
from introbench.prompts.chat import tokenize_open_chat
from introbench.provider import resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.records.sampled_factors import SampledFactors
from introbench.report import log as log_report
from introbench.scorers.sampled_detection import answers_graded
from introbench.steering.injection import VectorRecipe

SMALL: dict[str, Any] = {
    "concepts": ["owls", "tents", "maps"],
    "layer_fractions": [0.25, 0.5],
    "strengths": [1, 4],
    "length": 8,
    "samples": 2,
}
SCORE = "introbench/answers_graded"


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("sampled_detection", tiny_folder, tmp_path_factory.mktemp("logs"), temperature=0, **SMALL)


def texts_of(log: EvalLog) -> dict[str, dict[str, list[str]]]:
    """The texts of a log by sample and arm."""
    return {
        str(sample.id): {record["arm"]: record["texts"] for record in (sample.output.metadata or {})["arms"]}
        for sample in log.samples or []
    }


def test_greedy_answers_equal_generate_under_a_hook(log: EvalLog, tiny_folder: Path) -> None:
    assert log.status == "success"
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    seen = set()
    for sample in log.samples or []:
        factors = SampledFactors.from_json(sample.metadata)
        messages = [{"role": message.role, "content": message.text} for message in sample.messages[:3]]
        chat = tokenize_open_chat(runtime.tokenizer, messages, 2)
        own = runtime.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert list(chat.tokens) == own
        begin, end = (0, chat.prior) if factors.protocol == "prior" else (chat.prior - 1, 10**9)
        vectors = runtime.library.directions(VectorRecipe("tell_me_about", factors.concept))
        for arm, texts in texts_of(log)[str(sample.id)].items():
            place = factors.arms[arm].place
            if factors.arms[arm].kind == "random":
                continue
            cell = factors.cells[place] if place else next(iter(factors.cells.values()))
            vector = (float(cell.strength) if place else 0.0) * vectors[cell.layer]
            count = 0

            def add(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
                nonlocal count
                positions = torch.arange(count, count + output.shape[1])
                count += output.shape[1]
                on = (positions >= begin) & (positions < end)  # noqa: B023 (called within the loop)
                return output + on[None, :, None] * vector  # noqa: B023

            handle = model.model.layers[cell.layer].register_forward_hook(add)
            ids = model.generate(torch.tensor([own]), max_new_tokens=8, do_sample=False, pad_token_id=0)[0, len(own) :]
            handle.remove()
            ended = [token for token in ids.tolist() if token != runtime.tokenizer.eos_token_id]
            assert texts == [runtime.tokenizer.decode(ended)] * 2
            seen.add(texts[0])
    assert len(seen) > 6


def test_vectors_are_differences_from_the_baseline_words(log: EvalLog, tiny_folder: Path) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))

    def state(word: str) -> torch.Tensor:
        asked = [{"role": "user", "content": f"Tell me about {word}"}]
        ids = runtime.tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        seen: list[torch.Tensor] = []
        hook = model.model.layers[2].register_forward_hook(lambda _m, _a, output: seen.append(output[0, -1]))
        with torch.inference_mode():
            model(torch.tensor([ids]))
        hook.remove()
        return seen[0]

    expected = state("owls") - torch.stack([state(word) for word in data.baseline_words()]).mean(dim=0)
    given = runtime.library.directions(VectorRecipe("tell_me_about", "owls"))[2]
    assert torch.allclose(given, expected, atol=1e-4)
    norms = (log.samples or [])[0].scores[SCORE].metadata["norms"]
    assert norms["sham"] == 0
    assert norms["concept at layer 2 x4"] == pytest.approx(4 * norms["concept at layer 2 x1"], rel=1e-4)
    assert norms["random 1 at layer 2 x4"] == pytest.approx(norms["concept at layer 2 x4"], rel=1e-4)
    sample = next(sample for sample in log.samples or [] if sample.id == "prior.owls")
    assert sample.scores[SCORE].metadata["norms"]["concept at layer 2 x1"] == pytest.approx(
        float(expected.norm()), rel=1e-3
    )


def test_every_answer_has_its_grade_and_the_table_says_what_they_give(log: EvalLog) -> None:
    for sample in log.samples or []:
        metadata = sample.scores[SCORE].metadata
        for arm, texts in texts_of(log)[str(sample.id)].items():
            graded = [grade_record(grade_by_rules(text, str(sample.target))) for text in texts]
            assert metadata["grades"][arm] == graded
        assert metadata["grader"] == "rules"
    found = numbers(log)
    assert {"hits | best | prior", "hits - false alarms | layer 1 x1 | onwards | low", "concepts"} <= set(found)
    table = log_report.log_table(log.location, full=True)
    assert "false alarms (sham)" in table
    assert "chosen on the other half of the concepts" in table.replace("\n  ", " ")
    assert "6 of 6 trials scored (success)" in table


def test_two_runs_with_one_seed_are_equal_and_concepts_do_not_depend_on_each_other(
    tiny_folder: Path, tmp_path: Path
) -> None:
    few = SMALL | {"strengths": 4, "protocol": "prior"}
    first, again, other = (
        texts_of(evaluate("sampled_detection", tiny_folder, tmp_path / str(n), **few, seed=seed))
        for n, seed in enumerate((3, 3, 4))
    )
    assert first == again
    assert first != other
    shams = [text for arms in first.values() for text in arms["sham"]]
    assert len(set(shams)) == len(shams), "trials under the sham are independent draws"
    alone = evaluate("sampled_detection", tiny_folder, tmp_path / "alone", **few, seed=3, sample_id="prior.tents")
    assert texts_of(alone) == {"prior.tents": first["prior.tents"]}


def test_forced_answers_begin_with_the_claim(tiny_folder: Path, tmp_path: Path) -> None:
    few = SMALL | {"strengths": 4, "protocol": "onwards", "concepts": ["owls", "tents"]}
    log = evaluate("sampled_detection", tiny_folder, tmp_path, **few, forced=True)
    forced = data.sampled_detection().forced
    for sample in log.samples or []:
        assert sample.metadata["begins"] == forced
        assert forced in sample.scores[SCORE].explanation
    assert "of answers that begin with a claim" in log_report.log_table(log.location).replace("\n  ", " ")


def test_a_run_that_was_cut_off_goes_on_and_loses_no_trial(log: EvalLog, tmp_path: Path) -> None:
    cut = read_eval_log(log.location)
    cut.samples = [sample for sample in cut.samples or [] if str(sample.id).startswith("prior")]
    cut.status, cut.results = "cancelled", None
    write_eval_log(cut, str(tmp_path / "cut.eval"))
    (whole,) = eval_retry(str(tmp_path / "cut.eval"), log_dir=str(tmp_path), display="none", score_display=False)
    assert whole.status == "success"
    assert texts_of(whole) == texts_of(log)


def test_a_grader_takes_the_place_of_the_rules(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    """A mock model's answers cannot be read as grades: every answer is counted as one without a grade."""
    few = SMALL | {"strengths": 4, "protocol": "prior", "concepts": ["owls"], "layer_fractions": 0.5}
    (graded,) = eval(
        "introbench/sampled_detection",
        model=f"inject/{tiny_folder}",
        model_roles={"grader": get_model("mockllm/model")},
        task_args=few,
        log_dir=str(tmp_path),
        display="none",
        score_display=False,
    )
    (sample,) = graded.samples or []
    metadata = sample.scores[SCORE].metadata
    assert metadata["grader"] == "mockllm/model"
    assert sum(metadata["without_grade"].values()) == 6
    assert all(grade is None for of_arm in metadata["grades"].values() for grade in of_arm)
    assert "Without a grade: 6" in log_report.log_table(graded.location).replace("\n  ", " ")


def test_grades_of_a_model_stand_and_their_metrics_are_computed_again(tiny_folder: Path, tmp_path: Path) -> None:
    grade = ModelOutput.from_content("grader", "coherent: yes\nclaims: yes\nnames: no\nclaims_first: no")
    grade.usage = ModelUsage()  # without it, Inspect counts tokens with an encoding that it downloads
    few = SMALL | {"strengths": 4, "protocol": "prior", "concepts": ["owls", "tents"], "layer_fractions": 0.5}
    (graded,) = eval(
        "introbench/sampled_detection",
        model=f"inject/{tiny_folder}",
        model_roles={"grader": get_model("mockllm/model", custom_outputs=[grade] * 100)},
        task_args=few,
        log_dir=str(tmp_path),
        display="none",
        score_display=False,
    )
    assert numbers(graded)["hit rate"] == 1
    found = recompute(graded.location, SCORE.rpartition("/")[2], answers_graded())
    assert found.differences == []
    assert (found.trials, found.left_out) == (0, "grades, which a model gave")
    assert graded.results
    graded.results.scores[0].metrics["hit rate"].value = 0.5
    write_eval_log(graded)
    (difference,) = recompute(graded.location, SCORE.rpartition("/")[2], answers_graded()).differences
    assert difference.where == "metric, hit rate"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layer_fractions": 1.5}, "layer_fractions=1.5: expected numbers from 0 to 1"),
        ({"layer_fractions": [0.5, 0.6]}, "both are layer 2 of 4"),
        ({"layer_fractions": ["x"]}, "layer_fractions='x': expected numbers"),
        ({"protocol": "later"}, "protocol='later': expected one of prior, onwards"),
        ({"temperature": -1.0}, "temperature=-1.0: expected a number from 0 to 10"),
        ({"method": "none"}, "method='none': expected one of pca_center, mean_diff, tell_me_about"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    tiny_folder: Path, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(PrerequisiteError, match=message.replace("(", r"\(")):
        evaluate("sampled_detection", tiny_folder, tmp_path, **wrong)
