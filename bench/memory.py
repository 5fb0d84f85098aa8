"""(f) peak memory of the engine by number of trials, every number in a new process."""

import argparse
import resource
import subprocess
import sys

from workload import conversations, random_arms

from introbench.engine import Request, TransformersEngine, Want
from introbench.models.checkpoint import Checkpoint

PER_CALL = 64


def run(trials: int) -> None:
    """Ask as many questions, in calls of `PER_CALL` under new arms, and print the peak in MiB."""
    checkpoint = Checkpoint("smollm2")
    engine = TransformersEngine(checkpoint.load())
    chats = conversations(checkpoint, 5, 40)
    done = 0
    while done < trials:
        arms = random_arms(engine.model, 2, layers=(25, 27), seed=done)
        count = min(PER_CALL, trials - done)
        requests = []
        for index in range(count):
            chat = chats[index % len(chats)]
            requests.append(Request((*chat.prior_tokens[:20], 5, 6 + index), 20, Want((10, 11), 4), arms))
        engine.read(requests)
        done += count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def main() -> None:
    """Print the peaks, in MiB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int)
    options = parser.parse_args()
    if options.trials:
        run(options.trials)
        return
    peaks = {}
    for trials in (500, 5_000, 20_000):
        answer = subprocess.run(
            [sys.executable, __file__, "--trials", str(trials)], check=True, capture_output=True, text=True
        )
        peaks[trials] = int(answer.stdout.split()[-1])
        print(
            f"{trials} trials: peak {peaks[trials]} MiB, {peaks[trials] / peaks[500]:.2f} of that for 500", flush=True
        )


if __name__ == "__main__":
    main()
