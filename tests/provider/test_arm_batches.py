"""Arm batches under the names that calls carry."""

import pytest

from introbench.errors import InputError
from introbench.provider.arm_batches import arm_batch, name_of
from introbench.steering.arms import ArmBatch
from introbench.steering.injection import Injection, Strength

BATCH = ArmBatch((Injection(None, (1, 3), Strength(7.25)),))


def test_a_batch_is_found_by_its_name_and_by_its_text() -> None:
    text = BATCH.to_text()
    assert arm_batch(text) == BATCH, "a text that has no name yet"
    assert len(name_of(text)) == 16
    assert arm_batch(name_of(text)) == BATCH
    assert name_of(text) == name_of(text)


@pytest.mark.parametrize("named", ["0123456789abcdef", "[1]", ""])
def test_what_is_neither_is_refused(named: str) -> None:
    with pytest.raises(InputError, match="unknown; expected a name from"):
        arm_batch(named)
