"""(a) the engine's time beside that of what people use, (b) its share of the ideal, (g) how both scale; memory.

python bench/battery.py                          # 1, 5 and 19 arms, 70 questions on a 600-token prior turn
python bench/battery.py --model 0.5B --arms 5    # random weights in the shape of a model of half a billion
python bench/battery.py --memory                 # peak memory, every number in a process of its own
python bench/battery.py --scaling                # a table and bench/scaling.png as well

See `contestants` for what is compared.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from contestants import CONTESTANTS, READ, Workload, able, hf_logprobs
from measure import gemm_peak, load, show_peak, used_by
from naive import one_arm
from workload import layers_to_steer

from introbench.engine.branches import TRIE_TOKENS
from introbench.engine.trie import tries

OTHERS = [name for name in CONTESTANTS if name != "engine"]


def ideal_flops(workload: Workload) -> float:
    """FLOPs of each distinct token once: below the first steered block in one row, above it in every arm."""
    config, requests, rows = workload.model.config, workload.requests, workload.rows
    per_block = 2 * sum(p.numel() for p in workload.model.model.layers[0].parameters())
    prior = requests[0].prior
    _, (trie,) = tries([request.question for request in requests], size=10**9)
    first = layers_to_steer(workload.model)[0]
    blocks = first + rows * (config.num_hidden_layers - first)
    attended = prior * prior / 2 + float((prior + trie.depths + 1).sum())
    unembedding = 2 * rows * len(requests) * config.hidden_size * config.vocab_size
    return blocks * ((prior + len(trie)) * per_block + 4 * config.hidden_size * attended) + unembedding


def compare(workload: Workload, samples: int) -> list[str]:
    """One row of the table; the contestants take turns, after a first question of each for what is made only once."""
    workload.engine.read(workload.requests[:1])
    workload.script.ask(workload.script.fill(), [0])
    if "hf provider" in able(workload):
        hf_logprobs(workload.hf, workload.chats[:1])
    times: dict[str, list[float]] = {name: [] for name in able(workload)}
    for sample in range(samples):
        for name, contestant in able(workload).items():
            times[name].append(contestant(workload, sample))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    taken = medians["engine"]
    share = ideal_flops(workload) / taken
    return [
        str(workload.rows),
        str(len(workload.requests)),
        str(workload.requests[0].prior),
        f"{taken:.1f}",
        *(f"{medians[name] / taken:.1f}" if name in medians else "-" for name in OTHERS),
        *(f"{share / flops:.2f}" for flops in gemm_peak().values()),
        f"{largest_difference(workload):.0e}",
    ]


def largest_difference(workload: Workload) -> float:
    """How far the engine's log-probabilities of one conversation are from an uncached pass, in nats."""
    request, row = workload.requests[-1], workload.rows - 1
    assert request.arms is not None
    expected = one_arm(workload.model, workload.engine.parts, request, request.arms, row, last_only=True)
    return float((workload.engine.read([request])[0].logprobs[row] - expected[0, list(READ)]).abs().max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="smollm2, or a shape of random_models.SHAPES")
    parser.add_argument("--arms", type=int, nargs="+", default=[1, 5, 19])
    parser.add_argument("--questions", type=int, default=70)
    parser.add_argument("--prior", type=int, default=600)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", choices=CONTESTANTS, help="run one contestant once and print nothing")
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    first = Workload(options.model, options.arms[0], options.questions, options.prior)
    if options.only:
        able(first)[options.only](first, 0)
    elif options.memory:
        memory(options)
    else:
        times(options, first)


def times(options: argparse.Namespace, workload: Workload) -> None:
    """Print times, and plot how they scale if asked to."""
    peak = gemm_peak()
    notes = [f"{name}: {note}" for name, note in workload.engine.notes.items()]
    print(show_peak(peak), f"{torch.get_num_threads()} threads", load(), f"tries of {TRIE_TOKENS}", *notes, sep=" | ")
    shares = [f"share of ideal ({name})" for name in peak]
    columns = ["arms", "questions", "prior", "seconds", *(f"x {name}" for name in OTHERS), *shares, "difference"]
    print(" | ".join(columns))
    cells = [(rows, options.questions, options.prior) for rows in options.arms]
    if options.scaling:
        cells += [(rows, 70, 600) for rows in (2, 4, 10, 20, 40)] + [(4, n, 600) for n in (5, 20, 40)]
        cells += [(4, 70, prior) for prior in (150, 300, 1200)]
    table = []
    for rows, questions, prior in cells:
        if (questions, prior) == (workload.questions, workload.prior):
            cell = workload.same_model(rows)
        else:
            cell = Workload(options.model, rows, questions, prior)
            cell.__dict__ |= {"model": workload.model, "engine": workload.engine}
        table.append(compare(cell, options.samples))
        print(" | ".join(table[-1]), flush=True)
    print(load())
    if options.scaling:
        plot(table, Path(__file__).parent / "scaling.png")


def memory(options: argparse.Namespace) -> None:
    """Print the peak memory of every contestant, in MiB, by number of arms."""
    print(" | ".join(["arms", *CONTESTANTS]))
    for rows in options.arms:
        can = able(Workload(options.model, rows, options.questions, options.prior))
        peaks = []
        for name in CONTESTANTS:
            size = ["--arms", str(rows), "--questions", str(options.questions), "--prior", str(options.prior)]
            command = [sys.executable, __file__, "--model", options.model, "--only", name, *size]
            peaks.append(f"{used_by(command).mebibytes:.0f}" if name in can else "-")
        print(" | ".join([str(rows), *peaks]), flush=True)


def plot(table: Sequence[Sequence[str]], path: Path) -> None:
    """How many times faster than the published schedule, by arms, questions and length of the prior turn."""
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
    axes[0].set_ylabel("times faster than the published schedule")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    print("wrote", path.name)


if __name__ == "__main__":
    main()
