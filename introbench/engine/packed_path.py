"""The fast path: nothing is computed twice.

The prior turn is run once as it is, up to the first steered block; from there on it is resumed with the arms side by
side, each from where it differs from others (`forks`), and their keys and values are kept. The questions are token
tries on top of it: run once as they are up to the same block, and resumed from there over every arm's keys. A pass
takes as many tokens and arms as are fast and fit the budget, so memory does not grow with the number of arms, questions
or cells.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from introbench.engine.attention import Enough, KeysAndValues, View, attending
from introbench.engine.forks import Forks
from introbench.engine.hooks import before_each, entering, input_of, looking_at, skipping
from introbench.engine.kernels import Kernels, onednn_products
from introbench.engine.memory import Steps, free_memory, is_out_of_memory
from introbench.engine.pieces import COMMON_TOKENS, Piece, Prior, Questions, Seen, given_to_arms
from introbench.engine.plan import Job
from introbench.engine.requests import NO_DELTAS, Arms, Deltas, Tokens
from introbench.engine.weights import Weights
from introbench.progress import tick

ARMS = 32
"""Arms that are run side by side at most. More are no faster, and their keys take memory."""


@dataclass
class _Clean:
    """A text run as one row with nothing added, as far as block `reached`."""

    text: Prior | Questions
    before: KeysAndValues
    every_block: bool = False
    reached: int = -1
    residual: Tensor = field(default_factory=lambda: torch.empty(0))
    seen: dict[int, Tensor] = field(default_factory=dict)


class Packed:
    """Runs jobs on one model.

    Args:
        weights: The model that answers.
        steps: How many tokens a pass takes.
        keys_bytes: Most memory that the arms' keys may take at a time.
        kernels: Which kernels to use.

    Attributes:
        attended: Whether a pass has gone through the model's attention; where it never does, no pass can be right.
    """

    def __init__(
        self,
        weights: Weights,
        steps: Steps,
        keys_bytes: int,
        kernels: Kernels,
    ) -> None:
        self._weights = weights
        self._n_layers = len(weights.parts.layers)
        self._steps = steps
        self._keys_bytes = keys_bytes
        self._kernels = kernels
        self.attended = False
        self._prior: tuple[Tokens, Weights, _Clean] | None = None
        self._filled: tuple[Tokens, Arms, KeysAndValues] | None = None

    @torch.inference_mode()
    def run(self, job: Job) -> Iterator[Seen]:
        """Ask a job's questions under each of its arms in turn."""
        questions = Questions(job.questions, len(job.prior), self._weights)
        asked: _Clean | None = None
        for arms in job.arms:
            first = self._n_layers if arms is None else arms.first
            prior = self._clean_prior(job.prior, arms)
            if asked is None or asked.before is not prior.before:
                asked = _Clean(questions, prior.before, job.every_block)
            self._advance(prior, first)
            self._advance(asked, first)
            if arms is None:
                seen: Mapping[int, Tensor] = {block: asked.seen[block] for block in self._watched(job.every_block)}
            else:
                seen = self._under(arms, job, prior, asked)
            yield Seen(arms, questions.questions, seen)

    @property
    def reductions(self) -> int:
        """How often memory ran out, so that a batch was cut."""
        return self._steps.reductions

    def release(self) -> None:
        """Let go of everything that is kept for later jobs."""
        self._prior = self._filled = None
        free_memory()

    def _watched(self, every_block: bool) -> range:
        return range(0 if every_block else self._n_layers - 1, self._n_layers)

    def _clean_prior(self, tokens: Tokens, arms: Arms | None) -> _Clean:
        """The clean run of a prior turn; the latest is kept, and begun anew if arms start below where it stands."""
        weights = (arms.filler if arms else None) or self._weights
        if self._prior is not None and self._prior[:2] == (tokens, weights):
            kept = self._prior[2]
            if arms is None or arms.first >= kept.reached or self._is_filled(tokens, arms):
                return kept
        self._prior = None
        if self._filled is not None and self._filled[0] != tokens:
            self._filled = None
        clean = _new_clean(tokens, weights)
        self._prior = (tokens, weights, clean)
        return clean

    def _is_filled(self, tokens: Tokens, arms: Arms) -> bool:
        return self._filled is not None and self._filled[0] == tokens and self._filled[1] is arms

    def _under(self, arms: Arms, job: Job, prior: _Clean, asked: _Clean) -> Mapping[int, Tensor]:
        """Fill the prior turn under some arms and ask, with as many of the arms at a time as fit."""
        per_row = self._keys_of_one_block(prior) * (self._n_layers - arms.first)
        parts = max(-(-arms.rows * per_row // self._keys_bytes), -(-arms.rows // ARMS))
        if self._is_filled(job.prior, arms):
            parts = 1
        while True:
            size = -(-arms.rows // parts)
            try:
                cut = (
                    [arms]
                    if size >= arms.rows
                    else [arms.part(row, min(row + size, arms.rows)) for row in range(0, arms.rows, size)]
                )
                several = [self._ask(part, job, prior, asked) for part in cut]
                if len(several) == 1:
                    return several[0]
                return {block: torch.cat([seen[block] for seen in several]) for block in several[0]}
            except Exception as error:
                if not is_out_of_memory(error) or size == 1:
                    raise
            self._filled = None
            free_memory()
            self._keys_bytes = per_row * (size // 2)
            parts = -(-arms.rows // (size // 2))
            self._steps.restore()

    def _keys_of_one_block(self, prior: _Clean) -> int:
        """Bytes that a prior turn's keys and values take in one block: measured, or at most, if no block has run."""
        if prior.reached > 0:
            return prior.before.bytes // prior.reached
        model = self._weights.model
        return 2 * prior.before.length * int(model.config.get_text_config().hidden_size) * model.dtype.itemsize

    def _ask(self, arms: Arms, job: Job, prior: _Clean, asked: _Clean) -> Mapping[int, Tensor]:
        filled = self._fill(arms, job.prior, prior)
        pieces: list[Mapping[int, Tensor]] = []

        def ask(piece: Piece) -> None:
            entry = asked.residual[:, piece.begin : piece.end]
            pieces.append(
                self._above(asked.text, piece, arms, filled, entry, arms.question_deltas, None, job.every_block)
            )

        self._in_pieces(asked.text, arms.rows, ask)
        above = {block: torch.cat([seen[block] for seen in pieces if seen], dim=1) for block in pieces[-1]}
        below = {block: seen for block, seen in asked.seen.items() if block < arms.first}
        return {block: arms.forks.spread(block, seen) for block, seen in (below | above).items()}

    def _above(
        self,
        text: Prior | Questions,
        piece: Piece,
        arms: Arms,
        before: KeysAndValues,
        entry: Tensor,
        deltas: Deltas,
        profile: Tensor | None,
        every_block: bool,
    ) -> Mapping[int, Tensor]:
        """Run a piece under every arm, from the first steered block on.

        Of the last block, every token's keys are needed, but its output only where a question ends.
        """
        last = self._n_layers - 1
        watched = range(arms.first, last) if every_block and not piece.keep else ()
        own = None if piece.keep else KeysAndValues(piece.end - piece.begin)
        view = View(piece.tries, piece.start, before, piece.keep, self._kernels.fused_attention, last, own)
        blocks = (arms.first, last)
        residual, seen = self._pass(
            text.weights, view, piece.tokens, blocks, watched, piece.ends, entry, arms.forks, deltas, profile
        )
        if own is None:
            return {}
        view = View(piece.tries, piece.start, before, False, self._kernels.fused_attention, own=own, ends_only=True)
        ends = [piece.tokens[end] for end in piece.ends]
        at_ends = residual[:, torch.tensor(piece.ends, device=residual.device)]
        _, seen_last = self._pass(
            text.weights, view, ends, (last, last), [last], range(len(ends)), at_ends, arms.forks, deltas
        )
        return {**seen, **seen_last}

    def _fill(self, arms: Arms, tokens: Tokens, prior: _Clean) -> KeysAndValues:
        """Keys and values of the prior turn under every arm, from the first steered block on."""
        if self._is_filled(tokens, arms):
            assert self._filled is not None
            return self._filled[2]
        self._filled = None  # free the old keys before the new ones are made
        if prior.reached != arms.first:  # memory ran out under kept keys, and the clean run has gone on since
            prior = _new_clean(tokens, prior.text.weights)
            self._advance(prior, arms.first)
        filled = KeysAndValues(len(tokens) + COMMON_TOKENS)

        def fill(piece: Piece) -> None:
            entry = prior.residual[:, piece.begin : piece.end]
            profile = None if arms.profile is None else arms.profile[:, piece.begin : piece.end]
            self._above(prior.text, piece, arms, filled, entry, arms.deltas, profile, every_block=False)

        self._in_pieces(prior.text, arms.rows, fill)
        self._filled = (tokens, arms, filled)
        return filled

    def _advance(self, clean: _Clean, to: int) -> None:
        """Run a text further, as one row with nothing added, until it enters block `to`."""
        if clean.reached >= to:
            return
        start = max(0, clean.reached)
        residuals: list[Tensor] = []
        pieces: list[Mapping[int, Tensor]] = []
        watched = [block for block in range(start, to) if clean.every_block or block == self._n_layers - 1]

        def go_on(piece: Piece) -> None:
            entry = clean.residual[:, piece.begin : piece.end] if clean.reached >= 0 else None
            view = View(piece.tries, piece.start, clean.before, piece.keep, self._kernels.fused_attention)
            ends = [] if piece.keep else piece.ends
            residual, seen = self._pass(clean.text.weights, view, piece.tokens, (start, to - 1), watched, ends, entry)
            residuals.append(residual)
            pieces.append(seen)

        self._in_pieces(clean.text, 1, go_on)
        clean.residual = torch.cat(residuals, dim=1)
        clean.seen |= {block: torch.cat([seen[block] for seen in pieces], dim=1) for block in watched}
        clean.reached = to

    def _in_pieces(self, text: Prior | Questions, rows: int, step: Callable[[Piece], None]) -> None:
        """Take a text piece by piece; one that is too large for the memory is taken again in smaller ones."""
        done = 0
        while done < text.length:
            piece = text.piece(done, self._steps.tokens(rows))
            try:
                step(piece)
            except Exception as error:
                if not is_out_of_memory(error) or not self._steps.halve():
                    raise
            else:
                done = piece.end
                continue
            free_memory()  # outside the handler: the error holds the frames that hold the memory

    def _pass(
        self,
        weights: Weights,
        view: View,
        tokens: Sequence[int],
        blocks: tuple[int, int],
        watched: Iterable[int],
        positions: Sequence[int],
        entry: Tensor | None = None,
        forks: Forks | None = None,
        deltas: Deltas = NO_DELTAS,
        profile: Tensor | None = None,
    ) -> tuple[Tensor, Mapping[int, Tensor]]:
        """One forward pass through some blocks.

        Args:
            weights: Which weights to run.
            view: What the tokens attend to; if it ends the pass at a block's keys, at the last of these blocks.
            tokens: Their ids.
            blocks: First and last block to run; none if the last is below the first.
            watched: Blocks after which to look at some positions.
            positions: Which ones, among the tokens.
            entry: Residual stream at the first block, [rows, tokens, hidden]; None to begin with the embeddings.
            forks: Where arms begin to differ; None without arms.
            deltas: What is added to blocks' outputs, [arms, hidden].
            profile: By how much each of the tokens is steered, [arms, tokens]; None for all of them in full.

        Returns:
            The residual stream where the pass stops, [rows, tokens, hidden]: after the last block, or where it enters
            the last block if the view ends it there; and what was seen, [rows, positions, hidden] by block. As many
            rows as differ there.
        """
        first, last = blocks
        parts = weights.parts
        layers = parts.layers
        outside = [layer for block, layer in enumerate(layers) if not first <= block <= last]
        stop = last if view.last is not None else last + 1
        as_tuples = weights.as_tuples  # runs the model once, so before it is prepared for this pass
        with ExitStack() as stack:
            stack.enter_context(weights.switched())
            stack.enter_context(attending(weights.model, view))
            stack.enter_context(onednn_products(self._kernels.onednn))
            stack.enter_context(skipping(outside, as_tuples))
            stack.enter_context(before_each(layers[first : last + 1], tick))
            if entry is not None and first < self._n_layers:
                stack.enter_context(entering(layers[first], entry, len(entry)))
            if forks is not None:
                for context in given_to_arms(layers, range(first, stop), forks, deltas, profile):
                    stack.enter_context(context)
            seen = stack.enter_context(looking_at(layers, watched, positions))
            arrived = stack.enter_context(input_of(layers[stop] if stop < self._n_layers else parts.final_norm))
            ids = torch.tensor([tokens], device=parts.device)
            positions_of_ids = view.positions[None].to(parts.device)
            try:
                parts.decoder(input_ids=ids, position_ids=positions_of_ids, attention_mask=None, use_cache=False)
            except Enough:
                pass
            finally:
                self.attended |= view.attended
        return arrived[-1], seen


def _new_clean(tokens: Tokens, weights: Weights) -> _Clean:
    """A prior turn of which nothing has run yet."""
    return _Clean(Prior(tokens, weights), KeysAndValues(len(tokens) + COMMON_TOKENS))
