"""(a) the engine's time beside the naive schedule's, (b) its share of the ideal, (g) how both scale.

python bench/battery.py                 # 4, 10 and 20 arms, 70 questions on a 600-token prior turn
python bench/battery.py --scaling       # a table and bench/scaling.png as well
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from measure import gemm_peak, medians, seconds, show_peak
from naive import one_arm, passes
from transformers import PreTrainedModel
from workload import LAYERS, conversations, random_arms, requests

from introbench.engine import Engine, Request
from introbench.engine.pieces import TRIE_TOKENS
from introbench.engine.trie import tries
from introbench.models.checkpoint import Checkpoint


def ideal_flops(model: PreTrainedModel, battery: Sequence[Request], rows: int) -> float:
    """FLOPs of each distinct token once: below the first steered block in one row, above it in every arm."""
    config = model.config
    per_block = 2 * sum(p.numel() for p in model.model.layers[0].parameters())
    prior = battery[0].prior
    _, (trie,) = tries([request.question for request in battery], size=10**9)
    blocks = LAYERS[0] + rows * (config.num_hidden_layers - LAYERS[0])
    attended = prior * prior / 2 + float((prior + trie.depths + 1).sum())
    unembedding = 2 * rows * len(battery) * config.hidden_size * config.vocab_size
    return blocks * ((prior + len(trie)) * per_block + 4 * config.hidden_size * attended) + unembedding


def compare(checkpoint: Checkpoint, engine: Engine, rows: int, questions: int, prior: int, samples: int) -> list[str]:
    """One row of the table."""
    model, parts = engine.model, engine.parts
    arms = random_arms(model, rows)
    battery = requests(conversations(checkpoint, questions, prior), arms, tokens=(10, 11, 12, 13))
    chosen = random.Random(0).sample(battery, min(samples, len(battery)))
    slow: list[float] = []
    slow_last: list[float] = []
    fast: list[float] = []
    worst = 0.0
    for request in chosen:  # interleaved: a run of the engine, then a sample of what it is compared with
        engine.release()
        fast.append(seconds(lambda: engine.read(battery)))
        for row in (0, rows - 1):
            full, last = medians(
                [
                    lambda row=row, request=request: one_arm(model, parts, request, arms, row, last_only=False),
                    lambda row=row, request=request: one_arm(model, parts, request, arms, row, last_only=True),
                ],
                repeats=1,
            )
            slow.append(full)
            slow_last.append(last)
        expected = one_arm(model, parts, request, arms, rows - 1, last_only=True)[0, list(request.want.tokens)]
        logprobs = engine.read([request])[0].logprobs[rows - 1]
        worst = max(worst, float((logprobs - expected).abs().max()))
    peak = gemm_peak()
    taken = sorted(fast)[len(fast) // 2]
    naive, naive_last = (sorted(times)[len(times) // 2] * passes(len(battery), rows) for times in (slow, slow_last))
    share = ideal_flops(model, battery, rows) / taken
    return [
        str(rows),
        str(len(battery)),
        str(battery[0].prior),
        f"{taken:.1f}",
        f"{naive / taken:.0f}",
        f"{naive_last / taken:.0f}",
        *(f"{share / flops:.2f}" for flops in peak.values()),
        f"{worst:.0e}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    checkpoint = Checkpoint(options.model)
    engine = Engine(checkpoint.load())
    peak = gemm_peak()
    print(show_peak(peak), "|", torch.get_num_threads(), "threads |", engine.notes["path"], "| tries of", TRIE_TOKENS)
    shares = [f"share of ideal ({name})" for name in peak]
    print(
        " | ".join(["arms", "questions", "prior", "seconds", "x naive", "x naive, last logits", *shares, "difference"])
    )
    cells = [(rows, 70, 600) for rows in (4, 10, 20)]
    if options.scaling:
        cells += [(rows, 70, 600) for rows in (2, 40)] + [(4, n, 600) for n in (5, 20, 40)]
        cells += [(4, 70, prior) for prior in (150, 300, 1200)]
    table = []
    for rows, questions, prior in cells:
        table.append(compare(checkpoint, engine, rows, questions, prior, options.samples))
        print(" | ".join(table[-1]), flush=True)
    if options.scaling:
        plot(table, Path(__file__).parent / "scaling.png")


def plot(table: Sequence[Sequence[str]], path: Path) -> None:
    """How many times faster than naive, by arms, questions and length of the prior turn."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
    base = {"arms": "4", "questions": "70", "tokens of the prior turn": "600"}
    for column, (axis, name) in enumerate(zip(axes, base, strict=True)):
        others = [index for index in range(3) if index != column]
        values = list(base.values())
        rows = [row for row in table if all(abs(int(row[i]) - int(values[i])) < 15 for i in others)]
        points = sorted((int(row[column]), float(row[4]), float(row[5])) for row in rows)
        axis.plot([p[0] for p in points], [p[1] for p in points], "o-", label="all logits")
        axis.plot([p[0] for p in points], [p[2] for p in points], "s--", label="last logits only")
        axis.set(xlabel=name, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("times faster than naive")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    print("wrote", path.name)


if __name__ == "__main__":
    main()
