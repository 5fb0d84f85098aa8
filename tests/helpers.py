"""What tests of many folders use: a task run as a user would, and passes of transformers to compare numbers with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from inspect_ai import eval
from inspect_ai.log import EvalLog, EvalSample
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from introbench.analysis.named_values import named_values
from introbench.report.log import scored_trials


def evaluate(
    task: str, folder: Path, logs: Path, model_args: dict[str, Any] | None = None, **arguments: object
) -> EvalLog:
    """Run a task on the model in a folder as a user would; arguments that are Inspect's go there.

    Inspect writes the log once, at the end: its database of running samples takes a third of the time of a tiny model's
    evaluation.
    """
    options = {key: arguments.pop(key) for key in ("limit", "sample_id", "sample_shuffle") if key in arguments}
    (log,) = eval(
        f"introbench/{task}",
        model=f"inject/{folder}",
        model_args=model_args or {},
        task_args=arguments,
        log_dir=str(logs),
        display="none",
        log_realtime=False,
        score_display=False,
        **options,  # type: ignore[arg-type]
    )
    return log


def numbers(log: EvalLog) -> dict[str, float]:
    """Every number of a log by name: its metrics, and all that its trials say, of which the metrics are a part."""
    assert log.results
    metrics = {name: metric.value for each in log.results.scores for name, metric in each.metrics.items()}
    (scorer,) = {name.rpartition("/")[2] for sample in log.samples or [] for name in sample.scores or {}}
    named = named_values(scorer, scored_trials(log.samples or [], scorer))
    assert all(repr(float(metrics[name])) == repr(float(named[name])) for name in metrics.keys() & named.keys())
    return named | metrics


def two_passes(
    model: PreTrainedModel,
    prior: list[int],
    question: list[int],
    added: dict[int, torch.Tensor],
    filler: PreTrainedModel | None = None,
    to_the_end: bool = False,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Log-probabilities by transformers alone: its cache is filled in one pass and continued in another.

    Shares no code with the engine. For models whose blocks return a tensor, as Llama's do.

    Returns:
        Log-probabilities of the next token from the model's own logits, [vocabulary], and by the logit lens after each
        block.
    """
    cache = DynamicCache()

    def steered(layers: Sequence[torch.nn.Module]) -> list[RemovableHandle]:
        return [
            layers[number].register_forward_hook(lambda _m, _a, output, add=add: output + add)
            for number, add in added.items()
        ]

    seen: list[torch.Tensor] = []
    with torch.inference_mode():
        handles = steered((filler or model).model.layers)
        (filler or model)(torch.tensor([prior]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        for handle in handles:
            handle.remove()
        handles = steered(model.model.layers) if to_the_end else []
        handles += [
            layer.register_forward_hook(lambda _m, _a, output: seen.append(output[0, -1]))
            for layer in model.model.layers
        ]
        logits = model(torch.tensor([question]), past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        for handle in handles:
            handle.remove()
        lens = [torch.log_softmax(model.lm_head(model.model.norm(residual)).double(), dim=-1) for residual in seen]
    return torch.log_softmax(logits.double(), dim=-1), lens


def tokens_of(tokenizer: PreTrainedTokenizerFast, sample: EvalSample) -> tuple[list[int], list[int]]:
    """Token ids of a sample's prior turn and of its question, from its messages."""
    count = len(sample.input)
    messages = [{"role": m.role, "content": m.text} for m in sample.messages[:count]]
    text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    prior = tokenizer.apply_chat_template(messages[: sample.metadata["prior_messages"]], tokenize=False)
    tokens, first = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (text, prior))
    return first, tokens[len(first) :]


def logits(model: PreTrainedModel) -> torch.Tensor:
    """A model's logits for a few tokens, [1, tokens, vocabulary]."""
    with torch.inference_mode():
        return model(torch.tensor([[5, 9, 33, 2, 71, 18]])).logits
