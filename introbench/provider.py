"""Inspect model provider `inject/`: one call runs all arms of a trial and returns one choice per arm.

The call's `extra_body` holds an `injection` spec of plain JSON (see `TrialSpec`). Weights are loaded at the first
call, so that re-scoring a log or listing tasks never loads a model, and at most one model is resident.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import RunVar
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    get_model,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from inspect_ai.util import display_counter, display_type
from torch import Tensor

from introbench.answers import Answers, Forms
from introbench.asked import Asked, Written
from introbench.chat import tokenize_chat
from introbench.checkpoint import Checkpoint
from introbench.engine import Reading, Want
from introbench.engine.continuation import Continuation
from introbench.errors import InputError, first_line
from introbench.injection import Injection
from introbench.measures import ArmReading, arm_readings
from introbench.probe_states import ProbeSpec, probe_record
from introbench.progress import cancel_by, listen
from introbench.runtime import Runtime
from introbench.turns import Turns

TOP_TOKENS = 4
REMEMBERED_QUESTIONS = 4096


@dataclass(frozen=True)
class TrialSpec:
    """What a trial's call carries as `extra_body={"injection": spec.to_json()}`: plain JSON.

    Attributes:
        prior_messages: How many leading messages are the prior turn.
        bank: The injections that share a batch, as `introbench.bank.bank_text` writes them.
        arms: Names of the trial's arms and their rows in the bank.
        answers: What is read after the conversation.
        silent: Whether only the first arm has a choice of its own; of a sweep's hundreds nobody looks at the tokens.
    """

    prior_messages: int
    bank: str
    arms: Mapping[str, int]
    answers: Answers
    silent: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "prior_messages": self.prior_messages,
            "bank": self.bank,
            "arms": dict(self.arms),
            "answers": self.answers.to_json(),
            "silent": self.silent,
        }

    @classmethod
    def from_json(cls, values: Any) -> "TrialSpec":
        """Rebuild a spec from `to_json`'s values.

        Raises:
            InputError: They are none.
        """
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise InputError(
                "inject/ models answer injection trials only (extra_body={'injection': {...}}); "
                "run an introbench task, or use its solver inject_prior_turn"
            )
        return cls(**{**values, "answers": Answers.from_json(values["answers"])})


@dataclass(frozen=True)
class ContinuationSpec:
    """What a call carries as `extra_body={"continuation": spec.to_json()}` to continue a chat under active steering.

    Attributes:
        bank: The injections, as `introbench.bank.bank_text` writes them.
        arms: Names of the arms that write texts, and their rows in the bank; of the other rows only the concept's word
            is read.
        concept: What is injected.
        seeds: Seeds of the texts under each arm.
        length: Most tokens of a text.
        temperature: 0 for the most likely token.
    """

    bank: str
    arms: Mapping[str, int]
    concept: str
    seeds: Sequence[int]
    length: int
    temperature: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


RoleAndContent = tuple[tuple[str, str], ...]
Asking = tuple[RoleAndContent, Answers]
"""Role and content of each message, and what is read after them."""

_together: ContextVar[Callable[[], Sequence[Asking]]] = ContextVar("introbench_together", default=lambda: ())


@contextmanager
def asked_together(conversations: Callable[[], Sequence[Asking]]) -> Iterator[None]:
    """Say which conversations are to be run as one with those that are asked for in this context.

    They have the prior turn and the bank in common. The engine then runs a prior turn and what its questions share
    once, and a conversation's numbers do not depend on which others happen to be in flight.

    Args:
        conversations: Called once they have to be run; most calls are answered by what others have run.
    """
    token = _together.set(conversations)
    try:
        yield
    finally:
        _together.reset(token)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show an `InputError` as Inspect shows a missing prerequisite: one line, no traceback."""
    try:
        yield
    except InputError as error:
        raise PrerequisiteError(str(error)) from error


def active_checkpoint() -> Checkpoint:
    """The model under evaluation, without its weights, for tasks to fit their trials to.

    If it is resident, whatever it has read for earlier evaluations is forgotten.

    Raises:
        InputError: The evaluation's model is not an `inject/` model.
    """
    api = get_model().api
    if not isinstance(api, InjectAPI):
        name = api.qualified_model_name or api.model_name
        raise InputError(
            f"model {name}: cannot be injected into; expected inject/NAME; pass e.g. --model inject/smollm2"
        )
    loaded = _resident.get(repr(api.checkpoint))
    if isinstance(loaded, Runtime):
        loaded.begin_run()
    return api.checkpoint


def read_arms(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output without their likely tokens, for arms without choices."""
    arms = (output.metadata or {}).get("arms", [])
    return arm_readings(arms, [()] * len(arms))


def read_output(output: ModelOutput) -> list[ArmReading]:
    """Measures of the arms in a provider's output; arms whose numbers are not finite are left out."""
    top = []
    for choice in output.choices:
        content = choice.logprobs.content if choice.logprobs else []
        tokens = content[0].top_logprobs or [] if content else []
        top.append([(entry.token, entry.logprob) for entry in tokens])
    return arm_readings((output.metadata or {})["arms"], top)


class InjectAPI(ModelAPI):
    """Runs transformers models with steering vectors injected during the prior turn's cache fill.

    Args:
        model_name: `smollm2`, a Hugging Face id, or a local folder.
        base_url: Not used.
        api_key: Not used.
        config: Inspect's generation settings.
        **model_args: `-M` arguments; see `introbench.checkpoint.Checkpoint`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature; never changed)
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        known = [field.name for field in fields(Checkpoint) if field.name != "name"]
        for key in model_args:
            if key not in known:
                raise PrerequisiteError(f"-M {key}: unknown; expected one of {', '.join(known)}; correct it")
        with one_line_errors():
            self.checkpoint = Checkpoint(model_name, **model_args)
        self._questions: dict[tuple[Asking, int], _Question] = {}
        self._banks: dict[str, tuple[Injection, ...]] = {}

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Run all arms of one trial; choice i of the output is arm i."""
        body = config.extra_body or {}
        if "continuation" in body:
            return await self._continue(input, ContinuationSpec(**body["continuation"]))
        if "probe" in body:
            return await self._probe(input, ProbeSpec(**body["probe"]))
        spec = TrialSpec.from_json(body.get("injection"))
        prior_messages, bank = spec.prior_messages, self._bank(spec.bank)
        turns = tuple((message.role, message.text) for message in input)
        with one_line_errors():
            question = self._question((turns, spec.answers), prior_messages)
        model, together = repr(self.checkpoint), _together.get()

        def read() -> tuple[Runtime, Reading]:
            def others() -> list[Asked]:
                asked = []
                for conversation in together():
                    # Not every question is asked on every prior turn: a template may refuse a pair that nobody asks.
                    with suppress(InputError):
                        asked.append(self._question(conversation, prior_messages).asked)
                return asked

            runtime = resident(self.checkpoint)
            return runtime, runtime.read(question.asked, bank, others)

        # Those that wait for the same cache fill stand in one line, so that the next fill need not wait for them all.
        async with _turns().line(model, (spec.bank, turns[:prior_messages])):
            loaded = _resident.get(model)
            if isinstance(loaded, Runtime) and (known := loaded.known(question.asked, bank)):
                return self._output(loaded, question, bank, spec, known)
            with one_line_errors():
                async with _turns().turn(model):
                    runtime, reading = await anyio.to_thread.run_sync(read)
                return self._output(runtime, question, bank, spec, reading)

    async def _continue(self, input: Sequence[ChatMessage], spec: ContinuationSpec) -> ModelOutput:
        """Continue a chat; the choices are the texts of the first arm, then those of the second, and so on."""
        bank, model = self._bank(spec.bank), repr(self.checkpoint)

        def write() -> tuple[Runtime, dict[str, list[Continuation]], list[float], list[float], int]:
            messages = [{"role": message.role, "content": message.text} for message in input]
            chat = tokenize_chat(self.checkpoint.tokenizer, messages, 0)
            runtime = resident(self.checkpoint)
            injections = [bank[row] for row in spec.arms.values()]
            texts = runtime.continued(chat.tokens, injections, spec.seeds, spec.length, spec.temperature)
            words = runtime.words(chat, bank, [spec.concept])[spec.concept]
            doses = runtime.doses_of(injections)
            return runtime, dict(zip(spec.arms, texts, strict=True)), words, doses, len(chat.tokens)

        async with _turns().line(model, (spec.bank, "continuation")):
            with one_line_errors():
                async with _turns().turn(model):
                    runtime, written, words, doses, prompt = await anyio.to_thread.run_sync(write)
        choices, arms = [], []
        for (arm, row), dose in zip(spec.arms.items(), doses, strict=True):
            texts = [runtime.tokenizer.decode(each.tokens) for each in written[arm]]
            arms.append(
                {
                    "arm": arm,
                    "vector": bank[row].label,
                    "strength": _finite(runtime.strength(bank[row])),
                    "dose": _finite(dose),
                    "texts": texts,
                    "mean_logprobs": [each.mean_logprob if each.tokens else None for each in written[arm]],
                    "finite": all(each.finite for each in written[arm]),
                }
            )
            for text in texts:
                message = ChatMessageAssistant(content=text, model=self.model_name, source="generate")
                choices.append(ChatCompletionChoice(message=message, stop_reason="max_tokens"))
        several = sum(len(each.tokens) for texts in written.values() for each in texts)
        return ModelOutput(
            model=self.model_name,
            choices=choices,
            usage=ModelUsage(input_tokens=prompt, output_tokens=several, total_tokens=prompt + several),
            metadata={
                "arms": arms,
                "words": [_finite(word) for word in words],
                "layers": list(bank[0].layers),
                "model": runtime.facts,
            },
        )

    async def _probe(self, input: Sequence[ChatMessage], spec: ProbeSpec) -> ModelOutput:
        """Ask all questions of a prior turn under all arms, and probe the states; there is one choice, without text."""
        bank, model = self._bank(spec.bank), repr(self.checkpoint)
        here = tuple((message.role, message.text) for message in input)
        elsewhere = [tuple((each["role"], each["content"]) for each in turns) for turns in spec.elsewhere]

        def ask(prior: RoleAndContent, question: Mapping[str, Any]) -> _Question:
            turns = tuple((each["role"], each["content"]) for each in question["messages"])
            return self._question(((*prior, *turns), Answers.from_json(question["answers"])), len(prior))

        def probe() -> tuple[Runtime, list[_Question], dict[str, Any]]:
            questions = [ask(here, question) for question in spec.questions]
            priors = [ask(prior, spec.questions[0]).asked.chat.prior_tokens for prior in (here, *elsewhere)]
            runtime = resident(self.checkpoint)
            readings = runtime.answer_states([each.asked for each in questions], bank)
            odds = []
            for each, reading in zip(questions, readings, strict=True):
                answers = each.by_answer(reading.forms.T.double())
                odds.append([yes - no for yes, no in zip(answers["yes"], answers["no"], strict=True)])
            signs = [-1.0 if question["reversed"] else 1.0 for question in spec.questions]
            ends = [runtime.cache_states(prior, bank) for prior in priors]
            return runtime, questions, probe_record(bank, odds, signs, readings, ends)

        async with _turns().line(model, (spec.bank, here)):
            with one_line_errors():
                async with _turns().turn(model):
                    runtime, questions, record = await anyio.to_thread.run_sync(probe)
        message = ChatMessageAssistant(content="(states were read)", model=self.model_name, source="generate")
        several = sum(len(each.asked.chat.tokens) for each in questions)
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="stop")],
            usage=ModelUsage(input_tokens=several, output_tokens=0, total_tokens=several),
            metadata={
                "probe": record,
                "strengths": {each.label: _finite(runtime.strength(each)) for each in bank},
                "forms": {name: [form for form, _ in forms] for name, forms in questions[0].forms.items()},
                "layers": list(bank[0].layers),
                "model": runtime.facts,
                "self_checks": runtime.self_checks(bank).to_json(),
            },
        )

    def _output(
        self,
        runtime: Runtime,
        question: "_Question",
        bank: tuple[Injection, ...],
        spec: TrialSpec,
        readings: Reading,
    ) -> ModelOutput:
        chat, finite, live, doses = question.asked.chat, readings.finite, runtime.live(bank), runtime.doses(bank)
        arms = []
        choices: list[ChatCompletionChoice] = []
        for arm, row in spec.arms.items():
            injection = bank[row]
            record: dict[str, Any] = {
                "arm": arm,
                "vector": injection.label,
                "sha256": runtime.library.sha256(injection.vector)[:16] if injection.vector else None,
                "strength": _finite(runtime.strength(injection)),
                "dose": doses[row],
                "live": live[row],
                "finite": finite[row],
                "logprobs": question.by_form(readings.forms[row]) if finite[row] else None,
            }
            if question.asked.want.lens:
                record["lens"] = question.by_answer(readings.lens[:, row].T)
            arms.append(record)
            if not (spec.silent and choices):
                choices.append(_choice(self.model_name, runtime.tokenizer, readings, row))
        return ModelOutput(
            model=self.model_name,
            choices=choices,
            usage=ModelUsage(input_tokens=len(chat.tokens), output_tokens=1, total_tokens=len(chat.tokens) + 1),
            metadata={
                "arms": arms,
                "forms": {name: [form for form, _ in forms] for name, forms in question.forms.items()},
                "left_out": question.left_out,
                "prior_tokens": chat.prior,
                "question_tokens": len(chat.tokens) - chat.prior,
                "layers": list(bank[0].layers),
                "model": runtime.facts,
                "self_checks": runtime.self_checks(bank).to_json(),
            },
        )

    def _question(self, asking: Asking, prior_messages: int) -> "_Question":
        """A conversation's tokens and its answers'; both are looked up once."""
        key = (asking, prior_messages)
        if key not in self._questions:
            turns, answers = asking
            tokenizer = self.checkpoint.tokenizer
            plain = [{"role": role, "content": content} for role, content in turns]
            chat = tokenize_chat(tokenizer, plain, prior_messages)
            forms, left_out = answers.tokens(tokenizer, chat)
            if len(self._questions) >= REMEMBERED_QUESTIONS:
                self._questions.clear()
            texts, tokens = zip(*(form for each in forms.values() for form in each), strict=True)
            written = Written(turns, prior_messages, texts, answers.first_tokens)
            asked = Asked(chat, Want(tokens, TOP_TOKENS, answers.lens), written)
            self._questions[key] = _Question(asked, forms, left_out)
        return self._questions[key]

    def _bank(self, text: str) -> tuple[Injection, ...]:
        if text not in self._banks:
            self._banks[text] = tuple(Injection.from_json(entry) for entry in json.loads(text))
        return self._banks[text]


@dataclass(frozen=True)
class _Question:
    """A question with the forms of its answers that can be read, and those that were left out."""

    asked: Asked
    forms: Forms
    left_out: list[str]

    def by_form(self, logprobs: Tensor) -> dict[str, list[float]]:
        """Log-probabilities of all forms, [forms], as those of each answer's forms."""
        return {name: part.tolist() for name, part in self._split(logprobs)}

    def by_answer(self, logprobs: Tensor) -> dict[str, list[float]]:
        """Log-probabilities of all forms after every block, [forms, layers], as those of each answer as a whole."""
        return {name: part.logsumexp(dim=0).tolist() for name, part in self._split(logprobs)}

    def _split(self, logprobs: Tensor) -> Iterator[tuple[str, Tensor]]:
        parts = logprobs.split([len(forms) for forms in self.forms.values()])
        yield from zip(self.forms, parts, strict=True)


def _finite(number: float) -> float | None:
    """A number as a record holds it: JSON has none that are not finite."""
    return number if math.isfinite(number) else None


def _show(line: str) -> None:
    """A line about a slow step: in the console, and in the status line of the full-screen display."""
    if display_type() != "none":
        print(f"introbench: {line}", flush=True)
    with suppress(RuntimeError):  # outside of a worker thread there is no running display
        anyio.from_thread.run_sync(display_counter, "introbench", line)


def _end_if_cancelled() -> None:
    """A slow step is given up once its caller was cancelled, rather than run to its end."""
    with suppress(RuntimeError):  # outside of a worker thread there is nobody to cancel
        anyio.from_thread.check_cancelled()


listen(_show)
cancel_by(_end_if_cancelled)

_resident: dict[str, Runtime | InputError] = {}
_current_turns: RunVar[Turns] = RunVar("introbench_turns")


def resident(checkpoint: Checkpoint) -> Runtime:
    """The loaded model; loading another one lets go of the last.

    Raises:
        InputError: It cannot be loaded; later calls say so again without another attempt.
    """
    key = repr(checkpoint)
    if key not in _resident:
        _resident.clear()
        try:
            _resident[key] = Runtime(checkpoint)
        except Exception as error:
            _resident[key] = InputError(
                f"model inject/{checkpoint.name}: cannot be loaded ({first_line(error)}); expected weights that fit "
                f"this machine; see -M dtype, device_map and quantization_config"
                if not isinstance(error, InputError)
                else str(error)
            )
    loaded = _resident[key]
    if isinstance(loaded, InputError):
        raise loaded
    return loaded


def _turns() -> Turns:
    """This event loop's turns."""
    try:
        return _current_turns.get()
    except LookupError:
        _current_turns.set(Turns())
        return _current_turns.get()


def _choice(model: str, tokenizer: Any, readings: Reading, row: int) -> ChatCompletionChoice:
    """One arm as a completion: its most likely token, with the log-probabilities of the top tokens."""
    if not readings.finite[row]:
        message = ChatMessageAssistant(content="(not finite)", model=model, source="generate")
        return ChatCompletionChoice(message=message, stop_reason="unknown")
    top = [
        TopLogprob(token=tokenizer.decode([token]), logprob=logprob)
        for token, logprob in zip(readings.top_ids[row].tolist(), readings.top_logprobs[row].tolist(), strict=True)
    ]
    return ChatCompletionChoice(
        message=ChatMessageAssistant(content=top[0].token, model=model, source="generate"),
        stop_reason="max_tokens",
        logprobs=Logprobs(content=[Logprob(token=top[0].token, logprob=top[0].logprob, top_logprobs=top)]),
    )
