"""A real vLLM server on the embedded model, against the engine in this process."""

from collections.abc import Iterator

import psutil
import pytest
import torch
from torch import Tensor

from introbench.checks.reference import Additions
from introbench.checks.server_reference import ServerReference
from introbench.engine import Arms, Reading, Request, TransformersEngine, Want, Weights
from introbench.engine.requests import Tokens
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.engine import VllmEngine
from introbench.engine.vllm.request import ServerError, ServerRequest
from introbench.engine.vllm.server import Server
from introbench.errors import InputError
from introbench.models.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

LAYERS = range(10, 20)
WANT = Want(tokens=tuple(range(0, 49152, 512)), top=5)


def random_tokens(length: int, seed: int) -> Tokens:
    return tuple(torch.randint(0, 49152, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


def random_arms(rows: int, seed: int, norm: float = 40.0) -> Arms:
    """A sham first, then vectors of a norm."""
    draw = torch.Generator().manual_seed(seed)

    def vectors() -> Tensor:
        drawn = torch.randn(rows, 576, generator=draw)
        drawn *= norm / drawn.norm(dim=1, keepdim=True)
        drawn[0] = 0
        return drawn

    return Arms.steered({layer: vectors() for layer in LAYERS})


def trials(prior: int, questions: int, arms: Arms, seed: int) -> list[Request]:
    """Questions of different lengths after one prior turn, under some arms."""
    first = random_tokens(prior, seed)
    return [
        Request(first + random_tokens(5 + 3 * number, 1000 * seed + number), prior, WANT, arms)
        for number in range(questions)
    ]


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint("smollm2")


@pytest.fixture(scope="session")
def here(checkpoint: Checkpoint) -> TransformersEngine:
    return TransformersEngine(checkpoint.load())


@pytest.fixture(scope="session")
def server(checkpoint: Checkpoint) -> Iterator[Server]:
    server = Server(checkpoint.source, {"dtype": "float32", "max-model-len": "4096"})
    server.wait()
    yield server
    server.close()


@pytest.fixture(scope="session")
def there(checkpoint: Checkpoint, server: Server) -> Iterator[VllmEngine]:
    client = ServerClient(server.base_url, wait=lambda seconds: None)
    yield VllmEngine(Weights(checkpoint.load_first_block()), client, checkpoint.n_layers)
    client.close()


def shifts(reading: Reading) -> Tensor:
    return reading.logprobs - reading.logprobs[:1]


def test_four_hundred_trials_are_those_of_the_engine_in_this_process(
    here: TransformersEngine, there: VllmEngine
) -> None:
    requests = [
        *trials(60, 8, random_arms(19, 1), 1),
        *trials(30, 20, random_arms(5, 2), 2),
        *trials(20, 20, random_arms(5, 3), 3),
        *trials(120, 10, random_arms(5, 4), 4),
        *trials(40, 8, random_arms(1, 5), 5),
    ]
    assert sum(request.arms.rows for request in requests if request.arms) >= 400
    wrong = 0
    for ours, theirs in zip(here.read(requests), there.read(requests), strict=True):
        off = torch.maximum((ours.logprobs - theirs.logprobs).abs(), (shifts(ours) - shifts(theirs)).abs())
        wrong += int((off.max(dim=1).values > 1e-3).sum())
    assert wrong == 0


def test_a_plain_trial_after_a_steered_one_is_the_one_before(there: VllmEngine) -> None:
    (plain,) = trials(200, 1, random_arms(1, 1), 9)
    (steered,) = trials(200, 1, random_arms(4, 5), 9)
    (before,), _, (after,) = there.read([plain]), there.read([steered]), there.read([plain])
    assert torch.equal(before.logprobs, after.logprobs)


def test_a_conversation_that_is_cut_into_pieces_is_steered_at_the_same_tokens(
    here: TransformersEngine, there: VllmEngine
) -> None:
    (long,) = trials(2600, 1, random_arms(2, 6), 6)
    (ours,), (theirs,) = here.read([long]), there.read([long])
    torch.testing.assert_close(theirs.logprobs, ours.logprobs, atol=1e-3, rtol=0)


def test_the_lens_and_texts_are_those_of_the_engine_in_this_process(
    here: TransformersEngine, there: VllmEngine
) -> None:
    (request,) = trials(60, 1, random_arms(3, 7), 7)
    wanted = Request(request.tokens, request.prior, Want(WANT.tokens, lens=True, residuals=True), request.arms)
    (ours,), (theirs,) = here.read([wanted]), there.read([wanted])
    torch.testing.assert_close(theirs.lens, ours.lens, atol=2e-3, rtol=0)
    torch.testing.assert_close(theirs.residuals, ours.residuals, atol=2e-2, rtol=1e-3)
    deltas = random_arms(2, 8).deltas
    texts = [
        engine.continue_chat(request.tokens, deltas, [3, 3], length=8, temperature=1.0, end={2})
        for engine in (here, there)
    ]
    assert [one.tokens for one in texts[0]] == [one.tokens for one in texts[1]]


def test_the_reference_is_the_servers_own(here: TransformersEngine, there: VllmEngine) -> None:
    (request,) = trials(60, 1, random_arms(2, 9), 9)
    assert request.arms is not None
    shares = 1.0 * (torch.arange(len(request.tokens)) < request.prior)
    vectors = {block: delta[1] for block, delta in request.arms.deltas.items()}
    logprobs = ServerReference(there.client, 49152).logprobs(request.tokens, 60, Additions(vectors, shares))
    (reading,) = here.read([Request(request.tokens, 60, Want(tuple(range(49152))), request.arms)])
    named = ~logprobs.isnan()
    assert named.sum() == 20
    torch.testing.assert_close(logprobs[named], reading.logprobs[1][named], atol=1e-3, rtol=0)


def test_a_hook_that_raises_is_noticed(there: VllmEngine) -> None:
    tokens = random_tokens(20, 1)
    broken = ServerRequest(tokens, {12: torch.randn(1, 575)}, torch.ones(1, 20), {29: (19,)})
    with pytest.raises(InputError, match=r"fails in our hook \(RuntimeError"):
        there.client.states([broken])


def test_more_layers_than_the_model_has_are_refused(there: VllmEngine) -> None:
    with pytest.raises((InputError, ServerError), match="server http"):
        there.client.states([ServerRequest((1, 2, 3), {}, torch.zeros(0, 3), {31: (2,)})])


def test_prefix_caching_is_survived_and_a_dead_server_is_named(
    checkpoint: Checkpoint, here: TransformersEngine
) -> None:
    """A server that we did not start, with vLLM's defaults; then it is killed."""
    server = Server(checkpoint.source, {"dtype": "float32", "max-model-len": "2048", "enable-prefix-caching": ""}, {})
    server.wait()
    client = ServerClient(server.base_url, wait=lambda seconds: None)
    engine = VllmEngine(Weights(checkpoint.load_first_block()), client, checkpoint.n_layers)
    (request,) = trials(300, 1, random_arms(3, 3), 3)
    (ours,) = here.read([Request(request.tokens, request.prior, Want(tuple(range(49152))), request.arms)])
    engine.read([request])
    plain = client.logprobs(request.tokens, {})  # may find whatever is kept under these tokens
    expected = ours.logprobs[0, list(plain)]
    torch.testing.assert_close(torch.tensor(list(plain.values())), expected, atol=1e-3, rtol=0)
    port = server.base_url.rpartition(":")[2]
    commands = {child: " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)}
    (first,) = [child for child, command in commands.items() if port in command and "keeper.py" not in command]
    first.kill()
    with pytest.raises(InputError, match=r"server http.*does not answer"):
        engine.read([request])
    client.close()
    server.close()
