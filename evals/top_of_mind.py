"""What comes to the model's mind under active steering? The liveness check behind every other result."""

from dataclasses import replace

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig

from introbench import data
from introbench.arguments import parse_count
from introbench.bank import Bank, bank_text, make_bank
from introbench.chat import tokenize_chat
from introbench.checkpoint import Checkpoint
from introbench.errors import InputError
from introbench.injection import Injection, parse_strength, sham
from introbench.provider import active_checkpoint, one_line_errors
from introbench.published import read_published
from introbench.scorers.top_of_mind import top_of_mind_texts
from introbench.solvers.continue_steered import continue_steered
from introbench.trials import TRIALS_IN_FLIGHT, chat_messages, facts, samples_view

FACTORS = (0.25, 0.5, 1, 2, 4)
"""The strengths that are tried by default, as multiples of the model's own."""


@task
def top_of_mind(
    concepts: str | list[str] | None = None,
    strengths: float | str | list[float | str] | None = None,
    samples: int = 4,
    length: int = 30,
    temperature: float = 1.0,
    method: str = "pca_center",
    layers: str | int | list[int] | None = None,
    random_vectors: int = 2,
    seed: int = 0,
    prompts: str | None = None,
    vectors: str | None = None,
) -> Task:
    """Let the model go on from "I'm thinking about" while it is steered, at several strengths.

    Does the vector do anything, and is the text still coherent? Scored without a judge: the share of the concept's
    words, repetition, and how likely the text is under the model as it is, beside the sham and random vectors of the
    same norm. A vector that is not live here is no evidence of anything elsewhere.

        inspect eval evals/top_of_mind.py --model inject/smollm2
        inspect eval evals/top_of_mind.py -T concepts=volcanoes -T strengths=4,8,16 -T samples=8

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        strengths: Norms of what is added at each layer, or shares residual:SHARE of the model's median residual norm;
            by default a quarter to four times the model's known setting or residual:0.05.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        temperature: Of sampling; 0 for the most likely token.
        method: How a concept's vector is extracted: pca_center or mean_diff.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        random_vectors: Random vectors for each concept and strength.
        seed: Seed of the random vectors and of the sampling.
        prompts: A published conversation file (arXiv 2602.20031's format) to continue in place of our own.
        vectors: A folder of control-vector files (GGUF), named by concept, to inject in place of extracted vectors.
    """
    with one_line_errors():
        checkpoint = active_checkpoint()
        checkpoint.check()
        bank = make_bank(
            checkpoint,
            concepts=concepts,
            method=method,
            layers=layers,
            strength=None,
            random_vectors=random_vectors,
            seed=seed,
            steering="active",
            vectors=vectors,
        )
        tried = _strengths(bank, strengths)
        count = parse_count(samples, "samples", most=1000, least=1)
        most = parse_count(length, "length", most=1000, least=1)
        if isinstance(temperature, bool) or not 0 <= temperature <= 10:
            raise InputError(f"temperature={temperature!r}: expected a number from 0 to 10; pass e.g. -T temperature=1")
        messages = _chat(checkpoint, prompts)
    banks = [_injections(bank, concept, tried) for concept in bank.concepts]
    labels = {
        "share": "Concept words, at most",
        "live": "Live",
        "live_from": "Live from strength no.",
        "coherent_to": "Coherent to strength no.",
    }
    return Task(
        dataset=MemoryDataset(
            [
                Sample(
                    id=concept.replace(" ", "_"),
                    input=chat_messages(messages),
                    target=concept,
                    metadata={
                        "concept": concept,
                        "bank": number,
                        "arms": {name: row for row, name in enumerate(arms)},
                        "strengths": {
                            strength: [name for name in arms if name.endswith(f" at {strength}")] for strength in tried
                        },
                    },
                )
                for number, (concept, arms) in enumerate(zip(bank.concepts, banks, strict=True))
            ],
            name="top_of_mind",
        ),
        solver=continue_steered(
            [bank_text(list(arms.values())) for arms in banks],
            [1000 * bank.seed + index for index in range(count)],
            most,
            float(temperature),
        ),
        scorer=top_of_mind_texts(),
        config=GenerateConfig(max_connections=TRIALS_IN_FLIGHT),
        viewer=samples_view("Texts", "top_of_mind_texts", labels),
        version=1,
        metadata=facts(checkpoint, bank) | {"strength": ", ".join(tried)},
    )


def _strengths(bank: Bank, strengths: object) -> dict[str, tuple[float, bool]]:
    """The strengths to try, by what they are called: a number, and whether it is a share of the residual norm."""
    if strengths is None:
        numbers = [(factor * bank.strength, bank.relative) for factor in FACTORS]
    else:
        numbers = [parse_strength(each) for each in (strengths if isinstance(strengths, list) else [strengths])]
    named = {f"{'residual:' if relative else ''}{number:g}": (number, relative) for number, relative in numbers}
    if len(named) < len(numbers):
        raise InputError(f"strengths={strengths!r}: expected each once; pass e.g. -T strengths=4,8,16")
    return named


def _injections(bank: Bank, concept: str, tried: dict[str, tuple[float, bool]]) -> dict[str, Injection]:
    """The arms of one concept: the sham, and at every strength its vector and random ones."""
    alone = replace(bank, vectors=tuple(vector for vector in bank.vectors if vector.concept == concept))
    arms = {"sham": sham(bank.layers)}
    for name, (number, relative) in tried.items():
        steered = replace(alone, strength=number, relative=relative).injections[1:]
        for index, injection in enumerate(steered):
            arms[f"{'concept' if index == 0 else f'random {index}'} at {name}"] = injection
    return arms


def _chat(checkpoint: Checkpoint, prompts: str | None) -> tuple[dict[str, str], ...]:
    """The chat that is continued, which the model's template must carry as it is written."""
    messages = data.top_of_mind()
    if prompts:
        found = read_published(prompts)
        if len(found) != 1 or found[0].prior_messages:
            raise InputError(
                f"prompts {prompts}: {len(found)} conversations, or marked messages (add_injection); expected one "
                f"conversation without marks, which is continued; choose a file of this experiment"
            )
        messages = found[0].messages
    tokenize_chat(checkpoint.tokenizer, messages, 0)
    return messages
