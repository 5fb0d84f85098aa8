"""Compares a vLLM server's numbers with each other and with this model's readout before any of them is used.

A few short conversations are run plain, steered, and plain again; steered by the server's own steering, which shares no
code with ours; and all side by side, against one at a time.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from introbench.engine.hooks import looking_at
from introbench.engine.proof import tolerance
from introbench.engine.readout import Readout
from introbench.engine.requests import Arms, Tokens
from introbench.engine.vllm.client import ServerClient
from introbench.engine.vllm.path import Steering, steering_of
from introbench.engine.vllm.request import ServerRequest, States, own_steering
from introbench.engine.weights import Weights
from introbench.errors import InputError

LENGTHS = (24, 61, 150)
"""Tokens of the conversations; the first parts of them are the prior turns."""

PRIOR = 16

TOKENS_AT_ONCE = (3328, 4608)
"""Tokens that are sent side by side: more than a server of ours puts into one pass (`server.TOKENS_IN_A_PASS`), and
than that and the first ones to arrive, so that some conversation is cut; more for a server that cuts none of them."""

FIRST_BLOCK = {"float32": 1e-3, "float16": 0.01, "bfloat16": 0.03}
"""Largest difference of the residual stream after the first block, as a share of its norm, by the server's dtype."""

STRENGTHS = (0.5, 1.0, 2.0, 4.0)
"""Norms of what is added, in those of the residual stream; the first that moves the answer enough is compared."""


class Canary(NamedTuple):
    """A conversation whose numbers are known, to be asked again in a run: the model may change under it.

    Attributes:
        request: The conversation.
        dtype: The dtype of the server's residual stream.
        expected: Log-probabilities after it, float32 [vocabulary].
        readout: The readout of the server's states.
    """

    request: ServerRequest
    dtype: torch.dtype
    expected: Tensor
    readout: Readout

    def ask(self, client: ServerClient) -> None:
        """Ask it again.

        Raises:
            InputError: The server runs in another dtype, or its numbers are others.
        """
        (states,) = client.states([self.request])
        dtype = getattr(torch, states.dtype)
        if dtype != self.dtype:
            raise client.failure(f"has gone over from {self.dtype} to {dtype}", "one model throughout a run")
        (block,) = states.by_block
        off = _distance(torch.log_softmax(self.readout(states.by_block[block])[0], dim=-1), self.expected)
        if not off <= tolerance(dtype):
            found = f"its numbers are {off:.2g} nats off from what they were when the run began"
            raise client.failure(found, "one model throughout a run")


class Proven(NamedTuple):
    """A server whose numbers can be trusted.

    Attributes:
        readout: The readout of its states.
        dtype: The dtype of its residual stream.
        notes: Lines on the `readout`, the `path` and the `server`, for the log.
        canary: A conversation to ask again in a run.
    """

    readout: Readout
    dtype: torch.dtype
    notes: dict[str, str]
    canary: Canary


def proven_server(weights: Weights, client: ServerClient, n_layers: int) -> Proven:
    """What can be trusted of a server.

    Args:
        weights: The embeddings, first blocks, final norm and unembedding of the model.
        client: The server.
        n_layers: Number of the model's decoder blocks.

    Raises:
        InputError: The server's numbers cannot be trusted.
    """
    return _Proof(weights, client, n_layers).run()


class _Proof:
    def __init__(self, weights: Weights, client: ServerClient, n_layers: int) -> None:
        self._weights = weights
        self._client = client
        self._last = n_layers - 1
        self._hidden = int(weights.model.config.get_text_config().hidden_size)
        self._vocabulary = int(weights.model.config.get_text_config().vocab_size)
        self._readout = Readout(weights.model, weights.parts)
        self._tolerance = tolerance(torch.float32)
        self._dtype = ""

    def run(self) -> Proven:
        longest = int(self._client.facts.get("max_model_len") or max(LENGTHS) + 1) - 1  # one token is written
        chats = [self._tokens(min(length, longest), step) for step, length in enumerate(LENGTHS)]
        self._learn_ranks(chats[0])
        plain = [self._request(chat, None) for chat in chats]
        before = self._read_alone(plain)
        self._refuse_another_first_block(chats[-1])
        of_server = [self._client.logprobs(chat, {}) for chat in chats]
        worst = self._compare("a plain conversation", "this model's readout gives", before, of_server)
        steered, first = self._steered(chats, before)
        by_server = [self._client.logprobs(request.tokens, own_steering(request)) for request in steered]
        worst = max(worst, self._compare("a steered conversation", "the server's own steering gives", first, by_server))
        again = [self._client.logprobs(chats[-1], {})]
        worst = max(worst, self._compare("a plain conversation after steered ones", "before them", before[-1:], again))
        requests, alone = [*plain, *steered], [*before, *first]
        for tokens in TOKENS_AT_ONCE:
            crowd = requests * (tokens // sum(len(request.tokens) for request in requests) + 1)
            together = self._client.states(crowd)
            what = f"each of {len(crowd)} conversations side by side"
            for number, logprobs in enumerate(self._logprobs(together)):
                off = _distance(logprobs, alone[number % len(alone)])
                self._refuse_if_far(what, "it gives by itself", off)
                worst = max(worst, off)
            cut = sum(states.is_cut for states in together)
            if cut:
                break
        return Proven(
            self._readout,
            getattr(torch, self._dtype),
            {
                "readout": f"float32 norm and unembedding, in this process, of states in {self._dtype} from a server",
                "path": f"vLLM {self._client.version} with vllm-lens: plain, steered, and {len(crowd)} side by side "
                f"({cut} of them cut into pieces) within {worst:.1e} nats of each other",
                "server": f"{self._client.base_url}, which serves {self._client.model}",
            },
            Canary(plain[0], getattr(torch, self._dtype), before[0], self._readout),
        )

    def _learn_ranks(self, chat: Tokens) -> None:
        """Find out which processes of the server run which block; from then on all of them have to answer."""
        end = (len(chat) - 1,)
        blocks = range(self._last + 1)
        (states,) = self._client.states(
            [ServerRequest(chat, {}, torch.zeros(0, len(chat)), dict.fromkeys(blocks, end))]
        )
        self._client.ranks = states.ranks
        self._dtype = states.dtype
        self._tolerance = tolerance(getattr(torch, self._dtype))

    def _steered(self, chats: Sequence[Tokens], plain: Sequence[Tensor]) -> tuple[list[ServerRequest], list[Tensor]]:
        """The conversations, steered as strongly as a comparison needs, and what they give."""
        block, chat = self._last // 2, chats[-1]
        request = ServerRequest(chat, {}, torch.zeros(0, len(chat)), {block: range(1, PRIOR)})
        (states,) = self._client.states([request])
        norm = float(states.by_block[block].norm(dim=-1).median())
        for strength in STRENGTHS:
            arms = self._arms(block, strength * norm)
            requests = [self._request(chat, arms) for chat in chats]
            logprobs = self._read_alone(requests)
            if max(map(_distance, logprobs, plain)) > 2 * self._tolerance:
                return requests, logprobs
        raise self._refusal("a steered conversation gives what a plain one gives")

    def _refuse_another_first_block(self, chat: Tokens) -> None:
        """Compare the residual stream after the first block with what this process computes."""
        layers, ids = self._weights.parts.layers, torch.tensor([list(chat)])
        with torch.inference_mode(), looking_at(layers, [0], range(len(chat))) as seen:
            self._weights.parts.decoder(ids, use_cache=False)
        request = ServerRequest(chat, {}, torch.zeros(0, len(chat)), {0: range(len(chat))})
        (states,) = self._client.states([request])
        expected = seen[0][0].float()
        off = float((states.by_block[0] - expected).norm() / expected.norm())
        if not off <= FIRST_BLOCK.get(self._dtype, 0.03):
            raise self._refusal(f"the residual stream after its first block is off by {off:.2g} of its norm")

    def _tokens(self, length: int, step: int) -> Tokens:
        return tuple((37 * position + 11 + 101 * step) % self._vocabulary for position in range(length))

    def _arms(self, block: int, norm: float) -> Arms:
        drawn = torch.randn(1, self._hidden, generator=torch.Generator().manual_seed(0))
        drawn *= norm / drawn.norm()
        return Arms.steered(dict.fromkeys(range(block, min(block + 2, self._last + 1)), drawn))

    def _request(self, tokens: Tokens, arms: Arms | None) -> ServerRequest:
        added = Steering({}, torch.zeros(0, len(tokens))) if arms is None else steering_of(arms, 0, PRIOR, len(tokens))
        return ServerRequest(tokens, added.additions, added.shares, {self._last: (len(tokens) - 1,)})

    def _read_alone(self, requests: Sequence[ServerRequest]) -> list[Tensor]:
        """Log-probabilities after conversations that are sent one after the other, float32 [vocabulary] each."""
        return self._logprobs([self._client.states([request])[0] for request in requests])

    def _logprobs(self, states: Sequence[States]) -> list[Tensor]:
        hidden = {int(one.by_block[self._last].shape[-1]) for one in states}
        if hidden != {self._hidden}:
            raise self._refusal(f"its residual stream has {hidden} numbers, and not {self._hidden}")
        return [torch.log_softmax(self._readout(one.by_block[self._last])[0], dim=-1) for one in states]

    def _compare(self, what: str, other: str, ours: Sequence[Tensor], theirs: Sequence[Mapping[int, float]]) -> float:
        """The largest root mean square difference, in nats; refuses one that is too large."""
        worst = 0.0
        for logprobs, of_tokens in zip(ours, theirs, strict=True):
            off = _distance(logprobs[list(of_tokens)], torch.tensor(list(of_tokens.values())))
            self._refuse_if_far(what, other, off)
            worst = max(worst, off)
        return worst

    def _refuse_if_far(self, what: str, other: str, off: float) -> None:
        if not off <= self._tolerance:
            raise self._refusal(f"{what} is {off:.2g} nats off from what {other}")

    def _refusal(self, what: str) -> InputError:
        return InputError(
            f"server {self._client.base_url}: {what}; expected the same within {self._tolerance:g}; start a server of "
            f"this model with --no-enable-prefix-caching and vllm-lens, or leave --model-base-url out"
        )


def _distance(one: Tensor, other: Tensor) -> float:
    """Root mean square difference of log-probabilities, in nats."""
    return float((one - other).square().mean().sqrt())
