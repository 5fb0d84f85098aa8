"""The location task through Inspect, against a plain computation that steers single sentences by hooks of its own."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import evaluate, numbers, tokens_of
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.scorer import SampleScore
from transformers import DynamicCache, PreTrainedModel

from introbench import cli
from introbench.analysis.arm_reading import ArmReading
from introbench.analysis.named_values import named_values
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data, schema
from introbench.prompts.location import LEVELS
from introbench.provider import loaded_model, resident
from introbench.provider.inspect_private import PrerequisiteError
from introbench.records.arm import Arm
from introbench.records.factors import PlaceFactors, TrialFactors
from introbench.report import log as log_report
from introbench.scorers.location import score_of
from introbench.scorers.metric_values import scored_trials
from introbench.steering.injection import VectorRecipe
from introbench.steering.vectors.control_file import write_control_file

CONCEPTS = ["cats", "bread"]
FIVE_CONCEPTS = [*CONCEPTS, "love", "fear", "truth"]
SMALL: dict[str, Any] = {"concepts": CONCEPTS, "layers": "1:3", "strength": 3}
CHANCE = {part: 1 / len(places) for part, places in schema.LOCATION_PLACES.items()}


@pytest.fixture(scope="module")
def log(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    return evaluate("location", tiny_folder, tmp_path_factory.mktemp("logs"), **SMALL)


def test_every_trial_is_run_and_scored(log: EvalLog) -> None:
    assert log.status == "success"
    assert len(log.samples or []) == sum(4 * len(places) for places in schema.LOCATION_PLACES.values()) * len(CONCEPTS)
    measured = numbers(log)
    for part, chance in CHANCE.items():
        for vector in ("concept", "random"):
            assert measured[f"{part} | introspective, {vector} | chance"] == chance
            assert 0 <= measured[f"{part} | other, {vector} | accuracy"] <= 1
        for contrast in ("gain", "beyond random", "gain beyond random"):
            for name in (f"{part}: {contrast}", f"{part}: {contrast} | nats"):
                assert measured[f"{name} | low"] <= measured[name] <= measured[f"{name} | high"]
            assert measured[f"{part}: {contrast} | missing"] == 0
    assert (log.eval.metadata or {})["early"] == "1:2 at 3"
    assert (log.eval.metadata or {})["late"] == "2:3 at 3"


def plain(
    model: PreTrainedModel, prior: Sequence[int], question: Sequence[int], added: Mapping[int, torch.Tensor]
) -> torch.Tensor:
    """Log-probabilities of the next token when something is added at each token of the prior turn.

    Two passes with transformers' own cache.

    Args:
        model: The model.
        prior: Tokens of the prior turn.
        question: Tokens after it.
        added: Block to what is added to its output, [prior tokens, hidden].
    """
    cache = DynamicCache()
    with torch.inference_mode():
        handles = [
            model.model.layers[block].register_forward_hook(lambda _m, _a, output, add=add: output + add)
            for block, add in added.items()
        ]
        model(torch.tensor([prior]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        for handle in handles:
            handle.remove()
        logits = model(torch.tensor([question]), past_key_values=cache, use_cache=True).logits[0, -1]
    return torch.log_softmax(logits.double(), dim=-1)


def shares_by_hand(tokenizer: Any, sample: EvalSample, place: str) -> list[float]:
    """By how much each token of the prior turn is steered, from the text: tokens are counted from its end."""
    messages = [{"role": m.role, "content": m.text} for m in sample.messages[: sample.metadata["prior_messages"]]]
    text = tokenizer.apply_chat_template(messages, tokenize=False)

    def tokens_from(start: int) -> int:
        return len(tokenizer(text[start:], add_special_tokens=False)["input_ids"])

    def span(sentence: str) -> tuple[int, int]:
        start = text.index(sentence)
        start -= text[start - 1] == " "  # a space is one token with the word after it; a line break is not
        return whole - tokens_from(start), whole - tokens_from(text.index(sentence) + len(sentence))

    whole = tokens_from(0)
    part, shares = sample.metadata["part"], [0.0] * whole

    def steer(begin: int, end: int, share: float) -> None:
        shares[begin:end] = [share] * (end - begin)

    sentences = data.passages()[sample.metadata["passage"]]
    ordinals = dict(zip(schema.LOCATION_PLACES["sentences"], sentences, strict=True))
    begin, end = span(sentences[0])[0], span(sentences[-1])[1]
    if part == "sentences":
        steer(*span(ordinals[place]), 1.0)
    elif part == "stronger":
        for name in ("second", "fourth"):
            steer(*span(ordinals[name]), 1.0 if name == place else 0.5)
    elif part == "halves":
        half = (end - begin) // 2
        steer(*((begin, begin + half) if place == "first" else (end - half, end)), 1.0)
    elif part == "layers":
        steer(begin, end, 1.0)
    else:
        users = [m["content"].rpartition("\n\n")[2] for m in messages if m["role"] == "user"]
        replies = [m["content"].removeprefix("Level: ") for m in messages if m["role"] == "assistant"]
        for sentence, level in zip(users, [*replies[:-1], place], strict=True):
            steer(*span(sentence), {"low": 0.5, "medium": 1.0, "high": 2.0}[level])
    return shares


@pytest.mark.parametrize("part", list(schema.LOCATION_PLACES))
def test_every_arm_equals_a_plain_computation(log: EvalLog, tiny_folder: Path, part: str) -> None:
    model = Checkpoint(str(tiny_folder), device="cpu").load()
    runtime = next(iter(resident.RESIDENT.values()))
    assert isinstance(runtime, loaded_model.LoadedModel)
    seen = set()
    for sample in [s for s in log.samples or [] if s.metadata["part"] == part][::7]:
        prior, question = tokens_of(runtime.tokenizer, sample)
        text = runtime.tokenizer.decode(prior + question)
        options = sample.metadata["options"]
        ids = [runtime.tokenizer(f"{text} {label}")["input_ids"][-1] for label in options]
        for record in (sample.output.metadata or {})["arms"]:
            added: dict[int, torch.Tensor] = {}
            if record["arm"] != "sham":
                kind, _, place = record["arm"].split()
                recipe = VectorRecipe("pca_center", sample.metadata["concept"], seed=0 if kind == "random" else None)
                blocks = {"early": (1,), "late": (2,)}.get(place, (1, 2))
                shares = torch.tensor(shares_by_hand(runtime.tokenizer, sample, place))
                directions = runtime.library.directions(recipe)
                added = {block: 3 * shares[:, None] * directions[block] for block in blocks}
            expected = plain(model, prior, question, added)[ids].tolist()
            found = [record["logprobs"][label][0] for label in options]
            assert found == pytest.approx(expected, abs=1e-4), record["arm"]
            seen.add((record["arm"], tuple(found)))
    assert len({numbers for _, numbers in seen}) == len(seen), "every arm gives numbers of its own"
    assert {arm for arm, _ in seen} == {
        "sham",
        *(f"{kind} at {place}" for kind in ("concept", "random") for place in schema.LOCATION_PLACES[part]),
    }


def test_scores_are_those_of_the_recorded_numbers(log: EvalLog) -> None:
    for sample in (log.samples or [])[::11]:
        score = (sample.scores or {})["introbench/located"]
        logprobs = {r["arm"]: r["logprobs"] for r in (sample.output.metadata or {})["arms"]}
        options = sample.metadata["options"]
        right, graded = [], []
        for label, place in options.items():
            arm = logprobs[f"concept at {place}"]
            changes = {other: arm[other][0] - logprobs["sham"][other][0] for other in options}
            right.append(max(changes, key=lambda other: changes[other]) == label)
            others = [change for other, change in changes.items() if other != label]
            graded.append(changes[label] - sum(others) / len(others))
        assert score.metadata["scores"]["concept"] == pytest.approx(
            [sum(right) / len(right), sum(graded) / len(graded)], abs=1e-9
        )
        for arm, among in score.metadata["among"].items():
            total = sum(math.exp(logprobs[arm][label][0]) for label in options)
            assert score.metadata["mass"][arm] == pytest.approx(total)
            expected = [math.exp(logprobs[arm][label][0]) / total for label in options]
            assert list(among.values()) == pytest.approx(expected)
        assert "| sham |" in score.explanation
        assert f"| random at {place} |" in score.explanation


def planted(log: EvalLog, answer: Any) -> list[SampleScore]:
    """The log's trials with other answers: log-probabilities of the labels, from a sample's metadata and an arm.

    The trials of one concept stand for those of five: fewer that agree to the last digit have no interval.
    """
    scores = []
    for sample in (s for s in log.samples or [] if s.metadata["concept"] == CONCEPTS[0]):
        readings = {arm: ArmReading(arm, "", answer(sample.metadata, arm)) for arm in sample.metadata["arms"]}
        factors = TrialFactors.from_json(sample.metadata)
        score = score_of(factors.place, factors.arms, readings)
        for word in FIVE_CONCEPTS:
            metadata = sample.metadata | {"concept": word}
            scores.append(SampleScore(score=score, sample_id=f"{sample.id} {word}", sample_metadata=metadata))
    return scores


def values(scores: list[SampleScore]) -> dict[str, float]:
    return named_values("located", scored_trials(scores))


def test_a_planted_localiser_is_found(log: EvalLog) -> None:
    def knows(factors: Mapping[str, Any], arm: str) -> dict[str, float]:
        knows = factors["kind"] == "introspective" and arm.startswith("concept")
        place = arm.removeprefix("concept at ") if knows else ""
        return {label: -3.0 + (0.5 if here == place else 0.0) for label, here in factors["options"].items()}

    found = values(planted(log, knows))
    for part, chance in CHANCE.items():
        assert found[f"{part} | introspective, concept | accuracy"] == 1.0
        assert found[f"{part} | introspective, concept | nats"] == pytest.approx(0.5)
        for contrast in ("gain", "beyond random", "gain beyond random"):
            assert found[f"{part}: {contrast} | low"] == pytest.approx(1 - chance)
            assert found[f"{part}: {contrast} | nats | low"] == pytest.approx(0.5)
        assert found[f"{part} | other, concept | accuracy"] == pytest.approx(chance, abs=1e-12)


def first_option(factors: Mapping[str, Any], arm: str) -> dict[str, float]:
    return dict.fromkeys(factors["options"], -40.0) | {"A": -0.1}


def pushed_to_the_first(factors: Mapping[str, Any], arm: str) -> dict[str, float]:
    return dict.fromkeys(factors["options"], -2.0) | ({"A": -0.1} if arm != "sham" else {})


def likes_early_places(factors: Mapping[str, Any], arm: str) -> dict[str, float]:
    first = next(iter(schema.LOCATION_PLACES[factors["part"]]))
    gain = 0.0 if arm == "sham" else 0.8
    return {label: -2.0 + gain * (place == first) for label, place in factors["options"].items()}


@pytest.mark.parametrize("answer", [first_option, pushed_to_the_first, likes_early_places])
def test_preferences_are_exactly_at_chance(log: EvalLog, answer: Any) -> None:
    scores = planted(log, answer)
    for score in scores:
        chance = CHANCE[(score.sample_metadata or {})["part"]]
        for kind in ("concept", "random"):
            accuracy, nats = (score.score.metadata or {})["scores"][kind]
            assert accuracy == chance
            assert nats == pytest.approx(0.0, abs=1e-12)
    found = values(scores)
    for name, value in found.items():
        if name.endswith(("accuracy", "gain", "beyond random", "low", "high")) and "nats" not in name:
            expected = 0.0 if ": " in name else CHANCE[name.split(" | ")[0]]
            assert value == pytest.approx(expected, abs=1e-9), name


@pytest.mark.slow
def test_a_model_that_ignores_injections_is_exactly_at_chance(tiny_folder: Path, tmp_path: Path) -> None:
    ignored = evaluate("location", tiny_folder, tmp_path, **SMALL | {"strength": 0, "parts": ["sentences", "strength"]})
    found = numbers(ignored)
    for part in ("sentences", "strength"):
        for kind in ("introspective", "other"):
            for vector in ("concept", "random"):
                assert found[f"{part} | {kind}, {vector} | accuracy"] == pytest.approx(CHANCE[part], abs=1e-12)
                assert found[f"{part} | {kind}, {vector} | nats"] == pytest.approx(0.0, abs=1e-5)


def test_the_table_and_the_viewer(log: EvalLog, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["table", "--full", log.location]) == 0
    table = capsys.readouterr().out
    assert "The score that counts" in table
    for part, chance in CHANCE.items():
        lines = [each for each in table.splitlines() if each.startswith(f"{part} ")]
        line = next(each for each in lines if "introspective, concept" in each)
        assert f"{chance:.1%}" in line
    assert cli.main(["table", str(Path(log.location).parent)]) == 0, "the folder's latest log is found"
    sample = (log.samples or [])[0]
    assert set((sample.scores or {})["introbench/located"].value) == {
        "part",
        "passage",
        "kind",
        "accuracy",
        "nats",
        "random_accuracy",
        "random_nats",
        "mass",
    }
    assert "located" in str(log.eval.viewer)
    assert log_report.REPORTS["located"]


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_the_same_task_gives_the_same_log(log: EvalLog, tiny_folder: Path, tmp_path: Path) -> None:
    """With trials in another order, too: what runs together does not depend on what is in flight."""
    again = evaluate("location", tiny_folder, tmp_path, sample_shuffle=3, **SMALL | {"parts": ["halves", "strength"]})
    first = {s.id: (s.scores or {})["introbench/located"].metadata for s in log.samples or []}
    second = {s.id: (s.scores or {})["introbench/located"].metadata for s in again.samples or []}
    assert len(second) == 4 * (2 + 3) * len(CONCEPTS)
    assert {key: first[key] for key in second} == second
    assert {s.id: s.messages[-2].text for s in again.samples or []}.items() <= {
        s.id: s.messages[-2].text for s in log.samples or []
    }.items()


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded")
def test_questions_of_other_parts_are_not_run(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each arm answers each question of its part, and no other."""
    asked: list[tuple[int, int]] = []
    read = loaded_model.LoadedModel.read

    def counting(self: Any, question: Any, bank: Any, together: Any = lambda: ()) -> Any:
        if self.known(question, bank) is None:
            asked.append((len(bank), len({*together(), question})))
        return read(self, question, bank, together)

    monkeypatch.setattr(loaded_model.LoadedModel, "read", counting)
    some = {"passages": ["station", "library"], "parts": ["halves", "strength"]}
    evaluate("location", tiny_folder, tmp_path, **SMALL | some)
    assert sorted(asked) == [(1 + 2 * 2 * places, 4 * places) for places in (2, 2, 3, 3)]


def test_a_bank_is_asked_its_own_questions_alone(log: EvalLog) -> None:
    """A sample's group has exactly the questions of its own part and passage."""
    assert log.samples
    groups = log.plan.steps[0].params["questions"]
    asked: dict[str, set[tuple[Any, ...]]] = {}
    for sample in log.samples:
        name = f"{sample.metadata['part']}.{sample.metadata['passage']} 1"
        assert sample.metadata["asked_with"] == name
        own = [(m.role, m.text) for m in sample.messages[sample.metadata["prior_messages"] : len(sample.input)]]
        asked.setdefault(name, set()).add((*own, str(sample.metadata["answers"])))
    assert set(groups) == set(asked)
    for name, questions in groups.items():
        assert len(questions) == len(asked[name]) == 4 * len(schema.LOCATION_PLACES[name.split(".")[0]])
        own = {(*((m["role"], m["content"]) for m in q["messages"]), str(q["answers"])) for q in questions}
        assert own == asked[name]


def test_numbers_that_are_not_finite_are_counted(tiny_folder: Path, tmp_path: Path) -> None:
    broken = evaluate("location", tiny_folder, tmp_path, **SMALL | {"strength": 1e39, "parts": "halves"})
    assert broken.status == "success"
    for sample in broken.samples or []:
        score = (sample.scores or {})["introbench/located"]
        assert math.isnan(score.value["accuracy"])
        assert "not finite" in score.explanation
    assert numbers(broken)["halves | introspective, concept | missing"] == 2 * 2 * len(CONCEPTS)
    assert "no pairs" in log_report.log_table(broken.location, full=True)


def test_one_arm_that_is_not_finite_loses_its_kind_of_vector_alone() -> None:
    answers = {"A": -1.0, "B": -1.0}
    options = {"A": "first", "B": "second"}
    arms = {"sham": Arm("sham", 0)} | {
        f"{kind} at {place}": Arm(kind, 1, place=place) for kind in ("concept", "random") for place in options.values()
    }
    finite = [name for name in arms if name != "random at second"]
    asked = PlaceFactors("order", "station", "introspective", "activity", 0, options, "first")
    score = score_of(asked, arms, {name: ArmReading(name, "", answers) for name in finite})
    assert score.value["accuracy"] == 0.5
    assert math.isnan(score.value["random_accuracy"])
    assert score_of(asked, arms, {}).reason == "not_finite"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"parts": "half"}, "parts='half': expected one of halves, sentences, layers, stronger, strength"),
        ({"passages": "stations"}, "passages='stations': expected one of station, valley, library"),
        ({"passage": "station"}, "location has no such argument; .* did you mean passages?"),
        ({"layers": "3:9"}, "expected START:STOP"),
        ({"strength": "strong"}, "strength='strong'"),
        ({"replicates": 0}, "replicates=0: expected a whole number from 1 to 20"),
        ({"seed": -1}, "seed=-1"),
        ({"method": "pca"}, "method='pca'"),
    ],
)
def test_refusals_come_before_weights_load(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], complaint: str
) -> None:
    def load(_: Checkpoint) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(Checkpoint, "load", load)
    with pytest.raises(PrerequisiteError, match=complaint):
        evaluate("location", tiny_folder, tmp_path, **SMALL | arguments)


def test_vectors_from_files_must_reach_the_early_and_the_late_layers(tiny_folder: Path, tmp_path: Path) -> None:
    for concept in CONCEPTS:
        write_control_file(tmp_path / "vectors" / f"{concept}.gguf", torch.eye(4, 32), "llama")
    options: dict[str, Any] = {"vectors": str(tmp_path / "vectors"), "parts": "layers", "layers": "1:2", "strength": 3}
    read = evaluate("location", tiny_folder, tmp_path, **options)
    assert {s.metadata["concept"] for s in read.samples or []} == set(CONCEPTS)
    assert read.status == "success"
    write_control_file(tmp_path / "vectors" / "bread.gguf", torch.eye(4, 32) * (torch.arange(4) != 2)[:, None], "llama")
    with pytest.raises(PrerequisiteError, match=r"bread\.gguf: has no direction for layers 2 of layers=2:3"):
        evaluate("location", tiny_folder, tmp_path, **options)


def test_levels_are_shares_of_the_strength() -> None:
    assert LEVELS == {"low": 0.5, "medium": 1.0, "high": 2.0}
