"""The numbers of an evaluation, trial by trial, as JSON whose changes a version control system shows line by line."""

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
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.scorer import Score

from introbench.errors import InputError, shown
from introbench.records.factors import id_of_concept
from introbench.regression.json_lines import json_lines

FORMAT = 1
"""Version of the file format."""
_FACTORS = ("document", "family", "question", "format", "concept")
"""The factors that a trial needs to be compared."""
_INJECTION = ("layers", "strength", "method", "steering")
"""Settings that identify trials. The seed is not one of them: it draws other random vectors for the same trials."""
_TEMPLATE_DATE, _VOCABULARY = "template_date", "vocabulary"
"""Settings of how a question becomes tokens: the date that the chat template writes, and a digest of the vocabulary."""
_NOT_KEPT = ("prior_turns", "notes")
"""What a log says of its run as a whole that a baseline does not keep."""
_TOKENS = "tokens"
"""Key of the digest of a question's token ids; older logs and baselines do not have it."""
_DECIMALS = 6
"""Digits of a number after the point."""
_VERDICT = "verdict: "
"""Beginning of the names of metrics that say which verdict was reached."""

Values = dict[str, float]
"""Numbers of a trial by the name of their metric; NaN if a number is not finite."""


@dataclass(frozen=True)
class Record:
    """What is kept of one evaluation.

    Attributes:
        task: Name of the task, without its package.
        task_version: Version of the task.
        arguments: Arguments of the task that were given.
        model: The model's name in Inspect.
        revision: The model's commit, or a digest of its files.
        made: When the evaluation began.
        versions: Versions of the software that the numbers depend on.
        settings: Layers, strength and other settings that the arguments led to on this model.
        plan: Documents and question families of the evaluation.
        verdict: The verdict; empty for tasks without one.
        questions: Factors of every question (in its document and format), and a digest of its text.
        trials: Values of every trial, by question and concept.
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
        """The record of an evaluation.

        Args:
            log: Inspect's log of it, with its samples.

        Raises:
            InputError: The log has no scored trials that can be compared one by one.
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
                **{key: value for key, value in (sample.output.metadata or {}).items() if key == _TOKENS},
            }
            repeats[question][sample.metadata["concept"]].append(_values_of(next(iter((sample.scores or {}).values()))))
        facts = {name: fact for name, fact in (log.eval.metadata or {}).items() if name not in _NOT_KEPT}
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
                question: {concept: _mean(values) for concept, values in concepts.items()}
                for question, concepts in repeats.items()
            },
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """The record that `to_json` gave these values for.

        Raises:
            InputError: There are other keys, or the digest is not that of the trials.
        """
        expected = {field.name for field in fields(cls)} | {"digest"}
        if set(values) != expected:
            wrong = ", ".join(sorted(set(values) ^ expected))
            raise InputError(f"evaluation: {wrong} unknown or missing; expected the file as it was written")
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
                f"digest {shown(values['digest'])} of {record.task}: its trials have {record.digest}; expected the "
                f"file as it was written; make it anew"
            )
        return record

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, with its digest."""
        numbers = {
            question: {
                concept: {name: None if math.isnan(value) else value for name, value in values.items()}
                for concept, values in concepts.items()
            }
            for question, concepts in self.trials.items()
        }
        return {**asdict(self), "digest": self.digest, "trials": numbers}

    @property
    def digest(self) -> str:
        """Digest of task, injection, texts, token ids and concepts. It does not depend on weights and answers."""
        concepts = {question: sorted(trials) for question, trials in self.trials.items()}
        return _digest([self._settings_of(*_INJECTION, _TEMPLATE_DATE), concepts, self.questions])

    def _settings_of(self, *names: str) -> dict[str, str]:
        """Task, version, and those of some settings that the evaluation has."""
        settings = {name: str(self.settings[name]) for name in names if name in self.settings}
        return {"task": self.task, "version": self.task_version, **settings}

    @property
    def _has_tokens(self) -> bool:
        return all(_TOKENS in question for question in self.questions.values())

    @property
    def metrics(self) -> list[str]:
        """Names of the values that trials have."""
        return list(next(iter(next(iter(self.trials.values())).values())))

    @property
    def main_metric(self) -> str:
        """Name of the value that is compared by default."""
        return "shift" if "shift" in self.metrics else self.metrics[0]

    def differences(self, other: "Record") -> list[str]:
        """How the trials of a later evaluation differ from these, in words; empty if the two can be compared.

        Token ids are compared where both evaluations say them, and the two models have one vocabulary.

        Args:
            other: The later evaluation.
        """
        vocabularies = {record.settings.get(_VOCABULARY, "unknown") for record in (self, other)} - {"unknown"}
        by_tokens = len(vocabularies) < 2 and self._has_tokens and other._has_tokens
        settings = (*_INJECTION, _TEMPLATE_DATE) if len(vocabularies) < 2 else _INJECTION
        here, there = self._settings_of(*settings), other._settings_of(*settings)
        differences = [
            f"{name}: {here.get(name, 'none')} -> {there.get(name, 'none')}"
            for name in sorted(here.keys() | there.keys())
            if here.get(name) != there.get(name)
        ]
        before, now = set(_trial_names(self)), set(_trial_names(other))
        for names, where in ((before - now, "before alone"), (now - before, "now alone")):
            if names:
                differences.append(f"{len(names)} trials {where}, such as {min(names)}")
        shared = sorted(self.questions.keys() & other.questions.keys())
        reworded = [name for name in shared if _worded(self.questions[name]) != _worded(other.questions[name])]
        if reworded:
            differences.append(f"{len(reworded)} questions have other texts, such as {reworded[0]}")
        retokenized = [
            name for name in shared if by_tokens and self.questions[name][_TOKENS] != other.questions[name][_TOKENS]
        ]
        if retokenized and not reworded:
            differences.append(
                f"{len(retokenized)} questions have other tokens (another chat template?), such as {retokenized[0]}"
            )
        return differences


def write_baseline(path: str | Path, records: Iterable[Record]) -> None:
    """Write evaluations to a baseline file, which is replaced only once it is complete.

    Args:
        path: The file; a symbolic link is followed.
        records: The evaluations, in any order.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    evaluations = sorted(
        (record.to_json() for record in records), key=lambda values: (values["task"], values["digest"])
    )
    text = json_lines({"introbench baseline": FORMAT, "evaluations": evaluations}) + "\n"
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


def _question_of(sample: EvalSample) -> str:
    """Name of a trial's question: its id without the concept."""
    return str(sample.id).removesuffix("." + id_of_concept(str(sample.metadata["concept"])))


def _values_of(score: Score) -> Values:
    """The numbers of a trial: those in the score's metadata, which are not rounded, or else its value."""
    exact = score.metadata or {}
    if "log_odds" in exact and "shift" in exact:
        random = list(exact.get("random", {}).values())
        return {
            "shift": exact["shift"],
            "random": float(np.mean(random)) if random else math.nan,
            "log_odds": exact["log_odds"]["sham"],
        }
    values = score.value if isinstance(score.value, Mapping) else {}
    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
    if set(numbers) == {"shift", "random", "p_yes", "p_yes_sham", "mass"}:  # of a trial that is not finite
        return dict.fromkeys(("shift", "random", "log_odds"), math.nan)
    return numbers


def _mean(repeats: Sequence[Values]) -> Values:
    """The means over the repeats (epochs) of a trial; numbers that are not finite are left out."""
    means = {}
    for name in repeats[0]:
        finite = [values[name] for values in repeats if math.isfinite(values[name])]
        means[name] = round(float(np.mean(finite)), _DECIMALS) if finite else math.nan
    return means


def _verdict_of(log: EvalLog) -> str:
    """The verdict in the log's metrics; empty if there is none."""
    metrics = [item for score in (log.results.scores if log.results else []) for item in score.metrics.items()]
    verdicts = (
        name.removeprefix(_VERDICT) for name, metric in metrics if name.startswith(_VERDICT) and metric.value == 1
    )
    return next(verdicts, "")


def _worded(question: Mapping[str, Any]) -> dict[str, Any]:
    """A question's factors and the digest of its text, without its tokens."""
    return {name: value for name, value in question.items() if name != _TOKENS}


def _trial_names(record: Record) -> list[str]:
    return [f"{question}.{concept}" for question, concepts in record.trials.items() for concept in concepts]


def _digest(values: Any) -> str:
    """Sixteen hexadecimal digits that identify JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
