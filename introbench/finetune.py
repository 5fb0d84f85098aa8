"""A fine-tune of the model that answers: another model, a LoRA adapter, or one that is trained on the spot."""

import hashlib
import importlib.metadata
import json
import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from packaging.version import Version
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from introbench import data
from introbench.cache import cache_dir, sha256_of, write_atomically
from introbench.chat import encode, render
from introbench.checkpoint import Checkpoint, weights_fingerprint, without_progress_bars
from introbench.embedded import is_intact, write_with_digests
from introbench.engine.architecture import find_parts
from introbench.engine.weights import Weights
from introbench.errors import InputError, first_line
from introbench.progress import heartbeat, tell, tick

PACKAGE = "peft"
OLDEST = "0.20"
INSTALL = f"python -m pip install '{PACKAGE}>={OLDEST}'"
TRAINED = "lora:"
"""Begins the name of a fine-tune that is trained on the spot: lora:CONCEPT, or lora:CONCEPT:SEED."""
RANK, ALPHA, STEPS, BATCH, LEARNING_RATE, LARGEST_GRADIENT = 8, 16, 12, 4, 1e-3, 1.0
"""Of the training: 48 chats are enough for the embedded model to bring up the concept, in about a minute."""
_OURS = "introbench_"
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin an adapter's training that leave the base's own weights as they are."""
_BEYOND_LOW_RANK = (
    "bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_dora",  # transformers 5.23 drops its magnitudes and runs random ones
)
"""What an adapter's configuration may ask for that cannot be switched off again, or not on, on a shared base."""


@dataclass(frozen=True, eq=False)
class TunedWeights(Weights):
    """A fine-tune's weights.

    Attributes:
        fingerprint: Digest of them. (That of a model with adapters is the same whichever of them is on.)
    """

    fingerprint: str = field(default="", repr=False)


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
            _require_peft(self.name)
            concept, _ = _concept_and_seed(self.name)
            _example(self.base.tokenizer, data.finetuning_chats(concept)[0])
        elif self._adapter is not None:
            _require_peft(self.name)
            self._check_adapter(self._adapter)
        else:
            self._check_model()

    def load(self, model: PreTrainedModel) -> TunedWeights:
        """The fine-tune's weights, on the base's own where it is an adapter; the base stays as it is, bit for bit.

        Args:
            model: The loaded base. Training keeps, beside it, the activations of a batch of short chats and four
                float32 copies of the adapter (1 to 2 % of the base's parameters); the base gets no gradients.

        Raises:
            InputError: The adapter cannot be loaded, or its training does not converge.
        """
        if self.name.startswith(TRAINED):
            return self._trained(model)
        if self._adapter is not None:
            return _with_adapter(self.name, model, self._adapter)
        with heartbeat(f"loading {self.name}"):
            placed = getattr(model, "hf_device_map", None) or {}
            # One goes on from the other's cache, so that each block has to stand on the same device.
            same = replace(self._other, device=None, device_map=placed) if len(placed) > 1 else self._other
            other = same.load()
        return TunedWeights(other, fingerprint=weights_fingerprint(other))

    @cached_property
    def _adapter(self) -> Path | None:
        """The folder of an adapter, or None if the name is that of a whole model."""
        try:
            found = find_adapter_config_file(self.name)
        except OSError:  # there is no such folder or id at all, which is said where the model is looked for
            found = None
        return Path(found).parent if found else None

    @cached_property
    def _other(self) -> Checkpoint:
        return replace(self.base, name=self.name, revision=None)

    def _check_model(self) -> None:
        own, theirs = _cache_shape(self.base.config), _cache_shape(self._other.config)
        for key in own:
            if own[key] != theirs[key]:
                raise InputError(
                    f"finetune {self.name}: {key} is {theirs[key]}, but {own[key]} in {self.base.name}; expected the "
                    f"same, so that one can go on from the other's cache; choose a fine-tune of this model"
                )
        self._other.check()
        self._check_tokens()

    def _check_tokens(self) -> None:
        """Refuse other tokens; a fine-tune may have added some at the end, which the base never uses."""
        expected = f"expected the tokens of {self.base.name}; choose a fine-tune of it"
        own, theirs = (
            {number: token for token, number in checkpoint.tokenizer.get_vocab().items()}
            for checkpoint in (self.base, self._other)
        )
        for number in range(min(max(own), max(theirs)) + 1):
            if own.get(number) != theirs.get(number):
                raise InputError(
                    f"finetune {self.name}: its token {number} is {theirs.get(number)!r}, but {own.get(number)!r} in "
                    f"{self.base.name}; {expected}"
                )
        rows = self._other.config.vocab_size
        if rows <= max(own):
            raise InputError(f"finetune {self.name}: has {rows} embeddings for {max(own) + 1} tokens; {expected}")
        for text in _probes():
            ids, other_ids = encode(self.base.tokenizer, text), encode(self._other.tokenizer, text)
            if ids != other_ids:
                at = next((i for i, pair in enumerate(zip(ids, other_ids, strict=False)) if pair[0] != pair[1]), 0)
                raise InputError(
                    f"finetune {self.name}: its tokenizer reads {text[:40]!r} as {list(other_ids[at : at + 3])} from "
                    f"token {at} on, but {list(ids[at : at + 3])} in {self.base.name}; {expected}"
                )

    def _check_adapter(self, folder: Path) -> None:
        config = self._adapter_config(folder)
        shapes = self._adapter_shapes()
        places = self._places(folder)
        for key in sorted(shapes.keys() | places.keys()) if places else ():
            if shapes.get(key) != places.get(key):
                raise InputError(
                    f"finetune {self.name}: its adapter's {key} is {shapes.get(key, 'missing')}, but "
                    f"{places.get(key, 'has no place')} in {self.base.name}; expected an adapter of this model, whole; "
                    f"choose another"
                )
        made_for = config.get("base_model_name_or_path")
        if made_for not in (None, self.base.name, self.base.source):
            tell(f"finetune {self.name} was made for {made_for}; it is used on {self.base.name}")

    def _adapter_config(self, folder: Path) -> Mapping[str, Any]:
        """The adapter's configuration, refused where it asks for more than low-rank maps."""
        try:
            config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            kind = config.get("peft_type")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(
                f"finetune {self.name}: its {_CONFIG} cannot be read ({first_line(error)}); expected JSON as peft "
                f"writes it; save it again"
            ) from None
        if kind != "LORA":
            raise InputError(
                f"finetune {self.name}: is an adapter of type {kind}; expected LORA; choose another, or merge it into "
                f"a model of its own"
            )
        asked = {key: config[key] for key in _BEYOND_LOW_RANK if config.get(key) not in (None, False, "none", [], {})}
        if config.get("init_lora_weights") not in _PLAIN_STARTS:
            asked["init_lora_weights"] = config["init_lora_weights"]
        for key, value in asked.items():
            raise InputError(
                f"finetune {self.name}: its adapter has {key}={value!r}, which cannot be switched on and off on "
                f"a shared base; expected low-rank maps alone; merge it into a model of its own"
            )
        return config

    def _adapter_shapes(self) -> dict[str, list[int]]:
        """Shapes of the adapter's tensors by their names in the model."""
        try:
            path = cached_file(self.name, _WEIGHTS)
        except OSError:
            path = None
        if path is None:
            raise InputError(
                f"finetune {self.name}: no {_WEIGHTS} beside its {_CONFIG}; expected one; save it again with peft"
            )
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                return {name.removeprefix("base_model.model."): file.get_slice(name).get_shape() for name in names}
        except SafetensorError as error:
            raise InputError(
                f"finetune {self.name}: its {_WEIGHTS} is damaged ({first_line(error)}); expected a whole file; get it "
                f"again"
            ) from None

    def _places(self, folder: Path) -> dict[str, list[int]]:
        """Shapes that the base has room for by name; empty if files name them otherwise, so that only loading tells."""
        from peft import PeftConfig, get_peft_model_state_dict, inject_adapter_in_model  # noqa: PLC0415
        from transformers.conversion_mapping import get_model_conversion_mapping  # noqa: PLC0415 (slow to import)
        from transformers.core_model_loading import WeightConverter  # noqa: PLC0415 (as above)

        try:
            empty = self.base.empty()
        except Exception:  # some models compute with their weights while they are built, so this tells nothing
            return {}
        if any(isinstance(each, WeightConverter) for each in get_model_conversion_mapping(empty)):
            return {}
        config = PeftConfig.from_pretrained(str(folder))
        try:
            with _undisturbed():
                inject_adapter_in_model(config, empty, _OURS, low_cpu_mem_usage=True)
        except ValueError as error:
            raise InputError(
                f"finetune {self.name}: does not fit {self.base.name} ({first_line(error)}); expected an adapter of "
                f"this model; choose another"
            ) from error
        state = get_peft_model_state_dict(empty, adapter_name=_OURS, save_embedding_layers=False)
        return {name: list(tensor.shape) for name, tensor in state.items()}

    def _trained(self, model: PreTrainedModel) -> TunedWeights:
        concept, seed = _concept_and_seed(self.name)
        examples = [_example(self.base.tokenizer, chat) for chat in data.finetuning_chats(concept)]
        key = {
            "weights": _own_fingerprint(model),
            "examples": examples,  # as tokens: another chat template is another training
            "seed": seed,
            "training": [RANK, ALPHA, STEPS, BATCH, LEARNING_RATE, LARGEST_GRADIENT],
            "peft": importlib.metadata.version(PACKAGE),
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        folder = cache_dir() / "finetunes" / digest[:32]
        if folder.exists():
            if is_intact(folder):
                return _with_adapter(self.name, model, folder)
            tell(f"the cached fine-tune {folder} is corrupt; training it again")
        with heartbeat(f"training {self.name} on {STEPS * BATCH} short chats (once)"):
            config, state = _train(self.name, model, examples, seed)

        def write(target: Path) -> None:
            write_with_digests(target, lambda place: _save(config, state, place))

        # Loaded from a file even now, so that a fine-tune that was kept is the same numbers to the last bit.
        if write_atomically(folder, write) is not None:
            return _with_adapter(self.name, model, folder)
        with tempfile.TemporaryDirectory(prefix="introbench-") as place:
            write(Path(place) / "adapter")
            return _with_adapter(self.name, model, Path(place) / "adapter")


def _cache_shape(config: Any) -> dict[str, Any]:
    """What two models must have in common, so that one can go on from the other's cache."""
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


def _probes() -> list[str]:
    """The battery's own texts."""
    setting = data.setting()
    documents = [
        " ".join([document.text, document.words, *document.sentences, *document.fillers])
        for document in data.documents().values()
    ]
    formats = [f"{form.instruction} {form.prefill}" for form in data.answer_formats().values()]
    questions = [question.text for question in data.questions()]
    return [*questions, setting.setting, *setting.location.values(), setting.reply, *formats, *documents]


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
        installed = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"finetune {name}: the package {PACKAGE} that runs adapters is not installed; run: {INSTALL}"
        ) from None
    if Version(installed) < Version(OLDEST):
        raise InputError(
            f"finetune {name}: {PACKAGE} {installed} is too old; expected {OLDEST} or newer; run: {INSTALL}"
        )


def _own_fingerprint(model: PreTrainedModel) -> str:
    """Digest of the base's own weights, whatever adapters have been put on it."""
    own = {
        name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items() if ".lora_" not in name
    }
    bare = SimpleNamespace(state_dict=lambda: own, name_or_path=model.name_or_path)
    return weights_fingerprint(cast(PreTrainedModel, bare))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let adapters be made or loaded without a trace: in random numbers, in the display, or as inference tensors."""
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=[]),  # adapters are drawn on the CPU
        without_progress_bars(),
        warnings.catch_warnings(),
    ):
        # e.g. of a second adapter on one model; here each is switched on by itself
        warnings.filterwarnings("ignore", category=UserWarning, module=PACKAGE)
        yield


def _with_adapter(name: str, model: PreTrainedModel, folder: Path) -> TunedWeights:
    """Load an adapter into a model and leave it off."""
    others = [key for key in getattr(model, "peft_config", {}) if not key.startswith(_OURS)]
    if others:
        raise InputError(
            f"finetune {name}: the base has an adapter of its own, {others[0]!r}; expected plain weights; merge the two"
        )
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    rest = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
    digest = hashlib.sha256((sha256_of(folder / _WEIGHTS) + json.dumps(rest, sort_keys=True)).encode()).hexdigest()
    adapter = _OURS + digest[:16]
    if adapter not in getattr(model, "peft_config", {}):
        _load_adapter(name, model, folder, adapter)
    fingerprint = hashlib.sha256(f"{_own_fingerprint(model)} {digest}".encode()).hexdigest()
    return TunedWeights(model, lambda: _adapter_on(model, adapter), fingerprint)


def _load_adapter(name: str, model: PreTrainedModel, folder: Path, adapter: str) -> None:
    expected = "expected a LoRA adapter of this model, whole; choose another"
    is_whole = False
    try:
        with _undisturbed():
            info: Any = model.load_adapter(str(folder), adapter_name=adapter)
        # transformers reports these rather than raise, and runs what is missing as random numbers. Tensors of adapters
        # that are there already count as missing too.
        missing = [key for key in info.missing_keys if f".{adapter}." in key]
        wrong = sorted(map(str, [*missing, *info.unexpected_keys, *info.mismatched_keys]))
        if wrong:
            raise InputError(f"finetune {name}: {len(wrong)} tensors are amiss, first {wrong[0]}; {expected}")
        is_whole = True
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"finetune {name}: cannot be loaded ({first_line(error)}); {expected}") from error
    finally:
        _switch_off(model)
        if not is_whole:
            _drop(model, adapter)


@contextmanager
def _adapter_on(model: PreTrainedModel, adapter: str) -> Iterator[None]:
    try:
        model.set_adapter(adapter)
        model.enable_adapters()
        yield
    finally:
        _switch_off(model)


def _switch_off(model: PreTrainedModel) -> None:
    if getattr(model, "_hf_peft_config_loaded", False):
        model.disable_adapters()
    model.requires_grad_(False)


def _drop(model: PreTrainedModel, adapter: str) -> None:
    if adapter in getattr(model, "peft_config", {}):
        model._hf_peft_config_loaded = True  # not yet set if peft failed while it put the adapter in
        model.disable_adapters()
        with _undisturbed():
            model.delete_adapter(adapter)


Example = tuple[tuple[int, ...], int]
"""Token ids of a chat, and where its reply begins."""


def _example(tokenizer: Any, chat: Mapping[str, str]) -> Example:
    messages = [{"role": "user", "content": chat["prompt"]}, {"role": "assistant", "content": chat["reply"]}]
    text = render(tokenizer, messages)
    return encode(tokenizer, text), len(encode(tokenizer, text[: -len(chat["reply"])]))


def _train(name: str, model: PreTrainedModel, examples: Sequence[Example], seed: int) -> tuple[Any, dict[str, Tensor]]:
    """Train a LoRA (Hu et al. 2021) on all linear maps of the blocks, on the replies of some chats.

    The adapter is float32 whatever the base is, and the same to the last bit for the same seed on a CPU. The model
    stays in evaluation mode, and is left without the adapter.

    Returns:
        The adapter's configuration, and its tensors by name.

    Raises:
        InputError: The loss is no longer finite.
    """
    from peft import LoraConfig, get_peft_model_state_dict  # noqa: PLC0415 (an optional extra)

    adapter = f"{_OURS}training"
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    losses: list[float] = []
    try:
        with _undisturbed(), torch.enable_grad():
            torch.default_generator.manual_seed(seed)
            model.add_adapter(config, adapter)
            model.enable_adapters()  # maps that had an adapter before were left switched off
            parameters = [parameter for key, parameter in model.named_parameters() if f".{adapter}." in key]
            for parameter in parameters:
                parameter.data = parameter.data.float()
            device = find_parts(model).device
            optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
            for batch in _batches(examples, seed):
                tick()
                ids, mask, labels = _padded(batch, device)
                loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
                optimiser.step()
                optimiser.zero_grad()
                losses.append(float(loss.detach()))
                if not torch.isfinite(loss):
                    raise InputError(
                        f"finetune {name}: loss {losses[-1]} at step {len(losses)}; expected a finite one; load the "
                        f"base with -M dtype=float32"
                    )
            state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
            state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    finally:
        _drop(model, adapter)
        _switch_off(model)
    tell(f"trained in {len(losses)} steps: loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last")
    return config, state


def _batches(examples: Sequence[Example], seed: int) -> Iterator[Sequence[Example]]:
    """Batches of examples in a random order that the seed fixes, each example as often as any other, or once more."""
    draw = random.Random(seed)
    order: list[Example] = []
    while len(order) < STEPS * BATCH:
        order += draw.sample(examples, len(examples))
    for step in range(STEPS):
        yield order[step * BATCH : (step + 1) * BATCH]


def _padded(examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels [examples, longest]; only replies have labels."""
    longest = max(len(tokens) for tokens, _ in examples)
    ids, mask = torch.zeros(2, len(examples), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (tokens, begin) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        labels[row, begin : len(tokens)] = torch.tensor(tokens[begin:])
    return ids.to(device), mask.to(device), labels.to(device)


def _save(config: Any, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write an adapter as peft does, so that other programs can load it too."""
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    tensors = {f"base_model.model.{key}": value for key, value in state.items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
