"""Model files as Keras 2 writes them, rebuilt with its names and settings."""

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
from tests.interchange.keras_models import (
    QUIET,
    F,
    H,
    K,
    adapted,
    chain,
    drawn,
    functional,
    keras,
    ours,
    theirs,
    values,
)

pytestmark = pytest.mark.filterwarnings(QUIET)


def keras2_layer(kind: str, name: str, **own: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **own}}


def keras2_cell(name: str, **own: Any) -> dict[str, Any]:
    common = {"return_sequences": False, "return_state": False, "go_backwards": False, "stateful": False}
    gates = {"units": H, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
    return common | {"name": name, "unroll": False, "time_major": False} | gates | own


def keras2_file(path: Path, config: dict[str, Any], weights: dict[str, dict[str, np.ndarray]]) -> Path:
    """Write a file as Keras 2 does: byte strings, weights under full names in the groups of their layers."""
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
    # Names and settings of Keras 2.15, whose own files were checked as well.
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
    """Return a model and its file of Keras 2.1, which lists layers and names weights without their cell."""
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


def test_the_default_recurrent_activation_of_keras_2_1_is_refused(tmp_path):
    with pytest.raises(
        ModelError, match=r"'lstm_1' \(GRU\): recurrent_activation must be 'sigmoid', found 'h"
    ):
        read_keras(old_file(tmp_path / "it.h5", "GRU", recurrent_activation="hard_sigmoid")[1])
    _, path = old_file(tmp_path / "other.h5", "LSTM", recurrent_activation="hard_sigmoid")
    with pytest.raises(ModelError, match="recurrent_activation must be 'sigmoid', found 'hard_sigmoid'"):
        read_keras(path)
