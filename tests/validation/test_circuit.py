"""Circuits that are written by hand compute what they are said to."""

import pytest
import torch

from introbench.validation.circuit import HIDDEN, Circuit


def test_circuit_multiplies_exactly_and_averages_what_it_attends_to():
    circuit = Circuit(4, 2, {"mark": 1, "number": 1, "mean": 1, "product": 1})
    for token, number in enumerate((0.5, -2.0, 3.0, 1.0)):
        circuit.embed(token, circuit.read("number", weight=number) + circuit.read("mark", weight=float(token < 2)))
    circuit.attend(0, circuit.read("mark", weight=30.0), [(circuit.read("number"), circuit.read("mean"))])
    circuit.multiply(1, circuit.read("number"), circuit.read("mean"), circuit.read("product"))
    with torch.inference_mode():
        stream = circuit.model(torch.tensor([[0, 1, 2, 3]]), output_hidden_states=True).hidden_states[1][0]
        passed = circuit.model.model.layers[1](
            stream[None], position_embeddings=circuit.model.model.rotary_emb(stream[None], torch.arange(4)[None])
        )[0]
    mean = stream[:, 3]
    assert torch.allclose(mean, torch.tensor([0.5, -0.75, -0.75, -0.75]), rtol=2e-3)  # the norm varies a little
    assert torch.allclose(passed[:, 4], stream[:, 2] * mean, rtol=2e-3)


def test_circuit_refuses_more_parts_than_it_has_room_for():
    with pytest.raises(ValueError, match=f"{HIDDEN + 1} dimensions"):
        Circuit(4, 1, {"large": HIDDEN})
