"""The engine on a server, against the engine in this process: a server that is right, and servers that are not."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from engine_requests import PRIOR, QUESTIONS, active, arms, assert_true, forking, in_part, requests_of
from fake_vllm import FakeVllm, serving
from transformers import PreTrainedModel

from introbench.engine import TransformersEngine, Weights
from introbench.engine.architecture import find_parts
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.engine import VllmEngine
from introbench.engine.vllm.path import steering_of
from introbench.engine.vllm.request import ServerRequest
from introbench.errors import InputError


@pytest.fixture
def fake(llama: PreTrainedModel) -> FakeVllm:
    return FakeVllm(llama, "llama")


@pytest.fixture
def client(fake: FakeVllm) -> Iterator[ServerClient]:
    with serving(fake) as url:
        client = ServerClient(url, wait=lambda seconds: None)
        yield client
        client.close()


def test_a_server_gives_what_one_forward_pass_gives(any_model: PreTrainedModel) -> None:
    batches = [
        *(arms(3), None, arms(2, blocks=(0, 1), seed=2), arms(2, blocks=(3, 4), seed=3), active(2)),
        *(active(2, blocks=(3, 4)), in_part(3), forking(6), replace(forking(6), profile=in_part(6).profile)),
    ]
    requests = [request for batch in batches for request in requests_of(PRIOR, QUESTIONS, batch)]
    with serving(FakeVllm(any_model, "any")) as url:
        client = ServerClient(url)
        assert_true(
            any_model,
            requests,
            VllmEngine(Weights(any_model), client, len(find_parts(any_model).layers)).read(requests),
        )
        client.close()


def test_arms_that_add_the_same_are_one_request(fake: FakeVllm, client: ServerClient, llama: PreTrainedModel) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    fake.requests = 0
    batch = arms(1)
    alike = type(batch).steered({block: torch.cat([delta, 0 * delta, delta]) for block, delta in batch.deltas.items()})
    readings = engine.read(requests_of(PRIOR, QUESTIONS[:2], alike))
    assert fake.requests == 4 + 1, "the last one asks whether the model is still the same"
    for reading in readings:
        torch.testing.assert_close(reading.logprobs[0], reading.logprobs[2], atol=1e-6, rtol=0)
    assert not torch.equal(readings[0].logprobs[0], readings[0].logprobs[1])


def test_texts_are_those_of_the_engine_in_this_process(client: ServerClient, llama: PreTrainedModel) -> None:
    deltas = arms(3, scale=2.0).deltas
    options = {"length": 6, "temperature": 1.0, "end": {5}}
    here = TransformersEngine(llama).continue_chat(PRIOR, deltas, [1, 1, 2], **options)  # type: ignore[arg-type]
    there = VllmEngine(Weights(llama), client, 4).continue_chat(PRIOR, deltas, [1, 1, 2], **options)  # type: ignore[arg-type]
    assert [one.tokens for one in here] == [one.tokens for one in there]
    assert [one.mean_logprob for one in here] == pytest.approx([one.mean_logprob for one in there], abs=1e-4)


@pytest.mark.parametrize(("length", "temperature"), [(0, 1.0), (3, -1.0), (3, float("nan"))])
def test_texts_of_no_length_or_temperature_are_refused(
    client: ServerClient, llama: PreTrainedModel, length: int, temperature: float
) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    with pytest.raises(InputError, match="expected"):
        engine.continue_chat(PRIOR, arms(1).deltas, [1], length=length, temperature=temperature, end={5})


def test_every_steering_has_a_salt_of_its_own(fake: FakeVllm, client: ServerClient, llama: PreTrainedModel) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    fake.salts.clear()
    engine.read(requests_of(PRIOR, QUESTIONS, arms(3)))
    assert len(set(fake.salts[:-1])) == 3 * len({len(PRIOR + question) for question in QUESTIONS})


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hook", "tokens seen at block 3: none"),
        ("restart", r"fails in our hook \(a piece of tokens 20:25 of 24\)"),
        ("restart-1", r"fails in our hook \(a piece of tokens \d+:\d+ of 24\)"),
        ("raise", r"fails in our hook \(ValueError: broken\)"),
        ("rank", r"block \d was run by ranks 0 \(4 attempts\); expected ranks 0, 1"),
        ("unsteered", "a steered conversation gives what a plain one gives"),
        ("beside", "each of .* conversations side by side is .* nats off from what it gives by itself"),
        ("nan", "is nan nats off"),
        ("tokens", "that are not those sent"),
        ("plain", "gives nothing of the hook back; expected a server with vllm-lens"),
        ("polluted", "a plain conversation after steered ones is .* nats off"),
    ],
)
def test_a_server_that_is_wrong_is_refused(
    fake: FakeVllm, client: ServerClient, llama: PreTrainedModel, fault: str, says: str
) -> None:
    fake.fault = fault
    with pytest.raises(InputError, match=says):
        VllmEngine(Weights(llama), client, 4)


@pytest.mark.parametrize("fault", ["hook", "restart", "tokens", "plain"])
def test_a_server_that_goes_wrong_in_the_run_ends_it(
    fake: FakeVllm, client: ServerClient, llama: PreTrainedModel, fault: str
) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    fake.fault = fault
    with pytest.raises(InputError, match=r"server http.*; expected .*; look into the server's own log"):
        engine.read(requests_of(PRIOR, QUESTIONS, arms(2)))


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("lm_head", "a plain conversation is .* nats off from what this model's readout gives"),
        ("model.layers.0.mlp.down_proj", "the residual stream after its first block is off by"),
        ("model.embed_tokens", "the residual stream after its first block is off by"),
    ],
)
def test_another_model_is_refused(
    fake: FakeVllm, client: ServerClient, llama: PreTrainedModel, part: str, says: str
) -> None:
    fake.model = copy.deepcopy(llama)
    fake.layers = fake.model.model.layers
    with torch.no_grad():
        fake.model.get_submodule(part).weight.mul_(1.2)
    with pytest.raises(InputError, match=says):
        VllmEngine(Weights(llama), client, 4)


def test_a_server_that_is_full_for_a_moment_is_asked_again(
    fake: FakeVllm, client: ServerClient, llama: PreTrainedModel
) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    requests = requests_of(PRIOR, QUESTIONS, arms(2))
    before = engine.read(requests)
    fake.statuses = [503, 500, 429]
    again = engine.read(requests)
    assert all(torch.equal(one.logprobs, other.logprobs) for one, other in zip(before, again, strict=True))
    fake.statuses = [400]
    with pytest.raises(InputError, match=r"refuses a request of \d+ tokens with status 400 \(no room\)"):
        engine.read(requests)


def test_a_server_without_memory_says_what_to_do(fake: FakeVllm, client: ServerClient, llama: PreTrainedModel) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    assert not engine.has_failed
    fake.statuses, fake.message = [500] * 1000, "CUDA out of memory. Tried to allocate 2.00 GiB."
    with pytest.raises(InputError, match=r"CUDA out of memory\. .*4 attempts\); expected room for fewer tokens"):
        engine.read(requests_of(PRIOR, QUESTIONS[:1], arms(1)))
    assert engine.has_failed


def test_a_server_that_does_not_answer_in_time_is_asked_again(fake: FakeVllm, llama: PreTrainedModel) -> None:
    def wait(_seconds: float) -> None:
        fake.answers.set()
        client._http.timeout = 60.0

    with serving(fake) as url:
        client = ServerClient(url, wait=wait)
        engine = VllmEngine(Weights(llama), client, 4)
        requests = requests_of(PRIOR, QUESTIONS[:1], arms(1))
        before = engine.read(requests)
        client._http.timeout = 0.2
        fake.answers.clear()
        (after,) = engine.read(requests)
        client.close()
    assert torch.equal(before[0].logprobs, after.logprobs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: model.model.layers[2].mlp.down_proj.weight.mul_(1.5), "nats off from what they were when"),
        (lambda model: model.to(torch.bfloat16), r"has gone over from torch\.float32 to torch\.bfloat16"),
    ],
)
def test_a_model_that_changes_under_a_run_ends_it(
    fake: FakeVllm, client: ServerClient, llama: PreTrainedModel, change: Callable[[PreTrainedModel], object], says: str
) -> None:
    engine = VllmEngine(Weights(llama), client, 4)
    fake.model = copy.deepcopy(llama)
    fake.layers = fake.model.model.layers
    with torch.no_grad():
        change(fake.model)
    with pytest.raises(InputError, match=says + ".*expected one model throughout a run"):
        engine.read(requests_of(PRIOR, QUESTIONS, arms(2)))
    assert engine.has_failed


def test_the_dtype_of_a_server_is_the_engines(llama: PreTrainedModel) -> None:
    fake = FakeVllm(copy.deepcopy(llama).to(torch.bfloat16), "llama")
    with serving(fake) as url:
        client = ServerClient(url)
        engine = VllmEngine(Weights(llama), client, 4)
        client.close()
    assert engine.dtype == torch.bfloat16
    assert "states in bfloat16" in engine.notes["readout"]


def test_nothing_at_an_address_is_one_line() -> None:
    with pytest.raises(InputError, match=r"server http://127\.0\.0\.1:9: /v1/models cannot be read"):
        ServerClient("http://127.0.0.1:9/v1/")


def test_a_request_of_nothing_adds_nothing() -> None:
    steering = steering_of(arms(2, scale=0.0), 1, 4, 9)
    assert not steering.additions
    request = ServerRequest((1, 2, 3), {}, torch.zeros(0, 3), {0: (2,)})
    assert request.body("m")["cache_salt"] == ServerRequest((4, 5, 6), {}, torch.zeros(0, 3), {1: (0,)}).steering_digest
