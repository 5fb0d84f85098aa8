"""What an evaluation found, trial by trial, as small JSON that a version control system can show changes of."""

import hashlib
import json
import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.scorer import Score

from introbench.errors import InputError

FORMAT = 1
"""Version of the file."""
_FACTORS = ("document", "family", "question", "format", "concept")
"""What a trial has to say about itself to be compared."""
_INJECTION = ("layers", "strength", "method", "steering")
"""Settings that belong to what was asked. The seed does not: it draws other random vectors for the same trials."""
_DECIMALS = 6
_VERDICT = "verdict: "

Values = dict[str, float]
"""A trial's numbers by the name of their metric; NaN where there is none that is finite."""


@dataclass(frozen=True)
class Record:
    """One evaluation.

    Attributes:
        task: Its task, without a package's name.
        task_version: Of the task.
        arguments: Of the task, as far as they were given.
        model: As Inspect names it.
        revision: The model's commit, or a digest of its files.
        made: When the evaluation began.
        versions: Of the software that the numbers depend on.
        settings: What the arguments came to on this model: layers, strength and so on.
        plan: Documents and families that were to be asked about.
        verdict: What the run says about the model; empty for tasks without one.
        questions: For each question (in its document and format) its factors, and a digest of its text.
        trials: For each question, and each concept, the values of the trial.
    """

    task: str
    task_version: str
    arguments: Mapping[str, Any]
    model: str
    revision: str
    made: str
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    plan: Mapping[str, Any]
    verdict: str
    questions: Mapping[str, Mapping[str, Any]]
    trials: Mapping[str, Mapping[str, Values]]

    @classmethod
    def of(cls, log: EvalLog) -> "Record":
        """What a log of one evaluation, with its samples, says.

        Raises:
            InputError: It has no scored trials that can be compared one by one.
        """
        where = f"log of {log.eval.task}"
        scored = [sample for sample in log.samples or [] if sample.scores]
        if log.status != "success" or not scored:
            raise InputError(f"{where}: status {log.status}, {len(scored)} scored trials; expected a run to its end")
        lacking = [name for name in _FACTORS if name not in scored[0].metadata]
        if lacking:
            raise InputError(
                f"{where}: its trials have no {', '.join(lacking)}; expected a task with one trial for each question "
                f"and concept, such as introbench/introspection"
            )
        questions: dict[str, dict[str, Any]] = {}
        repeats: dict[str, dict[str, list[Values]]] = defaultdict(lambda: defaultdict(list))
        for sample in scored:
            question = _question_of(sample)
            questions[question] = {
                **{name: sample.metadata[name] for name in _FACTORS if name != "concept"},
                "reversed": bool(sample.metadata.get("reversed", False)),
                "text": _digest(
                    [
                        [[m.role, m.text] for m in sample.input if not isinstance(m, str)],
                        sample.metadata.get("prior_messages"),
                        sample.metadata.get("answers"),
                    ]
                ),
            }
            repeats[question][sample.metadata["concept"]].append(_values_of(next(iter((sample.scores or {}).values()))))
        facts = dict(log.eval.metadata or {})
        return cls(
            task=log.eval.task.rsplit("/", 1)[-1],
            task_version=str(log.eval.task_version),
            arguments=dict(log.eval.task_args_passed),
            model=log.eval.model,
            revision=str(facts.pop("model_revision", "unknown")),
            made=str(log.eval.created),
            versions=facts.pop("versions", {}),
            settings=facts,
            plan=dict(scored[0].metadata["plan"]),
            verdict=_verdict_of(log),
            questions=questions,
            trials={
                question: {concept: _mean(several) for concept, several in concepts.items()}
                for question, concepts in repeats.items()
            },
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """Rebuild a record from `to_json`'s values.

        Raises:
            InputError: They are none, or their digest is not that of their trials.
        """
        expected = {field.name for field in fields(cls)} | {"digest"}
        if set(values) != expected:
            odd = ", ".join(sorted(set(values) ^ expected))
            raise InputError(f"evaluation: {odd} too much or not there; expected a file as it was written")
        given = {name: value for name, value in values.items() if name != "digest"}
        given["trials"] = {
            question: {
                concept: {name: math.nan if value is None else float(value) for name, value in numbers.items()}
                for concept, numbers in concepts.items()
            }
            for question, concepts in values["trials"].items()
        }
        record = cls(**given)
        if record.digest != values["digest"]:
            raise InputError(
                f"digest {values['digest']} of {record.task}: its trials have {record.digest}; expected the file as it "
                f"was written; make it anew"
            )
        return record

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {
            question: {
                concept: {name: None if math.isnan(value) else value for name, value in found.items()}
                for concept, found in concepts.items()
            }
            for question, concepts in self.trials.items()
        }
        return {**asdict(self), "digest": self.digest, "trials": numbers}

    @property
    def digest(self) -> str:
        """Of what was asked: task, injection, texts and concepts. The model and its answers are not in it."""
        return _digest([self._asked, {name: sorted(each) for name, each in self.trials.items()}, self.questions])

    @property
    def _asked(self) -> dict[str, str]:
        injection = {name: str(self.settings[name]) for name in _INJECTION if name in self.settings}
        return {"task": self.task, "version": self.task_version, **injection}

    @property
    def metrics(self) -> list[str]:
        """The values that trials have."""
        return list(next(iter(next(iter(self.trials.values())).values())))

    @property
    def main_metric(self) -> str:
        """The value to look at first."""
        return "shift" if "shift" in self.metrics else self.metrics[0]

    def differences(self, other: "Record") -> list[str]:
        """What was asked otherwise in another evaluation, in words; nothing if they can be compared.

        Args:
            other: The later one.
        """
        here, there = self._asked, other._asked
        said = [
            f"{name}: {here.get(name, 'none')} -> {there.get(name, 'none')}"
            for name in sorted(here.keys() | there.keys())
            if here.get(name) != there.get(name)
        ]
        before, now = set(_trial_names(self)), set(_trial_names(other))
        for names, where in ((before - now, "before alone"), (now - before, "now alone")):
            if names:
                said.append(f"{len(names)} trials {where}, such as {min(names)}")
        reworded = [
            name
            for name in sorted(self.questions.keys() & other.questions.keys())
            if self.questions[name] != other.questions[name]
        ]
        if reworded:
            said.append(f"{len(reworded)} questions have other texts, such as {reworded[0]}")
        return said


def read_records(path: str | Path) -> list[Record]:
    """The evaluations of a baseline, or the one of an Inspect log.

    Raises:
        InputError: There is no such file, or it is neither.
    """
    path = Path(path)
    what = f"baseline {path}"
    if not path.is_file():
        raise InputError(f"{what}: no such file; expected one that --save-baseline wrote, or an Inspect log")
    try:
        if path.suffix == ".eval":
            return [Record.of(read_eval_log(str(path), resolve_attachments="core"))]
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and "eval" in values:
            return [Record.of(read_eval_log(str(path), resolve_attachments="core"))]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{what}: cannot be read ({type(error).__name__}); expected a file that --save-baseline wrote, or an "
            f"Inspect log"
        ) from error
    if not isinstance(values, dict) or values.get("introbench baseline") != FORMAT:
        raise InputError(
            f"{what}: no baseline of format {FORMAT}; expected one that --save-baseline wrote; make it anew"
        )
    try:
        return [Record.from_json(each) for each in values["evaluations"]]
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{what}: cannot be read ({type(error).__name__}); expected the file as it was written; make it anew"
        ) from error


def write_baseline(path: str | Path, records: Iterable[Record]) -> None:
    """Write evaluations as a baseline: the whole file, or nothing.

    Args:
        path: The file; a link is followed.
        records: In any order.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    several = sorted((each.to_json() for each in records), key=lambda each: (each["task"], each["digest"]))
    text = _lines({"introbench baseline": FORMAT, "evaluations": several}) + "\n"
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _lines(value: Any, indent: int = 0) -> str:
    """JSON with a line for each trial, so that a change of one trial is a change of one line."""
    if _is_flat(value):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, dict):
        body = [f"{inner}{json.dumps(key)}: {_lines(value[key], indent + 1)}" for key in sorted(value)]
        return "{\n" + ",\n".join(body) + f"\n{outer}}}"
    return "[\n" + ",\n".join(f"{inner}{_lines(part, indent + 1)}" for part in value) + f"\n{outer}]"


def _is_flat(value: Any) -> bool:
    """Whether there are no mappings within a value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(not isinstance(part, dict) and _is_flat(part) for part in parts)


def _question_of(sample: EvalSample) -> str:
    """A trial's name without its concept."""
    return str(sample.id).removesuffix("." + str(sample.metadata["concept"]).replace(" ", "_"))


def _values_of(score: Score) -> Values:
    """A trial's numbers: those of its value, or exact ones where the score has them."""
    exact = score.metadata or {}
    if "log_odds" in exact and "shift" in exact:
        random = list(exact.get("random", {}).values())
        return {
            "shift": exact["shift"],
            "random": float(np.mean(random)) if random else math.nan,
            "log_odds": exact["log_odds"]["sham"],
        }
    values = score.value if isinstance(score.value, Mapping) else {}
    if set(values) == {"shift", "random", "p_yes", "p_yes_sham", "mass"}:  # of a trial that is not finite
        return dict.fromkeys(("shift", "random", "log_odds"), math.nan)
    return {name: float(each) for name, each in values.items() if isinstance(each, int | float)}


def _mean(several: Sequence[Values]) -> Values:
    """Repeats (epochs) of a trial as one: the mean of the finite ones."""
    means = {}
    for name in several[0]:
        finite = [each[name] for each in several if math.isfinite(each[name])]
        means[name] = round(float(np.mean(finite)), _DECIMALS) if finite else math.nan
    return means


def _verdict_of(log: EvalLog) -> str:
    """The verdict that the run's metrics name."""
    metrics = [each for score in (log.results.scores if log.results else []) for each in score.metrics.items()]
    held = [
        name.removeprefix("verdict: ") for name, each in metrics if name.startswith("verdict: ") and each.value == 1
    ]
    return held[0] if held else ""


def _trial_names(record: Record) -> list[str]:
    return [f"{question}.{concept}" for question, concepts in record.trials.items() for concept in concepts]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
