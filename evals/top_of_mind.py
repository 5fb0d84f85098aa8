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

FACTORS = (0.25, 0.5, 1, 2)
"""The strengths that are tried by default, as multiples of the model's own."""
ROTATIONS = 19
"""Random vectors beside which a vector must be the best: one that does nothing of its own is so once in 20 times."""
ONLY_READ = "rotation"
"""Begins the names of random vectors under which no texts are written."""


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

    Does the vector do anything, and is the text still coherent? Scored without a judge: how much likelier the concept's
    word becomes where the model goes on, beside the sham and 19 random vectors of the same norm; the share of the
    concept's words in the texts, repetition, length, and how likely the texts are under the model as it is. A vector
    that is not live here is no evidence of anything elsewhere.

        inspect eval evals/top_of_mind.py --model inject/smollm2
        inspect eval evals/top_of_mind.py -T concepts=volcanoes -T strengths=4,8,16 -T samples=8

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        strengths: Norms of what is added at each layer, or shares residual:SHARE of the model's median residual norm;
            by default a quarter to twice the model's known setting or residual:0.05.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        temperature: Of sampling; 0 for the most likely token.
        method: How a concept's vector is extracted: pca_center or mean_diff.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        random_vectors: Random vectors that texts are written under, for each concept and strength.
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
    arms = [_injections(bank, concept, tried) for concept in bank.concepts]
    names = list(arms[0])
    labels = {
        "gain": "Gain of the word (nats)",
        "random_gain": "Random vectors, at most",
        "live": "Live",
        "coherent_to": "Coherent to strength no.",
        "share": "Concept words, at most",
    }
    factors = {
        "arms": {name: row for row, name in enumerate(names) if not name.startswith(ONLY_READ)},
        "rows": {each: [row for row, name in enumerate(names) if name.endswith(f" at {each}")] for each in tried},
        "strengths": {
            each: [name for name in names if name.endswith(f" at {each}") and not name.startswith(ONLY_READ)]
            for each in tried
        },
        "reference": next(
            (each for each, value in tried.items() if value == (bank.strength, bank.relative)), [*tried][-1]
        ),
    }
    return Task(
        dataset=MemoryDataset(
            [
                Sample(
                    id=concept.replace(" ", "_"),
                    input=chat_messages(messages),
                    target=concept,
                    metadata={"concept": concept, "bank": number, **factors},
                )
                for number, concept in enumerate(bank.concepts)
            ],
            name="top_of_mind",
        ),
        solver=continue_steered(
            [bank_text(list(each.values())) for each in arms],
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
    own = tuple(vector for vector in bank.vectors if vector.concept == concept)
    arms = {"sham": sham(bank.layers)}
    for name, (number, relative) in tried.items():
        whole = replace(
            bank, vectors=own, strength=number, relative=relative, random_arms=max(ROTATIONS, bank.random_arms)
        )
        for index, injection in enumerate(whole.injections[1:]):
            random = f"random {index}" if index <= bank.random_arms else f"{ONLY_READ} {index}"
            arms[f"{'concept' if index == 0 else random} at {name}"] = injection
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
