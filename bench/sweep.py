"""(d) cells of a sweep over layer ranges, as a sweep runs them and every cell by itself."""

from collections.abc import Sequence
from statistics import mean, median

import torch
from measure import gemm_peak, seconds, show_peak
from workload import conversations, random_arms, requests

from introbench.engine import Arms, TransformersEngine
from introbench.models.checkpoint import Checkpoint


def side_by_side(cells: Sequence[Arms]) -> Arms:
    """The arms of cells that start at the same layer, as one batch, as in a sweep."""
    nothing = torch.zeros_like(cells[0].deltas[cells[0].first])
    layers = sorted({layer for arms in cells for layer in arms.deltas})
    return Arms.steered({layer: torch.cat([arms.deltas.get(layer, nothing) for arms in cells]) for layer in layers})


def main() -> None:
    """Print a cell's time as a share of that of a full recompute."""
    checkpoint = Checkpoint("smollm2")
    engine = TransformersEngine(checkpoint.load())
    chats = conversations(checkpoint, 4, 600)
    starts = range(0, engine.n_layers, 5)
    cells = [(start, stop) for start in starts for stop in range(start + 5, engine.n_layers + 1, 5)]
    # One seed: the same vector in every cell, at each layer.
    arms = {cell: random_arms(engine.model, 2, layers=cell) for cell in cells}
    batches = [side_by_side([arms[cell] for cell in cells if cell[0] == start]) for start in starts]
    swept = [request for batch in batches for request in requests(chats, batch, tokens=(10, 11))]
    by_cells = [request for batch in arms.values() for request in requests(chats, batch, tokens=(10, 11))]
    plain = TransformersEngine(engine.model, fast=False)
    together, apart, by_cell, by_conversation = [], [], [], []
    for sample in range(3):  # interleaved: the whole sweep, its cells apart, then some cells by themselves
        for requested, times in ((swept, together), (by_cells, apart)):
            engine.release()
            times.append(seconds(lambda requested=requested: engine.read(requested)) / len(cells))
        for cell in range(sample, len(cells), 10):
            of_cell = by_cells[cell * len(chats) : (cell + 1) * len(chats)]
            plain.release()
            by_cell.append(seconds(lambda of_cell=of_cell: plain.read(of_cell)))
            total = 0.0
            for request in of_cell:
                plain.release()
                total += seconds(lambda request=request: plain.read([request]))
            by_conversation.append(total)
    print(show_peak(gemm_peak()))
    print(f"{len(cells)} cells of {len(chats)} conversations and 2 arms: {median(together):.2f} s a cell")
    print(f"{median(together) / median(apart):.2f} of what cells take that are not run side by side")
    for name, times in (("a shared prior turn", by_cell), ("nothing shared", by_conversation)):
        print(f"a cell takes {median(together) / mean(times):.2f} of a full recompute with {name}")


if __name__ == "__main__":
    main()
