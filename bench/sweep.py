"""(d) cells of a sweep over layer ranges, resumed from the clean run, against every cell by itself."""

from statistics import mean, median

from measure import gemm_peak, seconds, show_peak
from workload import conversations, random_arms, requests

from introbench.checkpoint import Checkpoint
from introbench.engine import Engine


def main() -> None:
    """Print how much of a full recompute a cell takes."""
    checkpoint = Checkpoint("smollm2")
    engine = Engine(checkpoint.load())
    chats = conversations(checkpoint, 4, 600)
    starts = range(0, engine.n_layers, 5)
    cells = [(start, stop) for start in starts for stop in range(start + 5, engine.n_layers + 1, 5)]
    arms = [random_arms(engine.model, 2, layers=cell) for cell in cells]
    asked = [request for each in arms for request in requests(chats, each, forms=(10, 11))]
    plain = Engine(engine.model, fast=False)
    together, by_cell, by_conversation = [], [], []
    for sample in range(3):  # interleaved: the whole sweep, then some cells by themselves
        engine.release()
        together.append(seconds(lambda: engine.read(asked)) / len(cells))
        for cell in range(sample, len(cells), 10):
            some = asked[cell * len(chats) : (cell + 1) * len(chats)]
            plain.release()
            by_cell.append(seconds(lambda some=some: plain.read(some)))
            total = 0.0
            for request in some:
                plain.release()
                total += seconds(lambda request=request: plain.read([request]))
            by_conversation.append(total)
    print(show_peak(gemm_peak()))
    print(f"{len(cells)} cells of {len(chats)} conversations and 2 arms: {median(together):.2f} s a cell")
    for name, times in (("a shared prior turn", by_cell), ("nothing shared", by_conversation)):
        print(f"a resumed cell takes {median(together) / mean(times):.2f} of a full recompute with {name}")


if __name__ == "__main__":
    main()
