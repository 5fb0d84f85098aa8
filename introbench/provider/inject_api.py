"""Inspect model provider `inject/`: one call runs all arms of a trial and returns one record per arm.

The call's `extra_body` holds a spec of plain JSON (see `introbench.provider.calls`). Weights are loaded when a
task is planned, or at the first call, so that scoring a log again or listing tasks never loads a model, and at most one
model is resident.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, get_model
from inspect_ai.tool import ToolChoice, ToolInfo

from introbench.errors import InputError, shown
from introbench.models.checkpoint import Checkpoint
from introbench.provider.arm_batches import arm_batch
from introbench.provider.calls import ContinuationSpec, ProbeSpec, SamplingSpec, TrialSpec
from introbench.provider.questions import Questions
from introbench.provider.resident import begin_run, one_line_errors
from introbench.provider.run_continuation import run_continuation
from introbench.provider.run_probe import run_probe
from introbench.provider.run_sampling import run_sampling
from introbench.provider.run_trial import run_trial
from introbench.typed_values import expect_type, in_words


class InjectAPI(ModelAPI):
    """Runs transformers models with steering vectors injected during the prior turn's cache fill.

    Args:
        model_name: `smollm2`, a Hugging Face id, or a local folder.
        base_url: A vLLM server that runs, with `-M engine=vllm`.
        api_key: Not used.
        config: Inspect's generation settings.
        **model_args: `-M` arguments; see `introbench.models.checkpoint.Checkpoint`.

    Attributes:
        checkpoint: The model, without its weights.
        questions: What it was asked, tokenised.
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
        with one_line_errors():
            _check_types(model_args)
            if base_url is not None:
                model_args["base_url"] = base_url
            self.checkpoint = Checkpoint(model_name, **model_args)
        self._questions: Questions | None = None

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Run all arms of one trial; the output's metadata have a record of each."""
        body = config.extra_body or {}
        messages = tuple((message.role, message.text) for message in input)
        if "continuation" in body:
            continuation = ContinuationSpec(**body["continuation"])
            return await run_continuation(self, messages, continuation, arm_batch(continuation.arm_batch))
        if "sampling" in body:
            sampling = SamplingSpec(**body["sampling"])
            return await run_sampling(self, messages, sampling, arm_batch(sampling.arm_batch))
        if "probe" in body:
            probe = ProbeSpec(**body["probe"])
            return await run_probe(self, messages, probe, arm_batch(probe.arm_batch))
        trial = TrialSpec.from_json(body.get("injection"))
        return await run_trial(self, messages, trial, arm_batch(trial.arm_batch))

    @property
    def questions(self) -> Questions:
        """What the model was asked, tokenised."""
        if self._questions is None:
            self._questions = Questions(self.checkpoint.tokenizer)
        return self._questions


def _check_types(model_args: Mapping[str, object]) -> None:
    """Refuse model arguments that are unknown, null, or of another type than `Checkpoint` says.

    Raises:
        InputError: An argument is not as it should be.
    """
    hints = get_type_hints(Checkpoint)
    known = [field.name for field in fields(Checkpoint) if field.name != "name"]
    for name, value in model_args.items():
        if name not in known:
            raise InputError(f"-M {shown(name)}: unknown; expected one of {', '.join(known)}; correct it")
        if value is None:
            raise InputError(f"-M {name}=null: expected a value; leave {name} out to have its default")
        quoted = f"""; text that YAML reads otherwise is quoted: -M '{name}="1"'"""
        advice = "correct it" + (quoted if "text" in in_words(hints[name]) else "")
        expect_type(f"-M {name}", value, hints[name], advice)


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
    begin_run(api.checkpoint)
    return api.checkpoint
