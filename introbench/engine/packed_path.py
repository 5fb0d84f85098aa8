"""The fast path, which packs arms and questions into shared passes so that nothing is computed twice.

The prior turn is run once with nothing added, up to the first steered block. From there it is resumed with the arms
side by side, which become rows of their own only where they begin to differ (`forks`); their keys and values are kept.
The questions are branches of token tries that follow the prior turn: they too are run once up to the first steered
block, and resumed from there over every arm's keys. A pass takes as many tokens and arms as are fast and fit the
budget, so memory does not grow with the number of arms or questions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from introbench.engine.attention import AttentionOfPass, EndOfPass, KeysAndValues, attending
from introbench.engine.branches import BEGINNING_TOKENS
from introbench.engine.clean_run import CleanRun
from introbench.engine.forks import Forks
from introbench.engine.hooks import before_each, entering, input_of, looking_at, skipping, steering_arms
from introbench.engine.kernels import Kernels
from introbench.engine.memory import PassSize, free_memory, is_out_of_memory
from introbench.engine.pieces import Piece, PriorTurn, QuestionTries
from introbench.engine.plan import EndStates, Job
from introbench.engine.products import LinearMaps
from introbench.engine.requests import NO_DELTAS, Arms, Deltas, Tokens
from introbench.engine.shared_steps import StepKernels
from introbench.engine.weights import Weights
from introbench.progress import tick

MOST_ARMS = 32
"""Most arms that are run side by side. More are no faster, and their keys take memory."""


_KeptPrior = tuple[Tokens, Weights, CleanRun]
_KeptFill = tuple[Tokens, Arms, KeysAndValues]


class FastPath:
    """Runs jobs on one model without computing anything twice.

    Args:
        weights: The model that answers.
        pass_size: How many tokens a forward pass takes.
        keys_bytes: Most memory that the arms' keys and values may take at a time.
        kernels: The kernels to use.

    Attributes:
        attended: Whether a pass has used the attention of `engine.attention`; without it, no pass can be right.
    """

    def __init__(self, weights: Weights, pass_size: PassSize, keys_bytes: int, kernels: Kernels) -> None:
        self._weights = weights
        self._n_layers = len(weights.parts.layers)
        self._pass_size = pass_size
        self._keys_bytes = keys_bytes
        self._kernels = kernels
        self._linear_maps = LinearMaps(kernels.products, weights.parts.layers)
        self.attended = False
        self._prior: _KeptPrior | None = None
        self._filled: _KeptFill | None = None
        self._aside: tuple[_KeptPrior | None, _KeptFill | None] | None = None

    @torch.inference_mode()
    def run(self, job: Job) -> Iterator[EndStates]:
        """Ask a job's questions, under one of its arms after the other."""
        tries = QuestionTries(job.questions, len(job.prior), self._weights)
        questions: CleanRun | None = None
        for arms in job.arms:
            first = self._n_layers if arms is None else arms.first
            prior = self._clean_prior(job.prior, arms)
            if questions is None or questions.before is not prior.before:
                questions = CleanRun(tries, prior.before, job.every_block)
            self._advance(prior, first)
            self._advance(questions, first)
            if arms is None:
                blocks = range(0 if job.every_block else self._n_layers - 1, self._n_layers)
                residuals: Mapping[int, Tensor] = {block: questions.at_ends[block] for block in blocks}
            else:
                residuals = self._under(arms, job, prior, questions)
            yield EndStates(arms, tries.questions, residuals)

    @property
    def reductions(self) -> int:
        """How often memory ran out, so that a batch was cut."""
        return self._pass_size.reductions

    @property
    def step_kernels(self) -> StepKernels:
        """What texts may be written by that go on after a prompt; see `introbench.engine.shared_steps`."""
        return StepKernels(self._kernels.fused_attention, self._linear_maps)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Afterwards go on with what is kept now, whatever is read or released in between."""
        self._aside = self._prior, self._filled
        try:
            yield
        finally:
            self.release()
            self._take_up_aside()

    def release(self) -> None:
        """Let go of everything that is kept for later jobs."""
        self._prior = self._filled = None
        free_memory()

    def _take_up_aside(self) -> None:
        if self._aside is not None:
            self._prior, self._filled = self._aside
            self._aside = None

    def _give_up_aside(self) -> bool:
        """Let go of what was to be gone on with, where memory runs out; whether there was anything."""
        had, self._aside = self._aside is not None, None
        return had

    def _clean_prior(self, tokens: Tokens, arms: Arms | None) -> CleanRun:
        """The clean run of a prior turn; the latest is kept, and begun anew if arms start below where it stands."""
        weights = (arms.filler if arms else None) or self._weights
        if self._prior is not None and self._prior[:2] == (tokens, weights):
            kept = self._prior[2]
            if arms is None or arms.first >= kept.reached or self._is_filled(tokens, arms):
                return kept
        self._prior = None
        if self._filled is not None and self._filled[0] != tokens:
            self._filled = None
        clean = CleanRun.of_prior(tokens, weights)
        self._prior = (tokens, weights, clean)
        return clean

    def _is_filled(self, tokens: Tokens, arms: Arms) -> bool:
        return self._filled is not None and self._filled[0] == tokens and self._filled[1] is arms

    def _under(self, arms: Arms, job: Job, prior: CleanRun, questions: CleanRun) -> Mapping[int, Tensor]:
        """Fill the prior turn under some arms and ask, with as many of the arms at a time as fit.

        Returns:
            Block index to the residual stream at questions' ends, [rows, questions, hidden].
        """
        per_row = self._keys_of_one_block(prior) * (self._n_layers - arms.first)
        parts = max(-(-arms.rows * per_row // self._keys_bytes), -(-arms.rows // MOST_ARMS))
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
                residuals = [self._ask(part, job, prior, questions) for part in cut]
                if len(residuals) == 1:
                    return residuals[0]
                return {block: torch.cat([part[block] for part in residuals]) for block in residuals[0]}
            except Exception as error:
                if not is_out_of_memory(error) or (size == 1 and self._aside is None):
                    raise
            self._filled = None
            gave_up = self._give_up_aside()
            free_memory()
            if gave_up:
                continue
            self._keys_bytes = per_row * (size // 2)
            parts = -(-arms.rows // (size // 2))
            self._pass_size.restore()

    def _keys_of_one_block(self, prior: CleanRun) -> int:
        """Bytes that a prior turn's keys and values take in one block: measured, or at most, if no block has run."""
        if prior.reached > 0:
            return prior.before.bytes // prior.reached
        model = self._weights.model
        return 2 * prior.before.length * int(model.config.get_text_config().hidden_size) * model.dtype.itemsize

    def _ask(self, arms: Arms, job: Job, prior: CleanRun, questions: CleanRun) -> Mapping[int, Tensor]:
        """Residual stream at questions' ends under all of these arms at once, [rows, questions, hidden] by block."""
        filled = self._fill(arms, job.prior, prior)
        above: list[Mapping[int, Tensor]] = []

        def ask(piece: Piece) -> None:
            entry = questions.residual[:, piece.begin : piece.end]
            deltas = arms.question_deltas
            above.append(self._above(questions.text, piece, arms, filled, entry, deltas, None, job.every_block))

        self._in_pieces(questions.text, arms.rows, ask)
        at_ends = {block: at_ends for block, at_ends in questions.at_ends.items() if block < arms.first}
        for block in above[-1]:
            at_ends[block] = torch.cat([of_piece[block] for of_piece in above if of_piece], dim=1)
        return {block: arms.forks.spread(block, residual) for block, residual in at_ends.items()}

    def _above(
        self,
        text: PriorTurn | QuestionTries,
        piece: Piece,
        arms: Arms,
        before: KeysAndValues,
        entry: Tensor,
        deltas: Deltas,
        profile: Tensor | None,
        every_block: bool,
    ) -> Mapping[int, Tensor]:
        """Run a piece under every arm, from the first steered block on.

        The last block's keys are needed for every token, but its output only where a question ends.
        """
        last = self._n_layers - 1
        watched = range(arms.first, last) if every_block and not piece.keep else ()
        fused = self._kernels.fused_attention
        last_keys = None if piece.keep else KeysAndValues(piece.end - piece.begin)
        attention = AttentionOfPass(piece.tries, piece.start, before, piece.keep, fused, last, last_keys)
        blocks = (arms.first, last)
        residual, at_ends = self._pass(
            text.weights, attention, piece.tokens, blocks, watched, piece.ends, entry, arms.forks, deltas, profile
        )
        if last_keys is None:
            return {}
        attention = AttentionOfPass(piece.tries, piece.start, before, False, fused, pass_keys=last_keys, ends_only=True)
        ends = [piece.tokens[end] for end in piece.ends]
        entry_of_ends = residual[:, torch.tensor(piece.ends, device=residual.device)]
        _, after_last = self._pass(
            text.weights, attention, ends, (last, last), [last], range(len(ends)), entry_of_ends, arms.forks, deltas
        )
        return {**at_ends, **after_last}

    def _fill(self, arms: Arms, tokens: Tokens, prior: CleanRun) -> KeysAndValues:
        """Keys and values of the prior turn under every arm, from the first steered block on."""
        if self._is_filled(tokens, arms):
            assert self._filled is not None
            return self._filled[2]
        self._filled = None  # free the old keys before the new ones are made
        if prior.reached != arms.first:  # memory ran out under kept keys, and the clean run has gone on since
            prior = CleanRun.of_prior(tokens, prior.text.weights)
            self._advance(prior, arms.first)
        filled = KeysAndValues(len(tokens) + BEGINNING_TOKENS)

        def fill(piece: Piece) -> None:
            entry = prior.residual[:, piece.begin : piece.end]
            profile = None if arms.profile is None else arms.profile[:, piece.begin : piece.end]
            self._above(prior.text, piece, arms, filled, entry, arms.deltas, profile, every_block=False)

        self._in_pieces(prior.text, arms.rows, fill)
        self._filled = (tokens, arms, filled)
        return filled

    def _advance(self, clean: CleanRun, to: int) -> None:
        """Run a text further, as one row with nothing added, until it enters block `to`."""
        if clean.reached >= to:
            return
        start = max(0, clean.reached)
        residuals: list[Tensor] = []
        at_ends: list[Mapping[int, Tensor]] = []
        watched = [block for block in range(start, to) if clean.every_block or block == self._n_layers - 1]

        def go_on(piece: Piece) -> None:
            entry = clean.residual[:, piece.begin : piece.end] if clean.reached >= 0 else None
            attention = AttentionOfPass(
                piece.tries, piece.start, clean.before, piece.keep, self._kernels.fused_attention
            )
            ends = [] if piece.keep else piece.ends
            residual, after = self._pass(
                clean.text.weights, attention, piece.tokens, (start, to - 1), watched, ends, entry
            )
            residuals.append(residual)
            at_ends.append(after)

        self._in_pieces(clean.text, 1, go_on)
        clean.residual = torch.cat(residuals, dim=1)
        clean.at_ends |= {block: torch.cat([after[block] for after in at_ends], dim=1) for block in watched}
        clean.reached = to

    def _in_pieces(self, text: PriorTurn | QuestionTries, rows: int, step: Callable[[Piece], None]) -> None:
        """Take a text piece by piece; where memory runs out, the same piece is taken again in smaller ones."""
        done = 0
        while done < text.length:
            piece = text.piece(done, self._pass_size.tokens(rows))
            try:
                step(piece)
            except Exception as error:
                if not is_out_of_memory(error) or not (self._give_up_aside() or self._pass_size.halve()):
                    raise
            else:
                done = piece.end
                continue
            free_memory()  # outside the handler: the error holds the frames that hold the memory

    def _pass(
        self,
        weights: Weights,
        attention: AttentionOfPass,
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
            weights: The weights to run.
            attention: What the tokens attend to; where it ends the pass at a block's keys, at the last of `blocks`.
            tokens: Token ids.
            blocks: First and last block to run; none if the last is below the first.
            watched: Blocks after which to look at `positions`.
            positions: Indices among the tokens.
            entry: Residual stream where it enters the first block, [rows, tokens, hidden]; None to begin with the
                embeddings.
            forks: Where arms begin to differ; None without arms.
            deltas: Block index to what is added to its output, [arms, hidden].
            profile: The share of `deltas` that each of the tokens gets, [arms, tokens]; None for all of it.

        Returns:
            The residual stream where the pass stops, [rows, tokens, hidden]: after the last block, or where it enters
            the last block if `attention` ends the pass there. And the residual stream after each watched block,
            [rows, positions, hidden]. There are as many rows as differ at that block.
        """
        first, last = blocks
        parts = weights.parts
        layers = parts.layers
        outside = [layer for block, layer in enumerate(layers) if not first <= block <= last]
        stop = last if attention.last is not None else last + 1
        as_tuples = weights.as_tuples  # runs the model once, so before it is prepared for this pass
        with ExitStack() as stack:
            stack.enter_context(weights.switched())
            stack.enter_context(attending(weights.model, attention))
            stack.enter_context(self._linear_maps)
            stack.enter_context(skipping(outside, as_tuples))
            stack.enter_context(before_each(layers[first : last + 1], tick))
            if entry is not None and first < self._n_layers:
                stack.enter_context(entering(layers[first], entry, len(entry)))
            if forks is not None:
                stack.enter_context(steering_arms(layers, range(first, stop), forks, deltas, profile))
            seen = stack.enter_context(looking_at(layers, watched, positions))
            arrived = stack.enter_context(input_of(layers[stop] if stop < self._n_layers else parts.final_norm))
            ids = torch.tensor([tokens], device=parts.device)
            position_ids = attention.positions[None].to(parts.device)
            try:
                parts.decoder(input_ids=ids, position_ids=position_ids, attention_mask=None, use_cache=False)
            except EndOfPass:
                pass
            finally:
                self.attended |= attention.attended
        return arrived[-1], seen
