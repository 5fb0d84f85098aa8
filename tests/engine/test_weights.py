"""Sets of weights: the parts of their model, and the context in which they are switched on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from introbench.engine import Request, TransformersEngine, Want, Weights
from introbench.validation.tiny_models import tiny_model


@pytest.mark.parametrize(("architecture", "as_tuples"), [("llama", False), ("falcon", True)])
def test_it_is_known_whether_blocks_return_tuples(architecture: str, as_tuples: bool) -> None:
    assert Weights(tiny_model(architecture)).as_tuples == as_tuples


def test_weights_are_switched_on_while_the_engine_reads() -> None:
    model, is_on, seen = tiny_model("llama"), [False], []

    @contextmanager
    def switched() -> Iterator[None]:
        is_on[0] = True
        yield
        is_on[0] = False

    engine = TransformersEngine(Weights(model, switched))
    model.model.layers[0].register_forward_pre_hook(lambda *_: seen.append(is_on[0]))
    engine.read([Request((1, 2, 3), 1, Want((1,)))])
    assert seen
    assert all(seen)
    assert not is_on[0]
