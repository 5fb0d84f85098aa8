"""The engine on a GPU: random weights in the shape of Qwen2.5-Coder-32B, bfloat16; needs torch and transformers only.

    python bench/gpu.py                     # on a GPU
    python bench/gpu.py --shape tiny --device cpu --prior 40 --questions 4    # what it does, on a CPU

Prints trials per second, the share of the peak (MFU) of the cache fills and of the whole, beside it the time of the
published schedule and of a user's script, peak memory; and how far a small model's shifts in bfloat16 are from float32.
"""

import argparse
import random
import statistics
import sys
from pathlib import Path

import torch
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parent.parent))  # introbench itself need not be installed

from measure import gemm_peak, seconds, show_peak
from naive import one_arm, passes
from random_models import SHAPES, Shape, random_model
from users_script import UsersScript

from introbench.engine import Arms, Request, TransformersEngine, Want
from introbench.engine.trie import tries

SMALL = Shape(layers=8, hidden=512, inner=2764, heads=4, key_heads=1, vocabulary=997)
"""The shape of the model that is also run in float32."""


def arms_of(model: PreTrainedModel, rows: int, strength: float) -> Arms:
    """A sham and random vectors on the middle third."""
    draw = torch.Generator().manual_seed(1)
    config = model.config
    deltas = {}
    for block in range(config.num_hidden_layers // 3, max(1, 2 * config.num_hidden_layers // 3)):
        vectors = torch.randn(rows, config.hidden_size, generator=draw)
        vectors[0] = 0
        deltas[block] = strength * vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return Arms.steered(deltas)


def battery(model: PreTrainedModel, arms: Arms, questions: int, prior: int) -> list[Request]:
    """Questions of 30 to 60 random tokens on one prior turn; some questions share their first ten tokens."""
    draw = random.Random(0)
    vocabulary = model.config.vocab_size

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(count))

    setting, openings = tokens(prior), [tokens(10) for _ in range(max(1, questions // 7))]
    conversations = [setting + draw.choice(openings) + tokens(draw.randint(20, 50)) for _ in range(questions)]
    return [Request(conversation, prior, Want((1, 2, 3, 4), top=4), arms) for conversation in conversations]


def flops(model: PreTrainedModel, arms: Arms, tokens: int, reads: int) -> float:
    """FLOPs of some tokens, without attention, where each block is run for as many rows as differ there."""
    per_block = 2 * sum(parameter.numel() for parameter in model.model.layers[0].parameters())
    blocks = sum(arms.forks.rows_after(block - 1) for block in range(model.config.num_hidden_layers))
    return tokens * per_block * blocks + 2 * reads * arms.rows * model.config.hidden_size * model.config.vocab_size


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shape", choices=SHAPES, default="32B")
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--questions", type=int, default=70)
    parser.add_argument("--prior", type=int, default=600)
    options = parser.parse_args()
    speed(options)
    readout_error(options.device, SMALL if options.device != "cpu" else SHAPES["tiny"])


def speed(options: argparse.Namespace) -> None:
    """Trials per second, MFU and memory, beside the naive schedule."""
    peak = gemm_peak(options.device, torch.bfloat16)
    model = random_model(SHAPES[options.shape], options.device, torch.bfloat16)
    engine = TransformersEngine(model)
    arms = arms_of(model, options.rows, strength=20)
    requests = battery(model, arms, options.questions, options.prior)
    one = [Request(requests[0].tokens[: options.prior + 2], options.prior, Want((1,), top=1), arms)]
    _, (trie,) = tries([request.question for request in requests], size=10**9)
    engine.read(requests)  # warm
    script = UsersScript(model, requests)
    taken, fill, slow, scripted = [], [], [], []
    for request in requests[:5]:
        engine.release()
        taken.append(seconds(lambda: engine.read(requests)))
        engine.release()
        fill.append(seconds(lambda: engine.read(one)))
        slow.append(seconds(lambda request=request: one_arm(model, engine.parts, request, arms, 1, last_only=False)))
        engine.release()
        scripted.append(seconds(script.run))
    all_, fill_, naive, by_script = (statistics.median(times) for times in (taken, fill, slow, scripted))
    best = max(peak.values())
    print(show_peak(peak), "|", engine.notes["path"])
    print(f"{len(requests) / all_:.1f} trials of {options.rows} arms per second")
    print(f"MFU of a fill {flops(model, arms, options.prior, 1) / fill_ / best:.2f}")
    total = flops(model, arms, options.prior + len(trie), len(requests))
    print(
        f"MFU of the whole {total / all_ / best:.2f}; x script {by_script / all_:.1f}, "
        f"x published {naive * passes(len(requests), options.rows) / all_:.0f}"
    )
    if torch.cuda.is_available():
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def readout_error(device: str, shape: Shape) -> None:
    """How far shifts of a small model in bfloat16 are from the same weights in float32."""
    rounded = random_model(shape, device, torch.bfloat16, seed=2)
    exact = random_model(shape, device, torch.float32, seed=2)
    exact.load_state_dict({name: value.float() for name, value in rounded.state_dict().items()})
    shifts = []
    for model in (rounded, exact):
        arms = arms_of(model, 4, strength=2)
        readings = TransformersEngine(model).read(battery(model, arms, 20, 100))
        odds = torch.stack([reading.logprobs[:, 0] - reading.logprobs[:, 1] for reading in readings])
        shifts.append(odds - odds[:, :1])
    error = (shifts[0] - shifts[1]).abs()
    print(
        f"shifts in bfloat16: median error {float(error.median()):.4f} nats, largest {float(error.max()):.4f}", end=""
    )
    print(f"; median shift {float(shifts[1].abs().median()):.4f}")


if __name__ == "__main__":
    main()
