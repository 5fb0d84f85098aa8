"""Inspect model provider `inject/`: one call runs all arms of a trial and returns one choice per arm.

The call's `extra_body` holds an `injection` spec of plain JSON (see `TrialSpec`). Weights are loaded at the first
call, so that re-scoring a log or listing tasks never loads a model, and at most one model is resident.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import anyio.to_thread
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from torch import Tensor

from introbench.engine import Reading, Want
from introbench.engine.continuation import Continuation
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint
from introbench.progress import cancel_by, listen
from introbench.prompts.answers import Answers, Forms
from introbench.prompts.chat import tokenize_chat
from introbench.prompts.tokenized import QuestionSource, TokenizedQuestion
from introbench.provider.calls import (
    TOGETHER,
    Asking,
    ContinuationSpec,
    ProbeSpec,
    RoleAndContent,
    TrialSpec,
)
from introbench.provider.loaded_model import Runtime
from introbench.provider.outputs import arm_choice, finite_or_none
from introbench.provider.probe_record import probe_record
from introbench.provider.resident import (
    RESIDENT,
    current_queue,
    end_if_cancelled,
    one_line_errors,
    resident,
    show,
)
from introbench.steering.injection import Injection

TOP_TOKENS = 4

REMEMBERED_QUESTIONS = 4096


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
    loaded = RESIDENT.get(repr(api.checkpoint))
    if isinstance(loaded, Runtime):
        loaded.begin_run()
    return api.checkpoint


class InjectAPI(ModelAPI):
    """Runs transformers models with steering vectors injected during the prior turn's cache fill.

    Args:
        model_name: `smollm2`, a Hugging Face id, or a local folder.
        base_url: Not used.
        api_key: Not used.
        config: Inspect's generation settings.
        **model_args: `-M` arguments; see `introbench.models.checkpoint.Checkpoint`.
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
        model, together = repr(self.checkpoint), TOGETHER.get()

        def read() -> tuple[Runtime, Reading]:
            def others() -> list[TokenizedQuestion]:
                asked = []
                for conversation in together():
                    # Not every question is asked on every prior turn: a template may refuse a pair that nobody asks.
                    with suppress(InputError):
                        asked.append(self._question(conversation, prior_messages).asked)
                return asked

            runtime = resident(self.checkpoint)
            return runtime, runtime.read(question.asked, bank, others)

        # Those that wait for the same cache fill stand in one line, so that the next fill need not wait for them all.
        async with current_queue().line(model, (spec.bank, turns[:prior_messages])):
            loaded = RESIDENT.get(model)
            if isinstance(loaded, Runtime) and (known := loaded.known(question.asked, bank)):
                return self._output(loaded, question, bank, spec, known)
            with one_line_errors():
                async with current_queue().turn(model):
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

        async with current_queue().line(model, (spec.bank, "continuation")):
            with one_line_errors():
                async with current_queue().turn(model):
                    runtime, written, words, doses, prompt = await anyio.to_thread.run_sync(write)
        choices, arms = [], []
        for (arm, row), dose in zip(spec.arms.items(), doses, strict=True):
            texts = [runtime.tokenizer.decode(each.tokens) for each in written[arm]]
            arms.append(
                {
                    "arm": arm,
                    "vector": bank[row].label,
                    "strength": finite_or_none(runtime.strength(bank[row])),
                    "dose": finite_or_none(dose),
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
                "words": [finite_or_none(word) for word in words],
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

        async with current_queue().line(model, (spec.bank, here)):
            with one_line_errors():
                async with current_queue().turn(model):
                    runtime, questions, record = await anyio.to_thread.run_sync(probe)
        message = ChatMessageAssistant(content="(states were read)", model=self.model_name, source="generate")
        several = sum(len(each.asked.chat.tokens) for each in questions)
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason="stop")],
            usage=ModelUsage(input_tokens=several, output_tokens=0, total_tokens=several),
            metadata={
                "probe": record,
                "strengths": {each.label: finite_or_none(runtime.strength(each)) for each in bank},
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
                "strength": finite_or_none(runtime.strength(injection)),
                "dose": doses[row],
                "live": live[row],
                "finite": finite[row],
                "logprobs": question.by_form(readings.forms[row]) if finite[row] else None,
            }
            if question.asked.want.lens:
                record["lens"] = question.by_answer(readings.lens[:, row].T)
            arms.append(record)
            if not (spec.silent and choices):
                choices.append(arm_choice(self.model_name, runtime.tokenizer, readings, row))
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
            written = QuestionSource(turns, prior_messages, texts, answers.first_tokens)
            asked = TokenizedQuestion(chat, Want(tokens, TOP_TOKENS, answers.lens), written)
            self._questions[key] = _Question(asked, forms, left_out)
        return self._questions[key]

    def _bank(self, text: str) -> tuple[Injection, ...]:
        if text not in self._banks:
            self._banks[text] = tuple(Injection.from_json(entry) for entry in json.loads(text))
        return self._banks[text]


@dataclass(frozen=True)
class _Question:
    """A question with the forms of its answers that can be read, and those that were left out."""

    asked: TokenizedQuestion
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


listen(show)


cancel_by(end_if_cancelled)
