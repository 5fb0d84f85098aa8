"""Arm batches by a short name: a log holds every model call, and need not hold all injections once for each trial."""

import hashlib

from introbench.errors import InputError
from introbench.steering.arms import ArmBatch

_BATCHES: dict[str, ArmBatch] = {}


def name_of(text: str) -> str:
    """The name under which calls of this process can carry an arm batch.

    The text itself stands in the log's header, among the arguments of the solver.

    Args:
        text: The arm batch, as `ArmBatch.to_text` writes it.
    """
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    if name not in _BATCHES:
        _BATCHES[name] = ArmBatch.from_text(text)
    return name


def arm_batch(named: str) -> ArmBatch:
    """The arm batch of a call.

    Args:
        named: What `name_of` gave, or the arm batch as text.

    Raises:
        InputError: It is neither of the two.
    """
    if named in _BATCHES:
        return _BATCHES[named]
    try:
        return _BATCHES[name_of(named)]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"arm batch {named[:40]!r}: unknown; expected a name from introbench.provider.arm_batches, or a batch as "
            "text; run an introbench task"
        ) from error
