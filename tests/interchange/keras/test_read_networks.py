"""Imported Keras models give the predictions of Keras, for each cell, stack, readout and precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scanline.errors import ModelError
from scanline.interchange.keras.read import read_keras
from scanline.interchange.reading import read_network
from tests.interchange.keras_models import (
    CELLS,
    POOLING,
    QUIET,
    F,
    H,
    K,
    apart,
    chain,
    drawn,
    functional,
    keras,
    layers,
    values,
)

pytestmark = pytest.mark.filterwarnings(QUIET)

NETWORKS = itertools.product(
    CELLS, (1, 2), (False, True), POOLING, (True, False), ("sequential", "functional")
)


@pytest.mark.parametrize(
    ("cell", "count", "both", "readout", "bias", "style"),
    [
        # To save time, `make test` runs each network in one of the two styles.
        pytest.param(*each, marks=() if (each[5] == "sequential") == each[4] else pytest.mark.campaign)
        for each in NETWORKS
    ],
)
def test_predictions_equal_those_of_keras(cell, count, both, readout, bias, style, tmp_path):
    made = chain(cell, count, both, readout, bias)
    model = drawn(keras.Sequential(made) if style == "sequential" else functional(made))
    assert apart(model, tmp_path / "it.keras") < 1e-6
    assert apart(model, tmp_path / "it.h5") < 1e-6


def test_the_architecture_is_recognised(tmp_path):
    drawn(keras.Sequential(chain("gru", 2, True, "max"))).save(tmp_path / "it.keras")
    network = read_keras(tmp_path / "it.keras")
    a = network.architecture
    assert (a.cell, a.input_size, a.hidden_size, a.layers) == ("gru", F, H, 2)
    assert (a.bidirectional, a.readout, a.classes, a.dropout) == (True, "max", K, 0)
    assert network.made == f"imported from the Keras {keras.__version__} model it.keras"
    assert network.notes == []
    assert network.classes is None
    assert all(array.dtype == np.float32 for array in network.weights.values())


def test_a_source_is_recognised_by_its_ending(tmp_path):
    drawn(keras.Sequential(chain())).save(tmp_path / "it.h5")
    assert read_network(tmp_path / "it.h5").architecture.cell == "lstm"


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_layers_with_custom_names_are_recognised(tmp_path, ending):
    made = [
        keras.Input((None, F)),
        layers.LSTM(H, return_sequences=True, name="zebra"),
        layers.Dropout(0.5, name="lstm"),
        layers.LSTM(H, return_sequences=True, name="dense"),
        layers.LSTM(H, name="ant"),
        layers.Dense(K, "softmax", name="lstm_1"),
    ]
    assert apart(drawn(keras.Sequential(made)), tmp_path / f"it.{ending}") < 1e-6


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_frozen_direction_keeps_its_weights(tmp_path, ending):
    model = drawn(keras.Sequential(chain("gru", both=True)))
    model.layers[0].forward_layer.trainable = False  # its weights come last in an .h5 file
    assert apart(model, tmp_path / f"it.{ending}") < 1e-6


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_compiled_model_is_read_without_its_optimizer(tmp_path, ending):
    model = drawn(keras.Sequential(chain("gru")))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.train_on_batch(values(), np.eye(K, dtype=np.float32)[:4])
    assert apart(model, tmp_path / f"it.{ending}") < 1e-6


def test_without_softmax_the_outputs_are_logits(tmp_path):
    for answers in ("linear", None):
        model = drawn(keras.Sequential(chain(answers=answers)))
        assert apart(model, tmp_path / "it.keras", logits=True) < 1e-5
        assert read_keras(tmp_path / "it.keras").notes == ["no softmax: the outputs are taken as logits"]


@pytest.mark.parametrize("last", [layers.Softmax, lambda: layers.Activation("softmax")])
def test_a_softmax_may_be_a_separate_layer(tmp_path, last):
    model = drawn(keras.Sequential([*chain(answers=None), last()]))
    assert apart(model, tmp_path / "it.keras") < 1e-6
    assert read_keras(tmp_path / "it.keras").notes == []


def test_layers_that_act_only_in_training_are_left_out(tmp_path):
    before = (layers.GaussianNoise(0.3), layers.SpatialDropout1D(0.2))
    own = {"dropout": 0.3, "recurrent_dropout": 0.2, "unroll": False, "implementation": 1}
    model = drawn(keras.Sequential(chain("gru", 2, before=before, after=(layers.Dropout(0.5),), **own)))
    assert apart(model, tmp_path / "it.keras") < 1e-6
    assert apart(model, tmp_path / "it.h5") < 1e-6
    assert read_keras(tmp_path / "it.h5").notes == [
        "dropout and noise act only in training, and are left out"
    ]


def test_an_unrolled_layer_accepts_any_number_of_steps(tmp_path):
    made = [keras.Input((6, F)), layers.LSTM(H, unroll=True), layers.Dense(K, "softmax")]
    assert apart(drawn(keras.Sequential(made)), tmp_path / "it.keras") < 1e-6
    assert read_keras(tmp_path / "it.keras").notes == [
        "made for sequences of 6 steps; any number of steps is accepted"
    ]


def test_a_model_built_on_its_first_batch_is_read(tmp_path):
    model = keras.Sequential(chain("rnn")[1:])
    model(values())
    assert apart(drawn(model), tmp_path / "it.keras") < 1e-6


@pytest.mark.parametrize("precision", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_another_precision_is_noted(tmp_path, precision):
    model = drawn(keras.Sequential(chain(dtype=precision)))
    assert apart(model, tmp_path / "it.keras") < 0.02
    assert read_keras(tmp_path / "it.keras").notes == [
        f"it computed in {precision}; imported weights are float32, and outputs differ by rounding"
    ]


# --- both kinds of GRU


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(("count", "both", "readout"), [(1, False, "last"), (2, True, "max")])
def test_a_gru_with_the_reset_gate_before_the_product_is_read(tmp_path, ending, count, both, readout):
    model = drawn(keras.Sequential(chain("gru", count, both, readout, reset_after=False)))
    assert apart(model, tmp_path / f"it.{ending}") < 1e-6
    assert read_keras(tmp_path / f"it.{ending}").architecture.cell == "gru-reset-before"


def test_grus_of_both_kinds_in_one_model_are_refused(tmp_path):
    made = [keras.Input((None, F)), layers.GRU(H, return_sequences=True), layers.GRU(H, reset_after=False)]
    keras.Sequential([*made, layers.Dense(K, "softmax")]).save(tmp_path / "it.keras")
    with pytest.raises(ModelError, match=r"to be equal: GRU of 4 units .* GRU \(reset before\) of 4 units"):
        read_keras(tmp_path / "it.keras")
