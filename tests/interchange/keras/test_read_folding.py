"""Layers of Keras models that are folded into others, padded or reversed, and the layers after the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scanline.interchange.keras.read import read_keras
from scanline.model.dense import ACTIVATIONS
from tests.interchange.keras_models import (
    CELLS,
    QUIET,
    F,
    H,
    K,
    apart,
    chain,
    keras,
    layers,
    ours,
    theirs,
    values,
)

pytestmark = pytest.mark.filterwarnings(QUIET)


def norm(**own: Any) -> Any:
    return layers.BatchNormalization(**own)


def random_weights(model: Any) -> Any:
    """Set random weights in all layers; variances above 0."""
    generator = np.random.default_rng(5)
    for layer in model.layers:
        arrays = [generator.normal(0, 0.6, each.shape) for each in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            arrays = [np.abs(each) + 0.1 for each in arrays]
        layer.set_weights(arrays)
    return model


STACKS: dict[str, Any] = {
    "norm before": lambda cell: [norm(), cell(H)],
    "norm between": lambda cell: [cell(H, return_sequences=True), norm(), norm(scale=False), cell(H)],
    "norm between directions": lambda cell: [
        layers.Bidirectional(cell(H, return_sequences=True)),
        norm(center=False),
        layers.Bidirectional(cell(H)),
    ],
    "norm after": lambda cell: [cell(H), norm(), layers.Dropout(0.5)],
    "norm and mean": lambda cell: [
        cell(H, return_sequences=True),
        norm(),
        layers.GlobalAveragePooling1D(),
        norm(),
    ],
    "norm and max": lambda cell: [cell(H, return_sequences=True), norm(), layers.GlobalMaxPooling1D()],
    "norm of logits": lambda cell: [cell(H), layers.Dense(K), norm(), layers.Dense(K), norm()],
    "narrower": lambda cell: [cell(6, return_sequences=True), cell(2)],
    "wider": lambda cell: [cell(2, return_sequences=True), cell(3, return_sequences=True), cell(5)],
    "one direction above two": lambda cell: [
        layers.Bidirectional(cell(3, return_sequences=True)),
        norm(),
        cell(5),
        norm(),
    ],
    "two directions above one": lambda cell: [cell(2, return_sequences=True), layers.Bidirectional(cell(4))],
    "backwards": lambda cell: [cell(H, go_backwards=True)],
    "backwards and mean": lambda cell: [
        cell(H, return_sequences=True, go_backwards=True),
        layers.GlobalAveragePooling1D(),
    ],
    "backwards twice": lambda cell: [
        cell(3, return_sequences=True, go_backwards=True),
        cell(4, go_backwards=True),
    ],
    "forward above backwards": lambda cell: [cell(3, return_sequences=True, go_backwards=True), cell(4)],
    "hidden Dense layers": lambda cell: [
        cell(H),
        layers.Dense(7, "relu"),
        layers.Dense(6, "tanh", use_bias=False),
        layers.Dropout(0.5),
        layers.Dense(5),
    ],
    "norm around activations": lambda cell: [
        cell(H),
        layers.Activation("sigmoid"),
        norm(),
        layers.Dense(7),
        norm(),
        layers.ReLU(),
        norm(),
    ],
    "narrower below a hidden layer": lambda cell: [
        cell(6, return_sequences=True),
        cell(2, return_sequences=True),
        layers.GlobalAveragePooling1D(),
        layers.Dense(7, "selu"),
    ],
    "linear Dense layers": lambda cell: [cell(H), layers.Dense(7), layers.Dense(3, use_bias=False)],
}


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_each_activation_of_hidden_layers_equals_that_of_keras(tmp_path, ending):
    names = [name for name in ACTIVATIONS if name != "linear"]
    after = tuple(layers.Dense(6, name) for name in names)
    model = random_weights(keras.Sequential(chain(after=after)))
    assert apart(model, tmp_path / f"it.{ending}") < 2e-6
    dense = read_keras(tmp_path / f"it.{ending}").architecture.dense
    assert [(layer.units, layer.activation) for layer in dense] == [(6, name) for name in names]


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("cell", CELLS)
def test_layers_without_an_equivalent_are_folded_or_padded_exactly(tmp_path, name, cell):
    last = [layers.Softmax()] if name == "norm of logits" else [layers.Dense(K, "softmax")]
    model = random_weights(keras.Sequential([keras.Input((None, F)), *STACKS[name](CELLS[cell]), *last]))
    model.save(tmp_path / "it.keras")
    network = read_keras(tmp_path / "it.keras")
    steps = values()
    np.testing.assert_allclose(ours(network, steps), theirs(model, steps), rtol=0, atol=2e-6)
    padded = any(
        each in name for each in ("narrower", "wider", "directions above", "direction above", "backwards")
    )
    assert any("the added ones have the output 0" in note for note in network.notes) == padded


def test_folded_and_padded_layers_are_read_from_h5_and_accept_lengths(tmp_path):
    stack = [layers.Bidirectional(layers.LSTM(2, return_sequences=True)), norm(), layers.LSTM(4)]
    model = random_weights(keras.Sequential([keras.Input((None, F)), *stack, layers.Dense(K, "softmax")]))
    model.save(tmp_path / "it.h5")
    steps, lengths = values(), [6, 1, 3, 2]
    predicted = ours(read_keras(tmp_path / "it.h5"), steps, lengths)
    for index, length in enumerate(lengths):
        expected = theirs(model, steps[index : index + 1, :length])
        np.testing.assert_allclose(predicted[index : index + 1], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_one_output_with_sigmoid_is_two_classes(tmp_path, ending):
    for after in ([layers.Dense(1, "sigmoid")], [layers.Dense(1), layers.Activation("sigmoid")]):
        model = random_weights(keras.Sequential([keras.Input((None, F)), layers.GRU(H), *after]))
        model.save(tmp_path / f"it.{ending}")
        network = read_keras(tmp_path / f"it.{ending}")
        made = network.to_model(tmp_path / "it")
        assert made.class_names == (0, 1)
        steps = values()
        found = made.predict_proba(steps)
        np.testing.assert_allclose(found[:, 1:], theirs(model, steps), rtol=0, atol=2e-6)
        assert "one output with sigmoid" in network.notes[-1]
        assert network.to_model(tmp_path / "it", classes=("n", "y")).class_names == ("n", "y")


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("sequences", [False, True])
def test_a_final_state_is_read_as_the_last_output(tmp_path, output, sequences):
    if sequences and not output:
        pytest.skip("all outputs need a pooling")
    start = keras.Input((None, F))
    read = layers.LSTM(H, return_state=True, return_sequences=sequences)(start)[output]
    model = random_weights(keras.Model(start, layers.Dense(K, "softmax")(read)))
    assert apart(model, tmp_path / "it.keras") < 2e-6
