"""Keras models that would compute something else than Scanline's network are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scanline.errors import ModelError
from scanline.interchange.keras.read import read_keras
from tests.interchange.keras_models import (
    QUIET,
    F,
    H,
    K,
    chain,
    keras,
    layers,
    refused,
)

pytestmark = pytest.mark.filterwarnings(QUIET)


def test_every_message_is_one_line_that_names_the_layer(tmp_path):
    keras.Sequential(chain("gru", activation="relu")).save(tmp_path / "it.keras")
    with pytest.raises(ModelError) as caught:
        read_keras(tmp_path / "it.keras")
    name = keras.saving.load_model(tmp_path / "it.keras").layers[0].name
    assert str(caught.value) == (
        f"{tmp_path / 'it.keras'}: layer {name!r} (GRU): activation must be 'tanh', found 'relu': Scanline's "
        "cells have no other"
    )


SETTINGS = [
    ("lstm", {"activation": "relu"}, r"activation must be 'tanh', found 'relu'"),
    ("rnn", {"activation": "relu"}, r"\(SimpleRNN\): activation must be 'tanh', found 'relu'"),
    (
        "lstm",
        {"recurrent_activation": "hard_sigmoid"},
        "recurrent_activation must be 'sigmoid', found 'hard_s",
    ),
    ("gru", {"recurrent_activation": "tanh"}, "recurrent_activation must be 'sigmoid', found 'tanh'"),
    (
        "gru",
        {"reset_after": False, "recurrent_activation": "hard_sigmoid"},
        "recurrent_activation must be 'sigmoid', found 'hard_sigmoid'",
    ),
]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(("cell", "own", "message"), SETTINGS)
def test_a_cell_that_computes_something_else_is_refused(tmp_path, cell, own, message, ending):
    keras.Sequential(chain(cell, **own)).save(tmp_path / f"it.{ending}")
    refused(tmp_path / f"it.{ending}", message)


@pytest.mark.parametrize(("cell", "own", "message"), SETTINGS[:-2])
def test_so_it_is_in_both_directions(tmp_path, cell, own, message):
    keras.Sequential(chain(cell, both=True, **own)).save(tmp_path / "it.keras")
    refused(tmp_path / "it.keras", message.replace(r"\(SimpleRNN\)", r"\(Bidirectional\)"))


def test_a_stateful_layer_is_refused(tmp_path):
    made = [keras.Input(batch_shape=(2, 5, F)), layers.LSTM(H, stateful=True), layers.Dense(K)]
    keras.Sequential(made).save(tmp_path / "it.keras")
    refused(tmp_path / "it.keras", r"\(LSTM\): stateful must be False, found 'True': here every sequence")


def between(*middle: Any, after: tuple[Any, ...] = (), start: Any = None) -> list[Any]:
    return [keras.Input((None, F)) if start is None else start, *middle, *after, layers.Dense(K)]


def normalised_maximum() -> Any:
    made = [layers.LSTM(H, return_sequences=True), layers.BatchNormalization(), layers.GlobalMaxPooling1D()]
    model = keras.Sequential(between(*made))
    model.layers[1].set_weights([np.full(H, -1.0), np.zeros(H), np.zeros(H), np.ones(H)])
    return model


def with_state() -> Any:
    start = keras.Input((None, F))
    return keras.Model(start, layers.Dense(K)(layers.LSTM(H, return_state=True)(start)[2]))


def two_inputs() -> Any:
    one, two = keras.Input((None, F), name="one"), keras.Input((None, F), name="two")
    return keras.Model([one, two], layers.Dense(K)(layers.LSTM(H)(layers.Add()([one, two]))))


def two_outputs() -> Any:
    start = keras.Input((None, F))
    read = layers.LSTM(H)(start)
    return keras.Model(start, [layers.Dense(K)(read), layers.Dense(K)(read)])


def residual() -> Any:
    start = keras.Input((None, F))
    read = layers.LSTM(F, return_sequences=True)(start)
    return keras.Model(start, layers.Dense(K)(layers.LSTM(F)(layers.Add()([start, read]))))


def shared() -> Any:
    start, layer = keras.Input((None, F)), layers.LSTM(F, return_sequences=True)
    return keras.Model(start, layers.Dense(K)(layers.LSTM(F)(layer(layer(start)))))


def from_state() -> Any:
    start = keras.Input((None, F))
    state = layers.Dense(H)(layers.GlobalAveragePooling1D()(start))
    return keras.Model(start, layers.Dense(K)(layers.GRU(H)(start, initial_state=state)))


def always_dropping() -> Any:
    start = keras.Input((None, F))
    return keras.Model(start, layers.Dense(K)(layers.LSTM(H)(layers.Dropout(0.5)(start, training=True))))


def own_mask() -> Any:
    start = keras.Input((None, F))
    return keras.Model(start, layers.Dense(K)(layers.LSTM(H)(start, mask=keras.ops.any(start > 0, axis=-1))))


def operation() -> Any:
    start = keras.Input((None, F))
    return keras.Model(start, layers.Dense(K)(layers.LSTM(H)(start / 255.0)))


class Own(layers.Layer):
    """Anything, in a package of somebody's."""

    def call(self, start):
        return start


MODELS: list[tuple[Callable[[], Any], str]] = [
    (two_inputs, r"expected a model with one input, found \[\['one', 0, 0\], \['two', 0, 0\]\]"),
    (two_outputs, r"expected a model with one output, found \[\["),
    (residual, r"\(Add\): expected it to read the one output of one other layer"),
    (shared, r"\(LSTM\): expected it to be used once in the chain, found 2 times"),
    (from_state, r"\(GRU\): expected no argument but its input, found initial_state"),
    (with_state, r"\(LSTM\): its output number 2 is read; expected the first, or the hidden state"),
    (always_dropping, r"\(Dropout\): expected training to be left open or False, found True"),
    (own_mask, r"expected one chain of layers, found 'greater\w*' \(Greater\) beside it"),
    (
        operation,
        r"'true_divide\w*' \(TrueDivide\): cannot be mapped: Scanline has no such layer; expected Input",
    ),
    (
        lambda: keras.Sequential(between(layers.Lambda(lambda x: x), layers.LSTM(H))),
        r"\(Lambda\): cannot be mapped: it holds code, and nothing in a file is run; expected Input, Resc",
    ),
    (
        lambda: keras.Sequential(between(Own(), layers.LSTM(H))),
        "expected Keras' own classes, found 'Own' of '.*test_layers'; nothing in a file is",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), after=(layers.PReLU(),))),
        r"\(PReLU\): cannot be mapped: Scanline has no such layer",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), after=(layers.ReLU(6.0),))),
        r"\(ReLU\): max_value must be None, found 6\.0",
    ),
    (
        lambda: keras.Sequential([*chain(answers=None), layers.ReLU()]),
        r"\(ReLU\): is a ReLU of the outputs; expected softmax, sigmoid or nothing",
    ),
    (
        lambda: keras.Sequential([*chain(answers=None), layers.Softmax(), layers.BatchNormalization()]),
        r"\(BatchNormalization\): comes after the activation of the outputs",
    ),
    (
        lambda: keras.Sequential(
            [keras.Input((None,)), layers.Embedding(9, F), layers.LSTM(H), layers.Dense(K)]
        ),
        r"\(Embedding\): cannot be mapped: it reads integers",
    ),
    (
        lambda: keras.Sequential(between(layers.TimeDistributed(layers.Dense(F)), layers.LSTM(H))),
        r"\(TimeDistributed\): cannot be mapped: only recurrent layers can process every step",
    ),
    (
        lambda: keras.Sequential(between(layers.RNN(layers.LSTMCell(H)))),
        r"\(RNN\): cannot be mapped: it has a custom cell; use LSTM, GRU or SimpleRNN",
    ),
    (
        lambda: keras.Sequential([keras.Sequential(chain()[:-1]), layers.Dense(K)]),
        r"\(Sequential\): cannot be mapped: nested models are not supported; build one chain of their layers",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), layers.Reshape((H, 1)), layers.GRU(H))),
        r"\(Reshape\): cannot be mapped",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H, return_sequences=True), layers.GRU(H))),
        r"\(GRU\): expected all recurrent layers to be equal: LSTM of 4 units in one direction as 'lstm\w*', "
        "found GRU of 4 units in one direction",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H, return_sequences=True))),
        r"\(LSTM\): return_sequences must be False, or a global pooling must follow: a sequence has",
    ),
    (
        lambda: keras.Sequential(between(layers.GlobalAveragePooling1D())),
        "expected a recurrent layer, found none among its 3 layers",
    ),
    (
        lambda: keras.Sequential([keras.Input((None, F)), layers.LSTM(H)]),
        "expected a Dense layer, found none among its 2 layers",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), layers.Dense(7, "relu6"))),
        r"\(Dense\): activation of a hidden layer must be one of elu, gelu, .*, tanh, found 'relu6'; train",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), layers.Dense(7, "softmax"))),
        r"\(Dense\): activation of a hidden layer must be one of .*, found 'softmax'",
    ),
    (
        lambda: keras.Sequential([keras.Input((None, F)), layers.LSTM(H), layers.Dense(1, "softmax")]),
        r"\(Dense\): activation must be sigmoid or linear for one output, found 'softmax'",
    ),
    (
        lambda: keras.Sequential([keras.Input((None, F)), layers.LSTM(H), layers.Dense(K, "sigmoid")]),
        r"\(Dense\): activation must be softmax or linear, found 'sigmoid'",
    ),
    (
        lambda: keras.Sequential(
            [
                keras.Input((None, F)),
                layers.LSTM(H, return_sequences=True, go_backwards=True),
                layers.Bidirectional(layers.LSTM(H)),
                layers.Dense(K),
            ]
        ),
        r"\(Bidirectional\): reads the outputs of a layer with go_backwards, in reversed order",
    ),
    (
        lambda: normalised_maximum(),
        r"\(BatchNormalization\): has factors of 0 or less, which do not commute with the maximum",
    ),
    (
        lambda: keras.Sequential(between(layers.Dense(F), layers.LSTM(H))),
        r"\(LSTM\): comes after 'dense\w*' \(Dense\); expected Input",
    ),
    (
        lambda: keras.Sequential(
            between(layers.LSTM(H, return_sequences=True), layers.Masking(), layers.LSTM(H))
        ),
        r"\(Masking\): comes after 'lstm\w*' \(LSTM\); expected Input",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), after=(layers.Rescaling(2),))),
        r"\(Rescaling\): comes after 'lstm\w*' \(LSTM\)",
    ),
    (
        lambda: keras.Sequential(between(layers.Masking(0), layers.Masking(1), layers.LSTM(H))),
        r"\(Masking\): is a second Masking layer",
    ),
    (
        lambda: keras.Sequential(between(layers.Bidirectional(layers.LSTM(H), merge_mode="sum"))),
        r"\(Bidirectional\): merge_mode must be 'concat', found 'sum': other modes are not supported",
    ),
    (
        lambda: keras.Sequential(
            between(layers.Bidirectional(layers.LSTM(H), backward_layer=layers.LSTM(7, go_backwards=True)))
        ),
        r"\(Bidirectional\): both directions must be equal, found units 4 forward and 7 backward",
    ),
    (
        lambda: keras.Sequential(
            between(layers.Bidirectional(layers.LSTM(H), backward_layer=layers.GRU(H, go_backwards=True)))
        ),
        "both directions must be equal, found cell LSTM forward and GRU backward",
    ),
    (
        lambda: keras.Sequential(
            between(
                layers.Bidirectional(
                    layers.LSTM(H), backward_layer=layers.LSTM(H, use_bias=False, go_backwards=True)
                )
            )
        ),
        "both directions must be equal, found use_bias True forward and False backward",
    ),
    (
        lambda: keras.Sequential(
            between(
                layers.Bidirectional(
                    layers.LSTM(H), backward_layer=layers.LSTM(H, activation="relu", go_backwards=True)
                )
            )
        ),
        "activation must be 'tanh', found 'relu'",
    ),
    (
        lambda: keras.Sequential(
            between(layers.Bidirectional(layers.LSTM(H, go_backwards=True), backward_layer=layers.LSTM(H)))
        ),
        "go_backwards must be False, found 'True'",
    ),
    (
        lambda: keras.Sequential(
            [
                keras.Input((6, F)),
                layers.LSTM(H, return_sequences=True),
                layers.GlobalMaxPooling1D("channels_first"),
                layers.Dense(K),
            ]
        ),
        "data_format must be 'channels_last'",
    ),
    (
        lambda: keras.Sequential(
            between(layers.LSTM(H, return_sequences=True), layers.GlobalMaxPooling1D(keepdims=True))
        ),
        "keepdims must be False",
    ),
    (
        lambda: keras.Sequential(chain(answers="sigmoid")),
        r"\(Dense\): activation must be softmax or linear, found 'sigmoid'",
    ),
    (
        lambda: keras.Sequential([*chain(answers=None), layers.Activation("relu")]),
        r"\(Activation\): activation must be softmax or linear, found 'relu'",
    ),
    (
        lambda: keras.Sequential([*chain(), layers.Softmax()]),
        r"\(Softmax\): is a second softmax of the outputs",
    ),
    (
        lambda: keras.Sequential([*chain(answers=None), layers.Softmax(axis=0)]),
        r"\(Softmax\): axis must be -1, that of the classes, found 0",
    ),
    (
        lambda: keras.Sequential([keras.Input((None, F)), layers.LSTM(H), layers.Dense(1)]),
        r"\(Dense\): expected an output for each of two classes or more, found 1",
    ),
    (
        lambda: keras.Sequential(
            [keras.Input((6, F)), layers.Normalization(axis=1), layers.LSTM(H), layers.Dense(K)]
        ),
        r"\(Normalization\): axis must be -1, that of the features, or None, found \[1\]",
    ),
    (
        lambda: keras.Sequential(chain(before=(layers.Rescaling(0.0),))),
        r"\(Rescaling\): expected values to be scaled by finite numbers other than 0",
    ),
    (
        lambda: keras.Sequential(chain(before=(layers.Rescaling(1e-30), layers.Rescaling(1e-30)))),
        r"\(Rescaling\): expected values to be scaled by finite numbers other than 0",
    ),
    (
        lambda: keras.Sequential(chain(dtype="bfloat16")),
        r"\(LSTM\): dtype must be one of float32, .*, found 'bfloat16'; save it in float32",
    ),
]


@pytest.mark.parametrize(("build", "message"), MODELS)
def test_a_model_of_another_shape_is_refused(tmp_path, build, message):
    build().save(tmp_path / "it.keras")
    refused(tmp_path / "it.keras", message)


def test_a_quantised_layer_is_refused(tmp_path):
    model = keras.Sequential(chain())
    model.layers[-1].quantize("int8")
    model.save(tmp_path / "it.keras")
    refused(tmp_path / "it.keras", r"\(Dense\): is quantised or adapted|dtype must be one of float32")


def test_an_adapted_layer_is_refused(tmp_path):
    model = keras.Sequential(chain())
    model.layers[-1].enable_lora(2)
    model.save(tmp_path / "it.keras")
    refused(tmp_path / "it.keras", r"\(Dense\): is quantised or adapted \(LoRA\); save it with plain weights")
