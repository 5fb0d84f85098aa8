"""How strong should an injection be on this model? Dose and response, from too weak to see to too strong to read."""

from inspect_ai import Task, task

from introbench.provider.inject_api import active_checkpoint
from introbench.provider.resident import one_line_errors
from introbench.scorers.calibrate import dose_response
from introbench.steering.injection import Strength
from introbench.tasks.arguments import parse_count
from introbench.tasks.arms import make_bank
from introbench.tasks.continuations import chat_to_continue, choose_strengths, texts_task

SHARES = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""The strengths that are tried by default, as shares of the model's median residual norm."""


@task
def calibrate(
    concepts: str | list[str] | None = None,
    strengths: float | str | list[float | str] | None = None,
    samples: int = 2,
    length: int = 24,
    method: str = "pca_center",
    layers: str | int | list[int] | None = None,
    seed: int = 0,
    vectors: str | None = None,
) -> Task:
    """Find a strength for a new model: the strongest at which the text is still coherent.

    A norm means something else on every model, and a vector's norm says little about what it disturbs. So each strength
    is shown with its dose, the divergence in nats that it causes on neutral questions (`introbench.steering.dose`), and with how
    many vectors are live, and how many texts coherent, under active steering; one strength is proposed.

        inspect eval evals/calibrate.py --model inject/Qwen/Qwen2.5-7B-Instruct -M dtype=bfloat16
        inspect eval evals/calibrate.py -T strengths=kl:0.05,kl:0.2,kl:0.8 -T concepts=cats,bread,music

    Args:
        concepts: Words to inject; the nine published ones by default. Any word can be named.
        strengths: Norms of what is added at each layer, shares residual:SHARE of the model's median residual norm, or
            doses kl:NATS, from weak to strong; by default shares from 0.0125 to 0.8, in factors of two.
        samples: Texts for each vector and strength.
        length: Most tokens of a text.
        method: How a concept's vector is extracted: pca_center or mean_diff.
        layers: Steered decoder blocks as START:STOP, half-open, counted from 0; the model's known setting or the
            middle third by default.
        seed: Seed of the random vectors and of the sampling.
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
            random_vectors=0,
            seed=seed,
            steering="active",
            vectors=vectors,
        )
        tried = choose_strengths(strengths, [Strength(share, "residual") for share in SHARES])
        count = parse_count(samples, "samples", most=1000, least=1)
        most = parse_count(length, "length", most=1000, least=1)
        messages = chat_to_continue(checkpoint, None)
    return texts_task(
        "calibrate",
        checkpoint,
        bank,
        messages,
        tried,
        dose_response(),
        samples=count,
        length=most,
        temperature=1.0,
    )
