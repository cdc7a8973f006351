"""Keras models answer here as they do there."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from scanline.errors import ModelError
from scanline.interchange.keras.read import read_keras
from scanline.interchange.reading import read_network
from scanline.model.dense import ACTIVATIONS
from tests.interchange.keras_models import (
    CELLS,
    POOLING,
    QUIET,
    F,
    H,
    K,
    adapted,
    apart,
    chain,
    drawn,
    functional,
    keras,
    layers,
    normalization,
    ours,
    theirs,
    values,
)

pytestmark = pytest.mark.filterwarnings(QUIET)

# --- numbers


NETWORKS = itertools.product(
    CELLS, (1, 2), (False, True), POOLING, (True, False), ("sequential", "functional")
)


@pytest.mark.parametrize(
    ("cell", "count", "both", "readout", "bias", "style"),
    [
        # Where time counts, each network in one of the two styles.
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
def test_a_frozen_direction_stays_the_one_it_is(tmp_path, ending):
    model = drawn(keras.Sequential(chain("gru", both=True)))
    model.layers[0].forward_layer.trainable = False  # its weights come last in an .h5 file
    assert apart(model, tmp_path / f"it.{ending}") < 1e-6


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_compiled_model_and_its_optimizer_do_not_disturb(tmp_path, ending):
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


def test_layers_that_act_in_training_alone_are_left_out(tmp_path):
    before = (layers.GaussianNoise(0.3), layers.SpatialDropout1D(0.2))
    own = {"dropout": 0.3, "recurrent_dropout": 0.2, "unroll": False, "implementation": 1}
    model = drawn(keras.Sequential(chain("gru", 2, before=before, after=(layers.Dropout(0.5),), **own)))
    assert apart(model, tmp_path / "it.keras") < 1e-6
    assert apart(model, tmp_path / "it.h5") < 1e-6
    assert read_keras(tmp_path / "it.h5").notes == [
        "dropout and noise act only in training, and are left out"
    ]


def test_an_unrolled_layer_of_so_many_steps_is_as_any_other(tmp_path):
    made = [keras.Input((6, F)), layers.LSTM(H, unroll=True), layers.Dense(K, "softmax")]
    assert apart(drawn(keras.Sequential(made)), tmp_path / "it.keras") < 1e-6
    assert read_keras(tmp_path / "it.keras").notes == [
        "made for sequences of 6 steps; any number of steps is accepted"
    ]


def test_a_model_that_was_built_on_its_first_batch_is_read(tmp_path):
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


# --- preprocessing


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    "before",
    [
        lambda: (layers.Rescaling(1 / 255),),
        lambda: (layers.Rescaling(2, offset=-1),),
        lambda: (layers.Rescaling([1, -2, 3], offset=[0, 1, 2]),),
        lambda: (layers.Rescaling(np.float32([1, -2, 3])),),
        lambda: (normalization(),),
        lambda: (normalization(invert=True),),
        lambda: (layers.Normalization(mean=2, variance=9),),
        lambda: (layers.Normalization(axis=None, mean=2, variance=9),),
        lambda: (adapted(),),
        lambda: (adapted(axis=None),),
        lambda: (layers.Rescaling(0.1, offset=3), normalization(), adapted(), layers.Rescaling(-2, 1)),
        lambda: (normalization(), layers.Masking(-99.0), layers.Rescaling(3)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_preprocessing_becomes_shift_and_scale(tmp_path, before, ending):
    model = drawn(functional(chain(before=before())))
    assert apart(model, tmp_path / f"it.{ending}") < 2e-6
    assert {"shift", "scale"} <= read_keras(tmp_path / f"it.{ending}").weights.keys()


def test_shift_and_scale_are_worked_out_by_hand(tmp_path):
    # 2x + 3, less 1, by 4: (2x + 2) / 4 = (x + 1) / 2
    before = (layers.Rescaling(2, offset=3), layers.Normalization(mean=1, variance=16))
    drawn(keras.Sequential(chain(before=before))).save(tmp_path / "it.keras")
    weights = read_keras(tmp_path / "it.keras").weights
    assert weights["shift"].tolist() == [-1, -1, -1]
    assert weights["scale"].tolist() == [2, 2, 2]


def test_a_deviation_of_0_is_the_one_that_keras_takes(tmp_path):
    before = (layers.Normalization(mean=1, variance=0),)
    drawn(keras.Sequential(chain(before=before))).save(tmp_path / "it.keras")
    assert read_keras(tmp_path / "it.keras").weights["scale"].tolist() == [np.float32(1e-7)] * 3


def test_without_preprocessing_there_is_neither_shift_nor_scale(tmp_path):
    drawn(keras.Sequential(chain())).save(tmp_path / "it.keras")
    assert not {"shift", "scale"} & read_keras(tmp_path / "it.keras").weights.keys()


# --- masks


@pytest.mark.parametrize("style", ["sequential", "functional"])
@pytest.mark.parametrize(
    ("cell", "both", "readout", "own"),
    [
        ("lstm", False, "last", {}),
        ("gru", True, "last", {}),
        ("lstm", False, "mean", {"zero_output_for_mask": True}),
        ("rnn", True, "mean", {}),
        ("gru", False, "max", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_lengths_stand_for_masks(tmp_path, cell, both, readout, own, style):
    made = chain(cell, 2, both, readout, before=(layers.Masking(9.0),), **own)
    model = drawn(keras.Sequential(made) if style == "sequential" else functional(made))
    lengths = [6, 1, 4, 3]
    padded = np.where(np.arange(6)[:, None] < np.reshape(lengths, (-1, 1, 1)), values(), np.float32(9))
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"it.{ending}")
        network = read_keras(tmp_path / f"it.{ending}")
        assert np.abs(ours(network, padded, lengths) - theirs(model, padded)).max() < 1e-6
        assert network.notes == [
            "Masking: steps whose values were all 9.0 were skipped; sequences have lengths here, padding is "
            "not read, and no step within a sequence is skipped"
        ]


@pytest.mark.parametrize(
    ("both", "readout", "own"),
    [(True, "max", {}), (False, "max", {"zero_output_for_mask": True})],
)
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")
def test_where_keras_reads_zeros_out_of_masked_steps_a_mask_is_refused(tmp_path, both, readout, own):
    model = drawn(functional(chain("lstm", 1, both, readout, before=(layers.Masking(9.0),), **own)))
    model.save(tmp_path / "it.keras")
    # So much so that Keras gives the same sequence another answer when it is padded further.
    short, long = (np.full((1, steps, F), 9, np.float32) for steps in (2, 3))
    short[:, :2] = long[:, :2] = values(1, 2)
    assert np.abs(theirs(model, short) - theirs(model, long)).max() > 1e-4
    with pytest.raises(ModelError, match=r"\(Masking\): cannot be mapped with .* depends on the padding"):
        read_keras(tmp_path / "it.keras")


def test_a_last_output_of_zeros_in_masked_steps_is_refused(tmp_path):
    made = chain(before=(layers.Masking(9.0),), zero_output_for_mask=True)
    drawn(keras.Sequential(made)).save(tmp_path / "it.keras")
    with pytest.raises(ModelError, match=r"\(Masking\): cannot be mapped with .* depends on the padding"):
        read_keras(tmp_path / "it.keras")


# --- Keras 2


def keras2_layer(kind: str, name: str, **own: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **own}}


def keras2_cell(name: str, **own: Any) -> dict[str, Any]:
    common = {"return_sequences": False, "return_state": False, "go_backwards": False, "stateful": False}
    gates = {"units": H, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
    return common | {"name": name, "unroll": False, "time_major": False} | gates | own


def keras2_file(path: Path, config: dict[str, Any], weights: dict[str, dict[str, np.ndarray]]) -> Path:
    """As Keras 2 writes it: names as bytes, each weight at its whole name within the group of its layer."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.15.0"
        for layer, arrays in weights.items():
            group = file.create_group(f"model_weights/{layer}")
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                group[name] = array
    return path


def by_name(names: list[str], model_layer: Any) -> dict[str, np.ndarray]:
    return dict(zip(names, model_layer.get_weights(), strict=True))


def test_a_functional_model_of_keras_2_is_read(tmp_path):
    # Names and settings as of Keras 2.15, where this was tried on its own files too.
    model = drawn(functional(chain("gru", 2, both=True, readout="mean", before=(adapted(),))))
    normal, first, second, dense = (model.layers[index] for index in (1, 2, 3, 5))
    both = {"merge_mode": "concat"}
    cells = [keras2_cell(f"gru{end}", return_sequences=True, reset_after=True) for end in ("", "_1")]
    described = [
        keras2_layer("InputLayer", "input_1", batch_input_shape=[None, None, F], ragged=False, sparse=False),
        keras2_layer("Normalization", "normalization", axis=[-1], invert=False, mean=None, variance=None),
        keras2_layer(
            "Bidirectional", "bidirectional", layer={"class_name": "GRU", "config": cells[0]}, **both
        ),
        keras2_layer("Bidirectional", "mine", layer={"class_name": "GRU", "config": cells[1]}, **both),
        keras2_layer("GlobalAveragePooling1D", "global_average_pooling1d", data_format="channels_last"),
        keras2_layer("Dropout", "dropout", rate=0.2, noise_shape=None, seed=None),
        keras2_layer("Dense", "dense", units=K, activation="softmax", use_bias=True),
    ]
    for before, layer in zip([None, *described], described, strict=False):
        nodes = [] if before is None else [[[before["config"]["name"], 0, 0, {}]]]
        layer |= {"name": layer["config"]["name"], "inbound_nodes": nodes}
    config = {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": described,
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["dense", 0, 0]],
        },
    }
    parts = ("kernel:0", "recurrent_kernel:0", "bias:0")

    def cell_names(layer: str, cell: str) -> list[str]:
        sides = ("forward", "backward")
        return [f"{layer}/{side}_{cell}/gru_cell/{part}" for side, part in itertools.product(sides, parts)]

    weights = {
        "normalization": by_name(["mean:0", "variance:0", "count:0"], normal),
        "bidirectional": by_name(cell_names("bidirectional", "gru"), first),
        "mine": by_name(cell_names("mine", "gru_1"), second),
        "dense": by_name(["dense/kernel:0", "dense/bias:0"], dense),
    }
    network = read_keras(keras2_file(tmp_path / "it.h5", config, weights))
    assert np.abs(ours(network, values()) - theirs(model, values())).max() < 1e-6
    assert network.made == "imported from the Keras 2.15.0 model it.h5"


def old_file(path: Path, kind: str, **own: Any) -> tuple[Any, Path]:
    """A model and the same as Keras 2.1 wrote it: a list of layers, and no cell in the names of weights."""
    after = {"reset_after": own["reset_after"]} if "reset_after" in own else {}
    model = drawn(keras.Sequential(chain({"LSTM": "lstm", "GRU": "gru"}[kind], **after)))
    cell = keras2_cell("lstm_1", batch_input_shape=[None, 7, F], **own)
    dense = keras2_layer("Dense", "dense_1", units=K, activation="softmax", use_bias=True)
    config = {"class_name": "Sequential", "config": [{"class_name": kind, "config": cell}, dense]}
    names = ["lstm_1/kernel:0", "lstm_1/recurrent_kernel:0", "lstm_1/bias:0"]
    weights = {
        "lstm_1": by_name(names, model.layers[0]),
        "dense_1": by_name(["dense_1/kernel:0", "dense_1/bias:0"], model.layers[1]),
    }
    return model, keras2_file(path, config, weights)


def test_a_sequential_model_of_keras_2_1_is_read(tmp_path):
    model, path = old_file(tmp_path / "it.h5", "LSTM")
    network = read_keras(path)
    assert np.abs(ours(network, values()) - theirs(model, values())).max() < 1e-6
    assert network.notes == ["made for sequences of 7 steps; any number of steps is accepted"]


def test_a_gru_of_keras_2_1_has_the_reset_gate_before_the_product(tmp_path):
    model, path = old_file(tmp_path / "it.h5", "GRU", reset_after=False)
    network = read_keras(path)
    assert network.architecture.cell == "gru-reset-before"
    assert np.abs(ours(network, values()) - theirs(model, values())).max() < 1e-6


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


def test_what_keras_2_1_took_for_granted_is_refused(tmp_path):
    with pytest.raises(
        ModelError, match=r"'lstm_1' \(GRU\): recurrent_activation must be 'sigmoid', found 'h"
    ):
        read_keras(old_file(tmp_path / "it.h5", "GRU", recurrent_activation="hard_sigmoid")[1])
    _, path = old_file(tmp_path / "other.h5", "LSTM", recurrent_activation="hard_sigmoid")
    with pytest.raises(ModelError, match="recurrent_activation must be 'sigmoid', found 'hard_sigmoid'"):
        read_keras(path)


# --- what is folded, padded or turned


def norm(**own: Any) -> Any:
    return layers.BatchNormalization(**own)


def random_weights(model: Any) -> Any:
    """Random weights everywhere; variances above 0."""
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
def test_every_activation_of_hidden_layers_is_keras(tmp_path, ending):
    names = [name for name in ACTIVATIONS if name != "linear"]
    after = tuple(layers.Dense(6, name) for name in names)
    model = random_weights(keras.Sequential(chain(after=after)))
    assert apart(model, tmp_path / f"it.{ending}") < 2e-6
    found = read_keras(tmp_path / f"it.{ending}").architecture.dense
    assert [(layer.units, layer.activation) for layer in found] == [(6, name) for name in names]


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("cell", CELLS)
def test_what_has_no_layer_here_is_folded_or_padded_exactly(tmp_path, name, cell):
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


def test_folded_and_padded_layers_are_read_from_h5_and_read_lengths(tmp_path):
    stack = [layers.Bidirectional(layers.LSTM(2, return_sequences=True)), norm(), layers.LSTM(4)]
    model = random_weights(keras.Sequential([keras.Input((None, F)), *stack, layers.Dense(K, "softmax")]))
    model.save(tmp_path / "it.h5")
    steps, lengths = values(), [6, 1, 3, 2]
    found = ours(read_keras(tmp_path / "it.h5"), steps, lengths)
    for index, length in enumerate(lengths):
        expected = theirs(model, steps[index : index + 1, :length])
        np.testing.assert_allclose(found[index : index + 1], expected, rtol=0, atol=2e-6)


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
def test_a_final_state_that_is_read_is_the_last_output(tmp_path, output, sequences):
    if sequences and not output:
        pytest.skip("all outputs need a pooling")
    start = keras.Input((None, F))
    read = layers.LSTM(H, return_state=True, return_sequences=sequences)(start)[output]
    model = random_weights(keras.Model(start, layers.Dense(K, "softmax")(read)))
    assert apart(model, tmp_path / "it.keras") < 2e-6
