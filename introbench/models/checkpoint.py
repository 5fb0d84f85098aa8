"""A model by name: finds it, refuses what can be refused without its weights, and loads these when they are needed."""

import copy
import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from introbench.engine.architecture import find_parts
from introbench.engine.memory import parse_budget
from introbench.engine.products import PRODUCTS, can_multiply
from introbench.errors import InputError, first_line
from introbench.models import smollm2
from introbench.models.engine_options import refuse_options_of_another_engine
from introbench.models.finite_weights import broken_part, dense_tensors
from introbench.models.loadable import check_loadable
from introbench.models.loaders import loader_of, without_progress_bars, without_warnings
from introbench.progress import tell
from introbench.prompts.template import CHATML, Prepared, parse_date, prepare, template_text

DTYPES = ("float32", "bfloat16", "float16", "auto")
"""Values of `-M dtype`; `auto` is the dtype in which the checkpoint is stored."""


@dataclass(frozen=True)
class Checkpoint:
    """A model by name, with the options that decide how its weights are loaded.

    Attributes:
        name: `smollm2` (the embedded model), a Hugging Face id, or a local folder.
        dtype: One of `DTYPES`; None is float32 on a CPU and the dtype of the checkpoint elsewhere.
        device: Where to put the model, e.g. `cuda:1`; None is the first GPU, or the CPU.
        device_map: Passed to transformers, e.g. `auto` for several GPUs; excludes `device`.
        revision: Branch, tag or commit on the Hub.
        attn_implementation: Passed to transformers, e.g. `sdpa` or `eager`.
        quantization_config: Passed to transformers as it is.
        trust_remote_code: Whether code from the model's repository may run; off unless asked for.
        chat_template: Jinja chat template to use instead of the model's own: a file, or `chatml` for the shipped one
            (for models such as Qwen3, whose own template rewrites earlier turns).
        memory: GiB that forward passes and their caches may take; by default half of what is free on the GPU once the
            model is there, or half of the machine's memory.
        products: How linear maps are computed in float32 on an x86 CPU, one of `engine.products.PRODUCTS`; None is the
            fastest, by measurement.
        template_date: The date that the chat template writes in place of today's, as YEAR-MONTH-DAY; None is that of
            `introbench.prompts.template.DEFAULT_DATE`.
        engine: What runs the model, one of `engine_options.ENGINES`.
        vllm: Further arguments of `vllm serve` for a server that is started, by name without the dashes, as
            `{tensor-parallel-size: 8}`.
        base_url: A vLLM server that runs; None to start one on this machine. Inspect has an option of its own for it,
            `--model-base-url`.
    """

    name: str
    dtype: str | None = None
    device: str | None = None
    device_map: Any = None
    revision: str | None = None
    attn_implementation: str | None = None
    quantization_config: Any = None
    trust_remote_code: bool = False
    chat_template: str | None = None
    memory: float | None = None
    products: str | None = None
    template_date: Any = None
    engine: str = "transformers"
    vllm: Any = None
    base_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other or name nothing, before anything is loaded."""
        parse_budget(self.memory)
        if self.template_date is not None:
            object.__setattr__(self, "template_date", parse_date(self.template_date))
        if self.dtype is not None and self.dtype not in DTYPES:
            raise InputError(f"dtype={self.dtype!r}: expected one of {', '.join(DTYPES)}; pass e.g. -M dtype=bfloat16")
        if self.products is not None and self.products not in PRODUCTS:
            raise InputError(
                f"products={self.products!r}: expected one of {', '.join(PRODUCTS)}; pass e.g. -M products=onednn"
            )
        if self.device is not None and self.device_map is not None:
            raise InputError(
                f"device={self.device!r} with device_map={self.device_map!r}: expected one of the two; drop one"
            )
        refuse_options_of_another_engine(self.engine, vars(self))
        if self.chat_template not in (None, CHATML) and not Path(str(self.chat_template)).is_file():
            raise InputError(f"chat_template={self.chat_template!r}: no such file; expected a Jinja file or {CHATML}")

    @cached_property
    def source(self) -> str:
        """The folder or Hub id that transformers loads."""
        return str(smollm2.embedded_model_folder()) if self.name == smollm2.NAME else self.name

    @property
    def _where(self) -> dict[str, Any]:
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    @cached_property
    def config(self) -> Any:
        """The language model's configuration (of a multimodal model, its text part)."""
        return self._full_config.get_text_config()

    @cached_property
    def _full_config(self) -> Any:
        source = self.source
        try:
            config = AutoConfig.from_pretrained(source, **self._where)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"model inject/{self.name}: cannot be found or read ({first_line(error)}); expected "
                f"inject/{smollm2.NAME}, a local folder or a Hugging Face id; check the spelling, and HF_HUB_OFFLINE "
                f"if it is to be downloaded"
            ) from error
        if config.is_encoder_decoder:
            raise InputError(
                f"model inject/{self.name}: {config.model_type} is an encoder-decoder; expected a decoder-only model; "
                f"choose another"
            )
        return config

    @cached_property
    def _loaded_tokenizer(self) -> Any:
        """The model's tokenizer as it is loaded."""
        _ = self.config  # a model that does not exist is reported once, by its configuration
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.source, **self._where)
        except Exception as error:
            raise InputError(
                f"model inject/{self.name}: its tokenizer cannot be loaded ({first_line(error)}); expected tokenizer "
                f"files beside the model; add them"
            ) from error
        tokenizer.name_or_path = self.name
        return tokenizer

    @cached_property
    def prepared(self) -> Prepared:
        """The model's tokenizer with the chat template that was asked for, which is the same at any time."""
        template = None if self.chat_template is None else template_text(self.chat_template)
        prepared = prepare(self._loaded_tokenizer, template, self.template_date, called=str(self.chat_template))
        for note in prepared.notes:
            tell(f"inject/{self.name}: {note}")
        if self.template_date is not None and prepared.date is None:
            tell(f"inject/{self.name}: -M template_date changes nothing, since the chat template writes no date")
        return prepared

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, with the chat template that was asked for."""
        return self.prepared.tokenizer

    def check(self) -> None:
        """Refuse a model that cannot be run: architecture, attention implementation, missing files. Needs no weights.

        A dtype that this CPU cannot multiply is not refused, but the user is told.

        Raises:
            InputError: The model was found, but cannot be run.
        """
        self._tell_of_slow_products()
        check_loadable(self, self._dtype)
        try:
            empty = self._without_weights
        except InputError:
            raise
        except (ValueError, ImportError, KeyError) as error:
            raise InputError(
                f"model inject/{self.name}: cannot be set up ({first_line(error)}); expected a causal language model "
                f"and an attention implementation that it has; correct -M attn_implementation or choose another model"
            ) from error
        except Exception:  # some models compute with their weights while they are built, which fails without any
            return
        find_parts(empty)

    @property
    def _loader(self) -> Any:
        """What loads the model; code of its own repository comes into question if it may run."""
        config = self._full_config
        own_code = getattr(config, "auto_map", None) or {} if self.trust_remote_code else {}
        loader = loader_of(config, own_code)
        if loader is None:
            raise InputError(
                f"model inject/{self.name}: transformers has no language model of type {config.model_type}; expected "
                f"a decoder-only language model, alone or inside of a model for pictures or sound; choose another"
            )
        return loader

    def empty(self) -> PreTrainedModel:
        """The model without weights, on the device `meta`."""
        options = {"attn_implementation": self.attn_implementation} if self.attn_implementation else {}
        with torch.device("meta"):
            return self._loader.from_config(self._full_config, trust_remote_code=self.trust_remote_code, **options)

    @cached_property
    def _without_weights(self) -> PreTrainedModel:
        """What `empty` gave; it is only looked at."""
        return self.empty()

    @property
    def weights_per_block(self) -> float:
        """Number of weights of a decoder block that a token is multiplied with: of experts, those that it goes to.

        Where the model cannot be built without its weights, that of a usual block of its width.
        """
        try:
            blocks = find_parts(self._without_weights).layers
        except Exception:
            return 12.0 * float(self.config.hidden_size) ** 2
        used = float(getattr(self.config, "num_experts_per_tok", None) or 0)
        weights = [weight for weight in blocks[len(blocks) // 2].parameters() if weight.dim() > 1]
        return sum(weight.numel() * (used / len(weight) if weight.dim() == 3 and used else 1.0) for weight in weights)

    @property
    def _device(self) -> str:
        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def _on_cpu(self) -> bool:
        return str(self.device_map or self._device).startswith("cpu") or not torch.cuda.is_available()

    @property
    def _dtype(self) -> str:
        return self.dtype or ("float32" if self._on_cpu else "auto")

    def _tell_of_slow_products(self) -> None:
        """Tell the user where the CPU has no instructions for products in the model's dtype."""
        dtype = getattr(self.config, "dtype", None) if self._dtype == "auto" else getattr(torch, self._dtype)
        if self._on_cpu and isinstance(dtype, torch.dtype) and not can_multiply(dtype):
            tell(
                f"this CPU has no {str(dtype).removeprefix('torch.')} products, so the run can take ten times as long "
                f"as in float32; pass -M dtype=float32"
            )

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return self.config.num_hidden_layers

    def load(self) -> PreTrainedModel:
        """Load the weights, in evaluation mode, without gradients.

        Raises:
            InputError: Weights are NaN or infinite.
        """
        device, dtype = self._device, self._dtype
        options = {"attn_implementation": self.attn_implementation, "quantization_config": self.quantization_config}
        with without_progress_bars():
            model = self._loader.from_pretrained(
                self.source,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                device_map=self.device_map or {"": device},
                **{key: value for key, value in options.items() if value is not None},
                **self._where,
            )
        model.requires_grad_(False)
        if broken := broken_part(model):
            # float16 ends at 65504; bfloat16 and float32 do not.
            too_large = model.dtype == torch.float16 and getattr(self.config, "dtype", None) != torch.float16
            remedy = "pass -M dtype=float32" if too_large else "get its weights again, or choose another model"
            raise InputError(
                f"model inject/{self.name}: the weights of {broken} hold values that are not finite; expected numbers; "
                f"{remedy}"
            )
        return model.eval()

    def load_first_block(self) -> PreTrainedModel:
        """The model's embeddings, first block, final norm and unembedding, in float32: a model of one block.

        With it a process can read the states of a model that runs elsewhere, and recognise that model.
        """
        config = copy.deepcopy(self._full_config)
        text, n_layers = config.get_text_config(), self.n_layers
        for name, value in vars(text).items():
            if isinstance(value, list) and len(value) == n_layers:
                setattr(text, name, value[:1])
        text.num_hidden_layers = 1
        with without_progress_bars(), without_warnings():  # the other blocks are left out on purpose
            model = self._loader.from_pretrained(self.source, config=config, dtype=torch.float32, **self._where)
        model.requires_grad_(False)
        return model.eval()

    @cached_property
    def revision_digest(self) -> str:
        """The commit on the Hub, or a digest of a local folder's configuration, tokenizer and chat template."""
        commit = getattr(self._full_config, "_commit_hash", None)
        if commit or not Path(self.source).is_dir():
            return str(commit or "unknown")
        digest = hashlib.sha256()
        for path in sorted(each for end in ("*.json", "*.jinja") for each in Path(self.source).glob(end)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return f"local-{digest.hexdigest()[:16]}"


def software_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on, by name."""
    packages = ("introbench", "inspect-ai", "torch", "transformers", "scipy", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def weights_fingerprint(model: PreTrainedModel) -> str:
    """Digest of a fixed sample of every weight; it differs between checkpoints, fine-tunes, dtypes and quantisations.

    At most 256 evenly spaced values of each tensor are read, so that a model of any size takes less than a second.
    """
    digest = hashlib.sha256()
    for name, tensor in dense_tensors(sorted(model.state_dict().items())):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.device.type == "meta":  # offloaded: its values cannot be sampled, so the name has to stand for them
            digest.update(str(model.name_or_path).encode())
        elif tensor.numel():
            flat = tensor.reshape(-1)
            sample = flat[:: max(1, flat.numel() // 256)][:256]
            digest.update(sample.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
