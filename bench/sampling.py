"""(k) sampled answers under vectors, side by side, and by a loop over `model.generate` with a hook.

python bench/sampling.py [--rounds 3] [--loop 2]
"""

import argparse
import statistics

import torch
from measure import gemm_peak, seconds, show_peak

from introbench.engine import TransformersEngine
from introbench.models.checkpoint import Checkpoint
from introbench.prompts import data
from introbench.prompts.chat import tokenize_open_chat
from introbench.provider.run_sampling import ROWS_TOGETHER, window_of
from introbench.records.sampled_factors import PROTOCOLS
from introbench.tasks.sampled_detection import chat_of_trial

LAYERS, ARMS, SEEDS, LENGTH = (12, 18, 24), 4, 2, 60
"""Of the default run: the steered layers, the vectors in each (two strengths, concept and random), and the answers."""


def main() -> None:
    """Print the times of an answer and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=2, help="answers of the loop in each round")
    options = parser.parse_args()
    checkpoint = Checkpoint("smollm2")
    model = checkpoint.load()
    engine = TransformersEngine(model)
    chat = tokenize_open_chat(checkpoint.tokenizer, chat_of_trial(data.sampled_detection()), 2)
    concepts = ROWS_TOGETHER // (SEEDS * (1 + ARMS * len(LAYERS)))
    rows = concepts * SEEDS * (1 + ARMS * len(LAYERS))
    deltas = {layer: torch.zeros(rows, engine.hidden_size) for layer in LAYERS}
    draw = torch.Generator().manual_seed(0)
    # As in the task, all arms of a concept have the same seeds.
    seeds = [*range(SEEDS * concepts)] * (1 + ARMS * len(LAYERS))
    steered: list[tuple[int, torch.Tensor]] = []
    for number, layer in enumerate(LAYERS * (concepts * ARMS)):
        vector = torch.randn(engine.hidden_size, generator=draw)
        deltas[layer][SEEDS * number : SEEDS * (number + 1)] = vector
        steered.append((layer, vector))

    def together(protocol: str) -> None:
        engine.continue_chat(
            chat.tokens,
            deltas,
            seeds,
            length=LENGTH,
            temperature=1.0,
            end=(),
            window=window_of(protocol, chat),
            scored=False,
        )

    def one_by_one(protocol: str) -> None:
        window = window_of(protocol, chat)
        for layer, vector in steered[: options.loop]:
            count = 0

            def add(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
                nonlocal count
                positions = torch.arange(count, count + output.shape[1])
                count += output.shape[1]
                on = (positions >= window.begin) & (positions < (window.end or 10**9))
                return output + on[None, :, None] * vector  # noqa: B023 (called within the loop)

            handle = model.model.layers[layer].register_forward_hook(add)
            ids = torch.tensor([chat.tokens])
            model.generate(ids, do_sample=True, max_new_tokens=LENGTH, min_new_tokens=LENGTH, pad_token_id=0)
            handle.remove()

    together(PROTOCOLS[0])  # the proof, and what is made when it is first used
    print(show_peak(gemm_peak()))
    for protocol in PROTOCOLS:
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(seconds(lambda protocol=protocol: together(protocol)) / rows)
            theirs.append(seconds(lambda protocol=protocol: one_by_one(protocol)) / options.loop)
        mine, loop = statistics.median(ours), statistics.median(theirs)
        print(
            f"{protocol}: {rows} answers of {LENGTH} tokens side by side, {mine:.3f} s each; by a loop over generate, "
            f"{loop:.2f} s each; {loop / mine:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
