"""A fine-tune of the model that answers: another model, a LoRA adapter, or one that is trained on the spot."""

import hashlib
import importlib.metadata
import json
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from introbench import data
from introbench.cache import cache_dir, write_atomically
from introbench.chat import encode, render
from introbench.checkpoint import Checkpoint, weights_fingerprint, without_progress_bars
from introbench.embedded import is_intact, write_with_digests
from introbench.engine.weights import Weights
from introbench.errors import InputError, first_line
from introbench.progress import heartbeat, tell, tick

PACKAGE = "peft"
INSTALL = f"python -m pip install {PACKAGE}"
TRAINED = "lora:"
"""Begins the name of a fine-tune that is trained on the spot: lora:CONCEPT, or lora:CONCEPT:SEED."""
RANK, ALPHA, EPOCHS, BATCH, LEARNING_RATE = 8, 16, 2, 4, 5e-4
_SAME = (
    "model_type",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "rope_parameters",
)
"""What two models must have in common, so that one can go on from the other's cache."""


@dataclass(frozen=True)
class Finetune:
    """A fine-tune of some base.

    Attributes:
        name: A model id or folder, an adapter's id or folder, or `lora:CONCEPT`.
        base: The model that answers.
    """

    name: str
    base: Checkpoint

    def check(self) -> None:
        """Refuse what does not fit the base, before any weights load.

        Raises:
            InputError: Layers, shapes, position encodings or tokens differ, or there is no such fine-tune.
        """
        if self.name.startswith(TRAINED):
            _concept_and_seed(self.name)
            _require_peft(self.name)
        elif (adapter := self._adapter) is not None:
            _require_peft(self.name)
            self._check_adapter(adapter)
        else:
            self._check_model()

    def load(self, model: PreTrainedModel) -> Weights:
        """The fine-tune's weights, on the base's own where it is an adapter.

        Args:
            model: The loaded base. Training takes its gradients' activations for a few short chats, and the adapter.
        """
        if self.name.startswith(TRAINED):
            return self._trained(model)
        if (adapter := self._adapter) is not None:
            return _with_adapter(model, adapter)
        return Weights(replace(self.base, name=self.name, revision=None).load())

    @property
    def _adapter(self) -> Path | None:
        """The folder of an adapter, or None if the name is that of a whole model."""
        try:
            found = find_adapter_config_file(self.name)
        except OSError:  # there is no such folder or id at all, which is said where the model is looked for
            found = None
        return Path(found).parent if found else None

    def _check_model(self) -> None:
        other = replace(self.base, name=self.name, revision=None)
        for key in _SAME:
            own, theirs = getattr(self.base.config, key, None), getattr(other.config, key, None)
            if own != theirs:
                raise InputError(
                    f"finetune {self.name}: {key} is {theirs}, but {own} in {self.base.name}; expected the same, so "
                    f"that one can go on from the other's cache; choose a fine-tune of this model"
                )
        other.check()
        self._check_tokens(other)

    def _check_tokens(self, other: Checkpoint) -> None:
        own, theirs = self.base.tokenizer.get_vocab(), other.tokenizer.get_vocab()
        differing = sorted(token for token in own.keys() | theirs.keys() if own.get(token) != theirs.get(token))
        texts = [*(question.text for question in data.questions()), data.setting().setting, *data.openings()]
        for text in texts:
            if encode(self.base.tokenizer, text) != encode(other.tokenizer, text):
                differing.append(text)
        if differing:
            first = differing[0]
            raise InputError(
                f"finetune {self.name}: its tokenizer has {theirs.get(first, 'other ids')} for {first!r:.60}, that of "
                f"{self.base.name} {own.get(first, 'other ids')}; expected the same tokens; choose a fine-tune of this "
                f"model"
            )

    def _check_adapter(self, folder: Path) -> None:
        config = json.loads((folder / "adapter_config.json").read_text())
        if config.get("peft_type") != "LORA":
            raise InputError(
                f"finetune {self.name}: is an adapter of type {config.get('peft_type')}; expected LORA; choose "
                f"another, or merge it into a model of its own"
            )
        try:
            path = cached_file(self.name, "adapter_model.safetensors")
        except OSError:
            path = None
        if path is None:
            raise InputError(
                f"finetune {self.name}: no adapter_model.safetensors beside its adapter_config.json; expected one; "
                f"add it"
            )
        modules = dict(self.base.empty().named_modules())
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 (no mapping)
                place, found, _ = key.removeprefix("base_model.model.").partition(".lora_A")
                if not found:
                    continue
                module: Any = modules.get(place)
                width = file.get_slice(key).get_shape()[-1]
                if module is None or getattr(module, "in_features", width) != width:
                    has = "has none there" if module is None else f"has {module.in_features}"
                    raise InputError(
                        f"finetune {self.name}: its adapter is for a map of {width} features at {place}; "
                        f"{self.base.name} {has}; expected an adapter of this model; choose another"
                    )

    def _trained(self, model: PreTrainedModel) -> Weights:
        concept, seed = _concept_and_seed(self.name)
        chats = data.finetuning_chats(concept)
        key = {
            "weights": weights_fingerprint(model),
            "chats": chats,
            "seed": seed,
            "training": [RANK, ALPHA, EPOCHS, BATCH, LEARNING_RATE],
            "peft": importlib.metadata.version(PACKAGE),
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        folder = cache_dir() / "finetunes" / digest[:32]
        if folder.exists():
            if is_intact(folder):
                return _with_adapter(model, folder)
            tell(f"the cached fine-tune {folder} is corrupt; training it again")
        with heartbeat(f"training {self.name} on {len(chats)} chats (once)"):
            name = _train(model, self.base.tokenizer, chats, seed, f"introbench_{digest[:16]}")
        write_atomically(folder, lambda target: write_with_digests(target, lambda place: _save(model, name, place)))
        return Weights(model, lambda: _adapter_on(model, name))


def _concept_and_seed(name: str) -> tuple[str, int]:
    concept, _, seed = name.removeprefix(TRAINED).partition(":")
    words = concept.replace("-", " ").split()
    if not words or not all(word.isalpha() for word in words) or not (seed or "0").isdecimal():
        raise InputError(
            f"finetune {name!r}: expected lora:CONCEPT or lora:CONCEPT:SEED; pass e.g. -T finetune=lora:cats"
        )
    return concept, int(seed or 0)


def _require_peft(name: str) -> None:
    try:
        importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"finetune {name}: the package {PACKAGE} that runs adapters is not installed; run: {INSTALL}"
        ) from None


def _with_adapter(model: PreTrainedModel, folder: Path) -> Weights:
    """Load an adapter into a model and leave it off."""
    name = f"introbench_{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}"
    if name not in getattr(model, "peft_config", {}):
        try:
            with without_progress_bars(), _several_adapters():
                model.load_adapter(str(folder), adapter_name=name)
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"finetune {folder}: cannot be loaded ({first_line(error)}); expected a LoRA adapter of this model; "
                f"choose another"
            ) from error
    _switch_off(model)
    return Weights(model, lambda: _adapter_on(model, name))


@contextmanager
def _adapter_on(model: PreTrainedModel, name: str) -> Iterator[None]:
    model.set_adapter(name)
    model.enable_adapters()
    try:
        yield
    finally:
        _switch_off(model)


@contextmanager
def _several_adapters() -> Iterator[None]:
    """Peft warns of a second adapter on one model; here each is switched on by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        yield


def _switch_off(model: PreTrainedModel) -> None:
    model.disable_adapters()
    model.requires_grad_(False)
    model.eval()


def _train(model: PreTrainedModel, tokenizer: Any, chats: Sequence[Mapping[str, str]], seed: int, name: str) -> str:
    """Train a LoRA (Hu et al. 2021) on the replies of some chats, in float32 order that the seed fixes.

    Returns:
        The adapter's name; it is left off.
    """
    from peft import LoraConfig  # noqa: PLC0415 (an optional extra)

    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        with _several_adapters():
            model.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear"), name)
        model.set_adapter(name)
        try:
            parameters = [p for key, p in model.named_parameters() if f".{name}." in key]
            for parameter in parameters:
                parameter.requires_grad_(True)
            optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
            examples = [_example(tokenizer, chat) for chat in chats]
            losses = []
            for epoch in range(EPOCHS):
                order = random.Random(f"{seed} {epoch}").sample(examples, len(examples))
                for start in range(0, len(order), BATCH):
                    tick()
                    ids, mask, labels = _padded(order[start : start + BATCH], model.device)
                    loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
                    loss.backward()
                    optimiser.step()
                    optimiser.zero_grad()
                    losses.append(float(loss.detach()))
        finally:
            _switch_off(model)
    tell(f"trained in {len(losses)} steps: loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last")
    return name


def _example(tokenizer: Any, chat: Mapping[str, str]) -> tuple[list[int], int]:
    """Token ids of a chat, and where its reply begins."""
    text = render(
        tokenizer, [{"role": "user", "content": chat["prompt"]}, {"role": "assistant", "content": chat["reply"]}]
    )
    tokens = encode(tokenizer, text)
    return list(tokens), len(encode(tokenizer, text[: -len(chat["reply"])]))


def _padded(examples: Sequence[tuple[list[int], int]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels [examples, longest]; only replies have labels."""
    longest = max(len(tokens) for tokens, _ in examples)
    ids, mask = torch.zeros(2, len(examples), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (tokens, begin) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        labels[row, begin : len(tokens)] = torch.tensor(tokens[begin:])
    return ids.to(device), mask.to(device), labels.to(device)


def _save(model: PreTrainedModel, name: str, folder: Path) -> None:
    from peft import get_peft_model_state_dict  # noqa: PLC0415 (an optional extra)
    from safetensors.torch import save_file  # noqa: PLC0415 (only here)

    folder.mkdir(parents=True)
    state = get_peft_model_state_dict(model, adapter_name=name)
    save_file(
        {f"base_model.model.{key}": value.contiguous().cpu() for key, value in state.items()},
        folder / "adapter_model.safetensors",
    )
    model.peft_config[name].save_pretrained(folder)
