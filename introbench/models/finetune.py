"""A fine-tune of the model that answers: another model, a LoRA adapter, or an adapter that is trained on first use."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel

from introbench.errors import InputError, shown
from introbench.models.checkpoint import Checkpoint, weights_fingerprint
from introbench.models.lora_adapter import Adapter, TunedWeights
from introbench.models.lora_training import TRAINED, check_training, trained
from introbench.models.source import Source, source_of
from introbench.progress import step
from introbench.prompts import data
from introbench.prompts.chat import encode

__all__ = ["Finetune", "TunedWeights"]


@dataclass(frozen=True)
class Finetune:
    """A fine-tune by name.

    Attributes:
        name: A model's or an adapter's id or folder, with a subfolder and a revision if need be (see
            `introbench.models.source`), or `lora:CONCEPT`.
        base: The model that it is a fine-tune of, which answers.
    """

    name: str
    base: Checkpoint

    def check(self) -> None:
        """Refuse a fine-tune that does not fit the base, before any weights load.

        Raises:
            InputError: There is no such fine-tune, its layers, shapes, position encoding or tokens differ, or the
                engine has one set of weights.
        """
        if self.base.engine != "transformers":
            raise InputError(
                f"finetune {self.name}: -M engine={self.base.engine} runs one set of weights; expected both in one "
                f"process; leave -M engine out"
            )
        if self.name.startswith(TRAINED):
            check_training(self.name, self.base.tokenizer)
        elif self._adapter is not None:
            self._adapter.check(self.base)
        else:
            self._check_model()

    def load(self, model: PreTrainedModel) -> TunedWeights:
        """Load the fine-tune's weights; an adapter is put on the base, whose weights stay as they are, bit for bit.

        Args:
            model: The loaded base. Training an adapter takes memory for the activations of a batch of short chats and
                for four float32 copies of the adapter (1 to 2 % of the base's parameters).

        Raises:
            InputError: The adapter cannot be loaded, or its training does not converge.
        """
        if self.name.startswith(TRAINED):
            return trained(self.name, model, self.base.tokenizer)
        if self._adapter is not None:
            return self._adapter.load(model)
        with step(f"loading {self.name}"):
            device_map = getattr(model, "hf_device_map", None) or {}
            # The base answers from the cache that the fine-tune fills, so a block of both has to be on one device.
            placed = replace(self._other, device=None, device_map=device_map) if len(device_map) > 1 else self._other
            finetuned = placed.load()
        return TunedWeights(finetuned, fingerprint=weights_fingerprint(finetuned))

    @cached_property
    def _source(self) -> Source:
        return source_of(self.name)

    @cached_property
    def _adapter(self) -> Adapter | None:
        return Adapter.find(self.name, self._source)

    @cached_property
    def _other(self) -> Checkpoint:
        return replace(self.base, name=self._source.place, revision=self._source.revision)

    def _check_model(self) -> None:
        base, finetuned = _cache_shape(self.base.config), _cache_shape(self._other.config)
        for key in base:
            if base[key] != finetuned[key]:
                raise InputError(
                    f"finetune {self.name}: {key} is {shown(finetuned[key])}, but {shown(base[key])} in the base; "
                    f"expected the same, so that one can go on from the other's cache; choose another"
                )
        self._other.check()
        self._check_tokens()

    def _check_tokens(self) -> None:
        """Refuse other tokens; a fine-tune may have more of them at the end, which the base never uses."""
        expected = f"expected the tokens of {self.base.name}; choose a fine-tune of it"
        base, finetuned = (
            {number: token for token, number in checkpoint.tokenizer.get_vocab().items()}
            for checkpoint in (self.base, self._other)
        )
        for number in range(min(max(base), max(finetuned)) + 1):
            if base.get(number) != finetuned.get(number):
                raise InputError(
                    f"finetune {self.name}: its token {number} is {finetuned.get(number)!r}, but {base.get(number)!r} "
                    f"in {self.base.name}; {expected}"
                )
        rows = self._other.config.vocab_size
        if rows <= max(base):
            raise InputError(f"finetune {self.name}: has {rows} embeddings for {max(base) + 1} tokens; {expected}")
        for text in _battery_texts():
            ids, other_ids = encode(self.base.tokenizer, text), encode(self._other.tokenizer, text)
            if ids != other_ids:
                at = next((i for i, pair in enumerate(zip(ids, other_ids, strict=False)) if pair[0] != pair[1]), 0)
                raise InputError(
                    f"finetune {self.name}: its tokenizer reads {text[:40]!r} as {list(other_ids[at : at + 3])} from "
                    f"token {at} on, but {list(ids[at : at + 3])} in {self.base.name}; {expected}"
                )


def _cache_shape(config: Any) -> dict[str, Any]:
    """The values of a configuration that two models must share, so that one can answer from the other's cache."""
    heads = config.num_attention_heads
    return {
        "model_type": config.model_type,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_attention_heads": heads,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "rope_parameters": getattr(config, "rope_parameters", None),
    }


def _battery_texts() -> list[str]:
    """All texts of which the battery's conversations are made."""
    setting = data.setting()
    documents = [
        " ".join([document.text, document.words, *document.sentences, *document.fillers])
        for document in data.documents().values()
    ]
    formats = [f"{form.instruction} {form.prefill}" for form in data.answer_formats().values()]
    questions = [question.text for question in data.questions()]
    return [*questions, setting.setting, *setting.location.values(), setting.reply, *formats, *documents]
