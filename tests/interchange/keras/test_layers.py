"""Keras models that would compute something else than the network here are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

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
    members,
    packed,
    read_or_refused,
    refused,
    save_small,
)

pytestmark = pytest.mark.filterwarnings(QUIET)


def test_every_message_is_one_line_that_names_the_layer(tmp_path):
    keras.Sequential(chain("gru", reset_after=False)).save(tmp_path / "it.keras")
    with pytest.raises(ModelError) as caught:
        read_keras(tmp_path / "it.keras")
    name = keras.saving.load_model(tmp_path / "it.keras").layers[0].name
    assert str(caught.value) == (
        f"{tmp_path / 'it.keras'}: layer {name!r} (GRU): reset_after must be True, found 'False': here, as "
        "in PyTorch and cuDNN, the reset gate acts after the product; no weights make up for it"
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
    ("gru", {"reset_after": False}, "reset_after must be True, found 'False'"),
]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(("cell", "own", "message"), SETTINGS)
def test_a_cell_that_computes_something_else_is_refused(tmp_path, cell, own, message, ending):
    keras.Sequential(chain(cell, **own)).save(tmp_path / f"it.{ending}")
    refused(tmp_path / f"it.{ending}", message)


@pytest.mark.parametrize(("cell", "own", "message"), SETTINGS[:-1])
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
        r"'true_divide\w*' \(TrueDivide\): cannot be mapped: the network here has none; expected Input",
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
        lambda: keras.Sequential(between(layers.LSTM(H), after=(layers.ReLU(),))),
        r"\(ReLU\): cannot be mapped: the network here has none",
    ),
    (
        lambda: keras.Sequential(
            [keras.Input((None,)), layers.Embedding(9, F), layers.LSTM(H), layers.Dense(K)]
        ),
        r"\(Embedding\): cannot be mapped: it reads whole numbers",
    ),
    (
        lambda: keras.Sequential(between(layers.TimeDistributed(layers.Dense(F)), layers.LSTM(H))),
        r"\(TimeDistributed\): cannot be mapped: the network here does the same with every step in its",
    ),
    (
        lambda: keras.Sequential(between(layers.RNN(layers.LSTMCell(H)))),
        r"\(RNN\): cannot be mapped: a cell of one's own; use LSTM, GRU or SimpleRNN",
    ),
    (
        lambda: keras.Sequential([keras.Sequential(chain()[:-1]), layers.Dense(K)]),
        r"\(Sequential\): cannot be mapped: a model in the model; build one chain of their layers",
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
        r"\(LSTM\): return_sequences must be False, or a global pooling must follow: here a sequence has",
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
        lambda: keras.Sequential(between(layers.LSTM(H), layers.Dense(7, "relu"))),
        r"\(Dense\): is a second Dense layer, after 'dense\w*' with the activation 'relu': the network here",
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
        r"\(LSTM\): stands behind 'dense\w*' \(Dense\); expected Input",
    ),
    (
        lambda: keras.Sequential(
            between(layers.LSTM(H, return_sequences=True), layers.Masking(), layers.LSTM(H))
        ),
        r"\(Masking\): stands behind 'lstm\w*' \(LSTM\); expected Input",
    ),
    (
        lambda: keras.Sequential(between(layers.LSTM(H), after=(layers.Rescaling(2),))),
        r"\(Rescaling\): stands behind 'lstm\w*' \(LSTM\)",
    ),
    (
        lambda: keras.Sequential(between(layers.Masking(0), layers.Masking(1), layers.LSTM(H))),
        r"\(Masking\): is a second Masking layer",
    ),
    (
        lambda: keras.Sequential(between(layers.Bidirectional(layers.LSTM(H), merge_mode="sum"))),
        r"\(Bidirectional\): merge_mode must be 'concat', found 'sum': here directions are concatenated",
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
        r"\(Softmax\): is a softmax of a softmax",
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


# --- descriptions that no Keras of today writes


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, bytes]:
    return save_small(tmp_path_factory.mktemp("keras"))


@pytest.fixture
def described(saved, tmp_path):
    """The model, with its description changed: described(edit) -> path."""

    def change(edit: Callable[[dict[str, Any], list[dict[str, Any]]], Any]) -> Path:
        parts = members(saved["keras"])
        config = json.loads(parts["config.json"])
        edit(config, config["config"]["layers"])  # input, normalization, gru, dense
        parts["config.json"] = json.dumps(config).encode()
        return packed(parts, tmp_path / "it.keras")

    return change


def settings_of(described: dict[str, Any], **own: Any) -> None:
    described["config"].update(own)


def call(layer: dict[str, Any]) -> Any:
    return layer["inbound_nodes"][0]


DESCRIPTIONS: list[tuple[Callable[[Any, Any], Any], str]] = [
    (
        lambda c, n: c.update(class_name="Mine", module="mine.models"),
        "expected Keras' own classes, found 'Mine' of 'mine.models'; nothing in a file is run, so rebuild it",
    ),
    (
        lambda c, n: c.update(class_name="Mine", registered_name=None),
        "expected a Sequential or functional model, found 'Mine'; rebuild it as one of them, and save that",
    ),
    (lambda c, n: c.update(class_name=["Functional"]), "expected Keras' own classes"),
    (lambda c, n: c.update(config=7), "found 'Functional' without a list of layers"),
    (lambda c, n: c.update(config=n), r"expected a model with one input, found None"),
    (lambda c, n: c["config"].update(layers="none"), "found 'Functional' without a list of layers"),
    (lambda c, n: n.append(7), "found 'Functional' without a list of layers"),
    (lambda c, n: n.append({}), "expected a layer to have a class, settings and a name, found '{}'"),
    (lambda c, n: n.append(n[2]), "two layers have the same name"),
    (
        lambda c, n: c.update(module="evil.package"),
        "expected Keras' own classes, found 'Functional' of 'evil",
    ),
    (
        lambda c, n: n[2].update(module="kerasx.layers"),
        "found 'GRU' of 'kerasx.layers'; nothing in a file is",
    ),
    (lambda c, n: n[2].update(registered_name="x>GRU"), "found 'GRU' of 'x>GRU'"),
    (lambda c, n: n[2].update(module=["keras"]), "expected Keras' own classes"),
    (lambda c, n: c["config"].update(input_layers=[]), r"expected a model with one input, found \[\]"),
    (lambda c, n: c["config"].update(output_layers={"a": 1}), "expected a model with one output"),
    (lambda c, n: c["config"].update(output_layers=["gone", 0, 0]), "found that it begins with 'gone'"),
    (lambda c, n: n[2].update(inbound_nodes=[]), "expected it to be used once in the chain, found 0 times"),
    (lambda c, n: n[2].update(inbound_nodes=7), "expected it to be used once in the chain, found no times"),
    (lambda c, n: n[2].update(inbound_nodes=[7]), "expected it to read the one output of one other layer"),
    (lambda c, n: n[2].update(inbound_nodes=[[["a", 0]]]), "expected it to read the one output"),
    (lambda c, n: n[2].update(inbound_nodes=[[["a", 0, 1, {}]]]), "expected it to read the one output"),
    (lambda c, n: call(n[2]).update(args=[]), "expected it to read the one output of one other layer"),
    (lambda c, n: call(n[2]).update(kwargs=[]), "expected it to read the one output of one other layer"),
    (
        lambda c, n: call(n[2])["args"].append(0.5),
        "expected no argument but its input, such as an initial st",
    ),
    (lambda c, n: call(n[2])["kwargs"].update(mask=call(n[3])["args"][0]), "expected no mask but that of a"),
    (lambda c, n: call(n[2])["kwargs"].update(mask=True), "expected no mask but that of a Masking layer"),
    # A ring: the normalization reads the GRU, which reads it.
    (lambda c, n: n[1].update(inbound_nodes=n[3]["inbound_nodes"]), "expected a chain of layers from 'inp"),
    (
        lambda c, n: settings_of(n[0], batch_shape=[None, None, 7]),
        r"expected an input \(batch, steps, 3\), as",
    ),
    (lambda c, n: settings_of(n[0], batch_shape=[None, 4, 4, F]), r"found \[None, 4, 4, 3\]"),
    (lambda c, n: settings_of(n[0], ragged=True), "expected a plain input, found a ragged or sparse one"),
    (lambda c, n: settings_of(n[1], mean="high"), "expected mean to be one number or one for each of 3 feat"),
    (lambda c, n: settings_of(n[1], mean=[1, 2]), r"expected mean to be one number .* found \[1, 2\]"),
    (lambda c, n: settings_of(n[1], mean=[1, True, 3]), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], mean=10**400), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], mean=float("nan")), "expected mean to be one number"),
    (lambda c, n: settings_of(n[1], variance=[1, -1, 3]), "expected values to be scaled by finite numbers"),
    (lambda c, n: settings_of(n[1], mean=1e300), "expected values to be scaled by finite numbers"),
    (
        lambda c, n: settings_of(n[1], axis="last"),
        "axis must be -1, that of the features, or None, found las",
    ),
    (
        lambda c, n: settings_of(n[2], time_major=True),
        "time_major must be False, found 'True': here values are",
    ),
    (lambda c, n: settings_of(n[2], reset_after=1), "reset_after must be True, found '1'"),
    (lambda c, n: settings_of(n[2], activation={"class_name": "f"}), "activation must be 'tanh', found \"{"),
    (lambda c, n: settings_of(n[2], units=0), "expected 1 to 65,536 units, found 0"),
    (lambda c, n: settings_of(n[2], units=10**9), "expected 1 to 65,536 units, found 1,000,000,000"),
    (
        lambda c, n: settings_of(n[2], units="4"),
        "expected units to be a number, use_bias and",
    ),
    (
        lambda c, n: settings_of(n[2], use_bias=None),
        "expected units to be a number, use_bias and",
    ),
    (lambda c, n: settings_of(n[2], units=5), r"kernel: expected shape \(any, 15\), found \(3, 12\)"),
    (
        lambda c, n: settings_of(n[2], use_bias=False),
        "expected kernel, recurrent_kernel as 2 variables, found",
    ),
    (lambda c, n: settings_of(n[2], dtype="int8"), "dtype must be one of float32, .*, found 'int8'"),
    (lambda c, n: settings_of(n[2], dtype={"class_name": "DTypePolicyMap"}), "dtype must be one of float32"),
    (lambda c, n: settings_of(n[3], units=True), "expected units to be 1 to 65,536, found T"),
    (lambda c, n: settings_of(n[3], units=4), r"kernel: expected shape \(4, 4\), found \(4, 5\)"),
    (lambda c, n: n[2].update(class_name="Bidirectional"), "merge_mode must be 'concat', found 'None'"),
    (lambda c, n: n[2].update(class_name="CuDNNGRU"), "its weights lie otherwise; with the Keras that wrote"),
    (lambda c, n: n[3].update(class_name="Lambda\n\x1b[31m"), r"\(Lambda \\?.*\): cannot be mapped"),
]


@pytest.mark.parametrize(("edit", "message"), DESCRIPTIONS)
def test_a_description_that_means_something_else_is_refused(described, edit, message):
    refused(described(edit), message)


def test_a_bidirectional_layer_of_anything_is_refused(described):
    def edit(config, layers_):
        for inner in (None, 7, {"class_name": ["GRU"]}, {"class_name": "ConvLSTM1D", "config": {}}):
            layers_[2] |= {"class_name": "Bidirectional"}
            settings_of(layers_[2], merge_mode="concat", layer=inner)

    refused(
        described(edit), r"\(Bidirectional\): expected layer to be one of LSTM, GRU, SimpleRNN, found 'ConvL"
    )


@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@hypothesis.given(data=st.data())
def test_any_value_in_a_description_is_read_or_refused(described, data):
    def edit(config: Any, _: Any) -> None:
        places: list[tuple[Any, Any]] = []

        def walk(value: Any) -> None:
            for key in value if isinstance(value, dict) else range(len(value)):
                places.append((value, key))
                if isinstance(value[key], dict | list):
                    walk(value[key])

        walk(config)
        for _ in range(data.draw(st.integers(1, 3), label="changes")):
            value, key = places[data.draw(st.integers(0, len(places) - 1), label="at")]
            value[key] = data.draw(
                st.sampled_from(
                    [None, True, 0, -1, 10**30, 0.5, "x", "GRU", [], [[]], {}, {"class_name": "GRU"}]
                )
            )

    read_or_refused(described(edit))
