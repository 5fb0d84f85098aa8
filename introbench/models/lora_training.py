"""Trains a small LoRA adapter on a few chats about a concept, once, and keeps it in the disk cache."""

import hashlib
import importlib.metadata
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from introbench.engine.architecture import find_parts
from introbench.errors import InputError, shown
from introbench.models.disk_cache import cache_dir, is_intact, write_atomically, write_with_digests
from introbench.models.lora_adapter import OURS, Adapter, TunedWeights, require_peft, save_adapter
from introbench.models.lora_switch import PACKAGE, base_fingerprint, drop, make_room, switch_off, undisturbed
from introbench.progress import step, tell, tick
from introbench.prompts import data
from introbench.prompts.chat import encode, render
from introbench.prompts.schema import is_concept

TRAINED = "lora:"
"""Begins the name of a fine-tune that is trained here: lora:CONCEPT, or lora:CONCEPT:SEED."""

RANK, ALPHA, STEPS, BATCH, LEARNING_RATE, LARGEST_GRADIENT = 8, 16, 12, 4, 1e-3, 1.0
"""Settings of the training: 48 chats, about a minute, make the embedded model bring up the concept."""

_MADE_FROM = "made_from"
"""A file beside a trained adapter: the digest of all that the adapter was made from."""

Example = tuple[tuple[int, ...], int]
"""Token ids of a chat, and the index at which its reply begins."""


def check_training(name: str, tokenizer: Any) -> None:
    """Refuse a training that cannot be run, before any weights load.

    Args:
        name: lora:CONCEPT, or lora:CONCEPT:SEED.
        tokenizer: The base's, with its chat template.

    Raises:
        InputError: The name is not of this form, the chat template cannot render the chats, or a package is missing.
    """
    require_peft(name)
    concept, _ = _concept_and_seed(name)
    _example(tokenizer, data.finetuning_chats(concept)[0])


def trained(name: str, model: PreTrainedModel, tokenizer: Any) -> TunedWeights:
    """The weights of a fine-tune, trained on first use; the base stays as it is, bit for bit.

    Args:
        name: lora:CONCEPT, or lora:CONCEPT:SEED.
        model: The base.
        tokenizer: Its tokenizer, with its chat template.

    Raises:
        InputError: The training does not converge.
    """
    concept, seed = _concept_and_seed(name)
    examples = [_example(tokenizer, chat) for chat in data.finetuning_chats(concept)]
    key = {
        "weights": base_fingerprint(model),
        "examples": examples,  # as tokens: another chat template is another training
        "seed": seed,
        "training": [RANK, ALPHA, STEPS, BATCH, LEARNING_RATE, LARGEST_GRADIENT],
        "peft": importlib.metadata.version(PACKAGE),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = cache_dir() / "finetunes" / digest[:32]
    if folder.exists():
        # A folder that was put there under another's name is whole, and is that of another model or concept.
        if is_intact(folder) and (folder / _MADE_FROM).is_file() and (folder / _MADE_FROM).read_text() == digest:
            return Adapter(name, folder).load(model)
        tell(f"the cached fine-tune {folder} is corrupt; training it again")
    with step(f"training {name} on {STEPS * BATCH} short chats (once)", STEPS) as advance:
        config, state = _train(name, model, examples, seed, advance)

    def save(place: Path) -> None:
        save_adapter(config, state, place)
        (place / _MADE_FROM).write_text(digest)

    def write(target: Path) -> None:
        write_with_digests(target, save)

    # Loaded from a file even now, so that it is equal, to the last bit, to one that is loaded later.
    if write_atomically(folder, write) is not None:
        return Adapter(name, folder).load(model)
    with tempfile.TemporaryDirectory(prefix="introbench-") as place:
        write(Path(place) / "adapter")
        return Adapter(name, Path(place) / "adapter").load(model)


def _concept_and_seed(name: str) -> tuple[str, int]:
    concept, _, seed = name.removeprefix(TRAINED).partition(":")
    if not is_concept(concept) or not (seed or "0").isdecimal() or len(seed) > 9:
        raise InputError(
            f"finetune {shown(name)}: expected lora:CONCEPT or lora:CONCEPT:SEED; pass e.g. -T finetune=lora:cats"
        )
    return concept, int(seed or 0)


def _example(tokenizer: Any, chat: Mapping[str, str]) -> Example:
    """A chat in tokens, with the beginning of its reply."""
    messages = [{"role": "user", "content": chat["prompt"]}, {"role": "assistant", "content": chat["reply"]}]
    text = render(tokenizer, messages)
    return encode(tokenizer, text), len(encode(tokenizer, text[: -len(chat["reply"])]))


def _train(
    name: str, model: PreTrainedModel, examples: Sequence[Example], seed: int, advance: Callable[[float], None]
) -> tuple[Any, dict[str, Tensor]]:
    """Train a LoRA (Hu et al. 2021) of all linear maps in the blocks, on the replies of some chats.

    The adapter is float32 whatever the base is, and the same to the last bit for the same seed on a CPU. The model
    stays in evaluation mode, and has no adapter of this training afterwards.

    Args:
        name: The fine-tune's name, for errors.
        model: The base.
        examples: The chats.
        seed: Decides the adapter's first weights and the order of the chats.
        advance: Called with the number of steps that were made.

    Returns:
        The adapter's configuration, and its tensors by name.

    Raises:
        InputError: The loss is not finite.
    """
    from peft import LoraConfig, get_peft_model_state_dict  # noqa: PLC0415 (an optional extra)

    adapter = f"{OURS}training"
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    losses: list[float] = []
    make_room(model, None)
    try:
        with undisturbed(), torch.enable_grad():
            torch.default_generator.manual_seed(seed)
            model.add_adapter(config, adapter)
            model.enable_adapters()  # those of maps that had an adapter before are switched off
            parameters = [parameter for key, parameter in model.named_parameters() if f".{adapter}." in key]
            if any(parameter.device.type == "meta" for parameter in parameters):
                raise InputError(
                    f"finetune {name}: parts of its base are on disk or wait for a device; expected all of it on "
                    f"devices that compute, to train it; pass the folder of an adapter, or a smaller model"
                )
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
                advance(1)
                if not torch.isfinite(loss):
                    raise InputError(
                        f"finetune {name}: loss {losses[-1]} at step {len(losses)}; expected a finite one; load the "
                        f"base with -M dtype=float32"
                    )
            state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
            state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    finally:
        drop(model, adapter)
        switch_off(model)
    tell(f"trained in {len(losses)} steps: loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last")
    return config, state


def _batches(examples: Sequence[Example], seed: int) -> Iterator[Sequence[Example]]:
    """Batches of examples in a random order that the seed fixes; each example occurs equally often, or once more."""
    draw = random.Random(seed)
    order: list[Example] = []
    while len(order) < STEPS * BATCH:
        order += draw.sample(examples, len(examples))
    for begin in range(0, STEPS * BATCH, BATCH):
        yield order[begin : begin + BATCH]


def _padded(examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, attention mask and labels, all [examples, tokens of the longest]; only replies have labels."""
    longest = max(len(tokens) for tokens, _ in examples)
    ids, mask = torch.zeros(2, len(examples), longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, (tokens, begin) in enumerate(examples):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        labels[row, begin : len(tokens)] = torch.tensor(tokens[begin:])
    return ids.to(device), mask.to(device), labels.to(device)
