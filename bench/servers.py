"""(l) trials per second on a vLLM server of this machine against the engine in this process, for 1, 5 and 19 arms.

python bench/servers.py [--questions 16] [--prior 150] [--rounds 3]    with the command vllm on the path
"""

import argparse

from measure import gemm_peak, medians, seconds, show_peak
from workload import conversations, random_arms, requests

from introbench.engine import TransformersEngine, Weights
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.engine import VllmEngine
from introbench.engine.vllm.server import Server
from introbench.models.checkpoint import Checkpoint


def main() -> None:
    """Print how long the start took, and a row of the table for each number of arms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--prior", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", type=int, nargs="*", default=(1, 5, 19))
    options = parser.parse_args()
    checkpoint = Checkpoint("smollm2")
    here = TransformersEngine(checkpoint.load())
    print(show_peak(gemm_peak()))
    server = Server(checkpoint.source, {"dtype": "float32", "max-model-len": "4096"})
    try:
        print(f"server: {seconds(server.wait):.0f} s until it answers")
        client = ServerClient(server.base_url, wait=lambda seconds: None)
        made: list[VllmEngine] = []
        first_block = Weights(checkpoint.load_first_block())
        proof = seconds(lambda: made.append(VllmEngine(first_block, client, checkpoint.n_layers)))
        (there,) = made
        print(f"proof: {proof:.1f} s; {there.notes['path']}")
        chats = conversations(checkpoint, options.questions, options.prior)
        print(f"{len(chats)} questions on one prior turn of {chats[0].prior} tokens")
        for rows in options.arms:
            asked = requests(chats, random_arms(checkpoint.load(), rows), (0,))
            there.read(asked[:1])
            here.read(asked[:1])
            ours, theirs = medians(
                [lambda asked=asked: here.read(asked), lambda asked=asked: there.read(asked)], options.rounds
            )
            trials = len(asked) * rows
            print(
                f"{rows} arms: {trials / ours:.1f} trials a second here, {trials / theirs:.1f} on the server; "
                f"{theirs / ours:.1f} times as long there"
            )
        client.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
