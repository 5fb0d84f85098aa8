"""The arms of a model swap: the base or a fine-tune fills the prior turn's cache, and the base answers from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from introbench.records.arm import CONTRAST, FINETUNE, RANDOM, SHAM, Arm
from introbench.steering.arms import ArmBatch
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
    def batch(self) -> ArmBatch:
        """The batch, row by row: what the base fills, then the same filled by the fine-tune."""
        contrast = VectorRecipe(MODEL_CONTRAST, self.finetune)
        rotated = [replace(contrast, seed=self.seed, draw=draw) for draw in range(self.random_arms)]
        base = (
            sham(self.layers),
            self._injection(contrast, 1),
            self._injection(contrast, -1),
            *(self._injection(vector, 1) for vector in rotated),
        )
        return ArmBatch((*base, *(replace(injection, filler=self.finetune) for injection in base)))

    @property
    def arms(self) -> Mapping[str, Arm]:
        """The arms by name, with their rows in the batch."""
        finetuned = 3 + self.random_arms
        return {
            "sham": Arm(SHAM, 0),
            "finetune": Arm(FINETUNE, finetuned),
            "contrast +": Arm(CONTRAST, 1, number=1),
            "contrast -": Arm(CONTRAST, 2, number=-1),
            "finetune, contrast -": Arm(FINETUNE, finetuned + 2, number=-1),
            **{f"random {draw + 1}": Arm(RANDOM, 3 + draw, draw + 1) for draw in range(self.random_arms)},
        }

    def _injection(self, vector: VectorRecipe, sign: int) -> Injection:
        return Injection(vector, self.layers, self.strength.times(sign))
