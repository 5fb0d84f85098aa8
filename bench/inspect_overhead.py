"""(e) `inspect eval` on the default battery, beside the engine alone and Inspect with a model that answers at once."""

import argparse
import tempfile
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.scorer import Score, mean, scorer
from inspect_ai.solver import generate
from measure import gemm_peak, seconds, show_peak

from introbench.engine import Engine

OPTIONS: dict[str, Any] = {"display": "none", "log_realtime": False, "score_display": False}


@modelapi(name="instant")
class Instant(ModelAPI):
    """A model that answers at once."""

    async def generate(self, *_: Any, **__: Any) -> ModelOutput:
        """Say yes."""
        output = ModelOutput.from_content("instant/yes", "Yes")
        output.usage = ModelUsage()
        return output


@scorer(metrics=[mean()])
def one() -> Any:
    """Score everything 1."""

    async def score(_state: Any, _target: Any) -> Score:
        return Score(value=1)

    return score


def main() -> None:
    """Print the three times and the share that Inspect and the provider add."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=9)
    options = parser.parse_args()
    inside: list[float] = []
    read = Engine.read

    def timed(engine: Engine, requests: Any) -> Any:
        answers: list[Any] = []
        inside.append(seconds(lambda: answers.extend(read(engine, requests))))
        return answers

    Engine.read = timed  # type: ignore[method-assign]
    logs = tempfile.mkdtemp()
    from introbench.prompts import data

    arguments = {"concepts": list(data.concepts()[: options.concepts])}
    run: dict[str, Any] = {"model": "inject/smollm2", "log_dir": logs, "task_args": arguments, **OPTIONS}
    eval("introbench/introspection", limit=1, **run)  # loads the model and makes the vectors
    inside.clear()
    logged: list[Any] = []
    total = seconds(lambda: logged.extend(eval("introbench/introspection", **run)))
    trials = len(logged[0].samples)
    samples = [Sample(id=index, input="Do you?", target="yes") for index in range(trials)]
    task = Task(MemoryDataset(samples), solver=generate(), scorer=one(), config=GenerateConfig(max_connections=1000))
    floor = seconds(lambda: eval(task, model="instant/yes", log_dir=logs, **OPTIONS))
    print(show_peak(gemm_peak()))
    print(
        f"{trials} trials: inspect eval {total:.0f} s, of which in the engine {sum(inside):.0f} s; floor {floor:.0f} s"
    )
    print(f"beyond the engine: {(total - sum(inside)) / floor:.1f} x Inspect's floor (they share the cores)")


if __name__ == "__main__":
    main()
