"""The arms of a model swap: the base or a fine-tune fills the prior turn's cache, and the base answers from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from introbench.steering.injection import MODEL_CONTRAST, Injection, LayerRange, Strength, VectorRecipe, sham


@dataclass(frozen=True)
class Swap:
    """The arms of one fine-tune.

    The cache is filled by the base and by the fine-tune, under the same injections in the same order: nothing, the
    vector that leads from the base to the fine-tune, its opposite, and random rotations of it. So an arm and the sham
    that it is compared with have batches of one shape, and with the base itself in place of the fine-tune nothing
    moves, to the last bit.

    Attributes:
        finetune: Its name.
        layers: Half-open range of steered blocks.
        strength: Scale of the unit vectors.
        random_arms: Random rotations of the vector.
        seed: Their seed.
    """

    finetune: str
    layers: LayerRange
    strength: Strength
    random_arms: int
    seed: int

    @cached_property
    def injections(self) -> tuple[Injection, ...]:
        """The batch, row by row: what the base fills, then the same filled by the fine-tune."""
        contrast = VectorRecipe(MODEL_CONTRAST, self.finetune)
        turned = [replace(contrast, seed=self.seed, draw=draw) for draw in range(self.random_arms)]
        own = (
            sham(self.layers),
            self._injection(contrast, 1),
            self._injection(contrast, -1),
            *(self._injection(vector, 1) for vector in turned),
        )
        return (*own, *(replace(injection, filler=self.finetune) for injection in own))

    @property
    def arms(self) -> Mapping[str, int]:
        """Names of the arms, and their rows in the batch."""
        swapped = 3 + self.random_arms
        rows = {"sham": 0, "finetune": swapped, "contrast +": 1, "contrast -": 2, "finetune, contrast -": swapped + 2}
        return rows | {f"random {draw + 1}": 3 + draw for draw in range(self.random_arms)}

    def _injection(self, vector: VectorRecipe, sign: int) -> Injection:
        return Injection(vector, self.layers, self.strength.times(sign))
