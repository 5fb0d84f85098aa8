"""LoRA adapters, which share the weights of their base: found, checked, loaded, saved."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import Version
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from introbench.engine.weights import Weights
from introbench.errors import InputError, first_line, shown
from introbench.models.checkpoint import Checkpoint
from introbench.models.disk_cache import sha256_of
from introbench.models.finite_weights import broken_tensor
from introbench.models.lora_switch import (
    PACKAGE,
    base_fingerprint,
    beside_its_base,
    drop,
    make_room,
    switch_off,
    switched_on,
    undisturbed,
)
from introbench.models.source import Source
from introbench.progress import tell

OLDEST = "0.20"
"""Oldest version of it that is accepted."""

INSTALL = f"python -m pip install '{PACKAGE}>={OLDEST}'"

OURS = "introbench_"
"""Begins the names of the adapters that are put on a base here."""

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_IN_FILE = "base_model.model."
"""Begins the names of tensors in an adapter's file; names in the model do not have it."""

_HARMLESS_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the weights of the base as they are."""

_BEYOND_LOW_RANK = (
    "bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_dora",  # transformers 5.23 drops its magnitudes and runs random ones
)
"""Keys of an adapter's configuration that ask for what cannot be switched on and off on a shared base."""


@dataclass(frozen=True, eq=False)
class TunedWeights(Weights):
    """A fine-tune's weights.

    Attributes:
        fingerprint: Digest of the base's weights and of the adapter, or of the fine-tuned model's weights.
    """

    fingerprint: str = field(default="", repr=False)


def require_peft(name: str) -> None:
    """Refuse a fine-tune where the package that runs adapters is not installed.

    Args:
        name: The fine-tune that needs it.

    Raises:
        InputError: The package is missing or too old.
    """
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


@dataclass(frozen=True)
class Adapter:
    """An adapter in a folder.

    Attributes:
        name: The name that the user gave: an id, a folder, or that of an adapter to train.
        folder: Where its configuration is.
        source: Where its weights are fetched from; None if they are in the folder.
    """

    name: str
    folder: Path
    source: Source | None = None

    @classmethod
    def find(cls, name: str, source: Source) -> "Adapter | None":
        """The adapter that is in a place; None if that is a whole model's.

        Args:
            name: The name that the user gave.
            source: The place.
        """
        try:
            config = find_adapter_config_file(source.place, revision=source.revision)
        except OSError:  # there is no such folder or id at all; loading it as a model says so
            config = None
        return cls(name, Path(config).parent, source) if config else None

    def check(self, base: Checkpoint) -> None:
        """Refuse an adapter that does not fit a base, before any weights load.

        Raises:
            InputError: The adapter does not fit, is damaged, or has more than low-rank maps.
        """
        require_peft(self.name)
        config = self._config()
        places, renamed = self._places(base)
        shapes = {renamed(name): shape for name, shape in self._shapes().items()}
        for key in sorted(shapes.keys() | places.keys()) if places else ():
            if shapes.get(key) != places.get(key):
                raise InputError(
                    f"finetune {shown(self.name)}: its adapter's {key} is {shapes.get(key, 'missing')}, but "
                    f"{places.get(key, 'has no place')} in {shown(base.name)}; expected an adapter of this model, "
                    f"whole; choose another"
                )
        made_for = config.get("base_model_name_or_path")
        if made_for not in (None, base.name, base.source):
            tell(f"finetune {self.name} was made for {made_for}; it is used on {base.name}")

    def load(self, model: PreTrainedModel) -> TunedWeights:
        """Put the adapter on a model, unless it is there already, and leave it switched off.

        Raises:
            InputError: Tensors are missing or do not fit, or the model came with an adapter.
        """
        others = [key for key in getattr(model, "peft_config", {}) if not key.startswith(OURS)]
        if others:
            raise InputError(
                f"finetune {self.name}: the base has an adapter of its own, {others[0]!r}; expected weights without "
                f"one; merge the two"
            )
        config = json.loads((self.folder / _CONFIG).read_text(encoding="utf-8"))
        sorted_config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
        weights = sha256_of(self.folder / _WEIGHTS)
        digest = hashlib.sha256((weights + json.dumps(sorted_config, sort_keys=True)).encode()).hexdigest()
        adapter = OURS + digest[:16]

        def put_on() -> None:
            if adapter not in getattr(model, "peft_config", {}):
                make_room(model, config.get("target_parameters"))
                self._put_on(model, adapter)

        put_on()
        fingerprint = hashlib.sha256(f"{base_fingerprint(model)} {digest}".encode()).hexdigest()
        return TunedWeights(model, lambda: switched_on(model, adapter, put_on), fingerprint)

    def _config(self) -> Mapping[str, Any]:
        """The configuration, refused where it asks for more than low-rank maps."""
        try:
            config: dict[str, Any] = json.loads((self.folder / _CONFIG).read_text(encoding="utf-8"))
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
        if config.get("init_lora_weights") not in _HARMLESS_STARTS:
            asked["init_lora_weights"] = config["init_lora_weights"]
        for key, value in asked.items():
            raise InputError(
                f"finetune {self.name}: its adapter has {key}={value!r}, which cannot be switched on and off on "
                f"a shared base; expected low-rank maps alone; merge it into a model of its own"
            )
        return config

    def _shapes(self) -> dict[str, list[int]]:
        """Shapes of the adapter's tensors, by their names in the model."""
        try:
            source = self.source or Source(str(self.folder))
            path = cached_file(source.place, _WEIGHTS, revision=source.revision)
        except OSError:
            path = None
        if path is None:
            raise InputError(
                f"finetune {self.name}: no {_WEIGHTS} beside its {_CONFIG}; expected one; save it again with peft"
            )
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                return {name.removeprefix(_IN_FILE): file.get_slice(name).get_shape() for name in names}
        except SafetensorError as error:
            raise InputError(
                f"finetune {self.name}: its {_WEIGHTS} is damaged ({first_line(error)}); expected a whole file; get it "
                f"again"
            ) from None

    def _places(self, base: Checkpoint) -> tuple[dict[str, list[int]], Callable[[str], str]]:
        """What a base has a place for: shapes by name, and what makes such a name of one in an adapter's file.

        Files may be older than the names that transformers has for a model's parameters today, which it maps. There are
        no places for models of which it puts several tensors of a file together.
        """
        from peft import PeftConfig, get_peft_model_state_dict, inject_adapter_in_model  # noqa: PLC0415
        from transformers.conversion_mapping import get_model_conversion_mapping  # noqa: PLC0415 (slow to import)
        from transformers.core_model_loading import (  # noqa: PLC0415 (as above)
            WeightConverter,
            WeightRenaming,
            rename_source_key,
        )

        try:
            empty = base.empty()
        except Exception:  # some models compute with their weights while they are built, which fails without any
            return {}, str
        mapping = get_model_conversion_mapping(empty)
        if any(isinstance(entry, WeightConverter) for entry in mapping):
            return {}, str
        renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        config = PeftConfig.from_pretrained(str(self.folder))
        try:
            with undisturbed():
                inject_adapter_in_model(config, empty, OURS, low_cpu_mem_usage=True)
        except ValueError as error:
            raise InputError(
                f"finetune {self.name}: does not fit {base.name} ({first_line(error)}); expected an adapter of "
                f"this model; choose another"
            ) from error
        state = get_peft_model_state_dict(empty, adapter_name=OURS, save_embedding_layers=False)
        places = {name: list(tensor.shape) for name, tensor in state.items()}

        def renamed(name: str) -> str:
            if name in places:
                return name
            return str(rename_source_key(name, renamings, [], empty.base_model_prefix, places)[0])

        return places, renamed

    def _put_on(self, model: PreTrainedModel, adapter: str) -> None:
        """Load the adapter into a model under a name; where that fails, nothing of it stays on the model."""
        expected = "expected a LoRA adapter of this model, whole; choose another"
        is_whole = False
        try:
            with undisturbed(), beside_its_base(model):
                info: Any = model.load_adapter(str(self.folder), adapter_name=adapter)
            # transformers reports these rather than raise, and puts random numbers in place of what is missing. It also
            # reports the tensors of adapters that are on the model already as missing.
            missing = [key for key in info.missing_keys if f".{adapter}." in key]
            wrong = sorted(map(str, [*missing, *info.unexpected_keys, *info.mismatched_keys]))
            if wrong:
                raise InputError(f"finetune {self.name}: {len(wrong)} tensors are amiss, first {wrong[0]}; {expected}")
            own = ((key, tensor) for key, tensor in model.state_dict().items() if f".{adapter}." in key)
            if broken := broken_tensor(own):
                raise InputError(
                    f"finetune {self.name}: {broken} holds values that are not finite; expected numbers; get it again"
                )
            is_whole = True
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"finetune {self.name}: cannot be loaded ({first_line(error)}); {expected}") from error
        finally:
            switch_off(model)
            if not is_whole:
                drop(model, adapter)


def save_adapter(config: Any, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write an adapter in the format of peft, so that other programs can load it too.

    Args:
        config: Its configuration, as peft has it.
        state: Its tensors, by their names in the model.
        folder: The folder to make.
    """
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    tensors = {f"{_IN_FILE}{key}": value for key, value in state.items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
