"""The engine on a transformers model in this process, by the fastest path that has proved itself on it."""

from collections.abc import Collection, Sequence
from functools import cached_property

from transformers import PreTrainedModel

from introbench.engine.continuation import Continuation, continue_chat
from introbench.engine.engine import Engine
from introbench.engine.kernels import Kernels, candidates
from introbench.engine.memory import PassSize, default_budget, token_bytes
from introbench.engine.packed_path import FastPath
from introbench.engine.products import bytes_of_copies, ranking
from introbench.engine.proof import proven_path, proven_readout
from introbench.engine.proof_of_steps import disagreement_of_steps
from introbench.engine.requests import Deltas, Request, Tokens, Want
from introbench.engine.shared_steps import StepKernels
from introbench.engine.weights import Weights
from introbench.engine.windows import EVERYWHERE, Window
from introbench.progress import tell

FASTEST_PASS = {"cpu": 1536}
"""Most tokens of all rows in a forward pass, by type of device; more are no faster and only take memory."""

_FASTEST_PASS_ELSEWHERE = 16_384

COPIES_SHARE = 4
"""Copies of weights may take one part in so many of the memory."""


class TransformersEngine(Engine):
    """Runs one model in this process.

    Args:
        model: A decoder-only transformers model, or one of its sets of weights.
        memory: Bytes that forward passes and their caches may take; by default half of the device's memory.
        fast: Whether the fast path may be used at all.
        products: The kind of products in linear maps, a key of `products.PRODUCTS`; None for the fastest.

    Attributes:
        notes: A line each on the `readout`, the `path` and, where it is fast, the `products`.

    Raises:
        InputError: The architecture is not supported.
    """

    def __init__(
        self,
        model: PreTrainedModel | Weights,
        memory: int | None = None,
        fast: bool = True,
        products: str | None = None,
    ) -> None:
        weights = model if isinstance(model, Weights) else Weights(model)
        readout, on_readout = proven_readout(weights)
        super().__init__(weights, readout)
        self._memory = memory or default_budget(self.parts.device)
        self.notes["readout"] = on_readout
        kernels: Sequence[Kernels] = ()
        if fast and readout is not None:
            layers = self.parts.layers
            ranked = ranking(self.parts.device, self.model.dtype, layers, self._memory // COPIES_SHARE, products)
            kernels = candidates(ranked.products)
            self.notes["products"] = ranked.note
        self._path, self.notes["path"] = proven_path(weights, readout, self._fast_path if fast else None, kernels)
        if not isinstance(self._path, FastPath):
            self.notes.pop("products", None)

    def continue_chat(
        self,
        prompt: Tokens,
        deltas: Deltas,
        seeds: Sequence[int],
        *,
        length: int,
        temperature: float,
        end: Collection[int],
        window: Window = EVERYWHERE,
        scored: bool = True,
    ) -> list[Continuation]:
        """Continue a chat under steering, one text per row; see `introbench.engine.continuation`.

        Texts that are not scored are written by shared steps, where these agree with the model.

        Raises:
            InputError: The chat with its continuation is longer than the model's positions.
        """
        self.refuse([Request((*prompt, *[prompt[0]] * length), 1, Want())])
        return continue_chat(
            self.weights,
            self.readout,
            prompt,
            deltas,
            seeds,
            length=length,
            temperature=temperature,
            end=end,
            memory=self._memory,
            window=window,
            scored=scored,
            fast=None if scored else self._steps,
        )

    @cached_property
    def _steps(self) -> StepKernels | None:
        """What shared steps are computed by, once they have proved themselves on this model; None without them."""
        if self.readout is None or not isinstance(self._path, FastPath):
            return None
        kernels = self._path.step_kernels
        if reason := disagreement_of_steps(self.weights, self.readout, kernels):
            tell(f"texts are written without shared steps: {reason}")
            return None
        return kernels

    def _fast_path(self, pass_tokens: int | None, kernels: Kernels) -> FastPath:
        fastest = pass_tokens or FASTEST_PASS.get(self.parts.device.type, _FASTEST_PASS_ELSEWHERE)
        memory = max(1, self._memory - bytes_of_copies(kernels.products, self.parts.layers))
        pass_size = PassSize(token_bytes(self.model), memory // 2, fastest)
        return FastPath(self.weights, pass_size, keys_bytes=memory // 2, kernels=kernels)
