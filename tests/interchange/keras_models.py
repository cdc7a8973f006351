"""Keras models with random weights, predictions of Keras and Scanline, and edited files."""

from __future__ import annotations

import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # before Keras is imported

import keras
import numpy as np
import pytest
import torch
from keras import layers

from scanline.errors import ModelError
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.keras.read import read_keras

# Keras on torch asks NumPy for a copy in the way that NumPy 2 warns of.
QUIET = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"

F, H, K = 3, 4, 5
CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "rnn": layers.SimpleRNN}
POOLING = {"last": None, "mean": layers.GlobalAveragePooling1D, "max": layers.GlobalMaxPooling1D}
WEIGHTS = "model.weights.h5"


def chain(
    cell: str = "lstm",
    count: int = 1,
    both: bool = False,
    readout: str = "last",
    bias: bool = True,
    before: tuple[Any, ...] = (),
    after: tuple[Any, ...] = (),
    answers: str | None = "softmax",
    **own: Any,
) -> list[Any]:
    """The layers of a model that can be imported."""
    made: list[Any] = [keras.Input((None, F)), *before]
    for index in range(count):
        sequences = index < count - 1 or readout != "last"
        layer = CELLS[cell](H, return_sequences=sequences, use_bias=bias, **own)
        made.append(layers.Bidirectional(layer) if both else layer)
    pooling = POOLING[readout]
    return [*made, *([pooling()] if pooling else []), *after, layers.Dense(K, answers, use_bias=bias)]


def functional(made: list[Any]) -> Any:
    """The same layers as a functional model."""
    start = read = made[0]
    for layer in made[1:]:
        read = layer(read)
    return keras.Model(start, read)


def drawn(model: Any, seed: int = 0) -> Any:
    """`model` with random weights, biases too, which Keras begins with zeros."""
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if not isinstance(layer, layers.Normalization):
            layer.set_weights([generator.normal(0, 0.6, each.shape) for each in layer.get_weights()])
    return model


def values(n: int = 4, steps: int = 6, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.5, (n, steps, F)).astype(np.float32)


def theirs(model: Any, steps: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(steps, training=False))


def ours(
    network: ImportedNetwork, steps: np.ndarray, lengths: Any = None, logits: bool = False
) -> np.ndarray:
    classifier = network.to_model(Path("it")).network
    counts = None if lengths is None else torch.tensor(lengths)
    with torch.inference_mode():
        found = classifier(torch.from_numpy(steps), counts).double()
    return (found if logits else found.softmax(1)).numpy()


def apart(model: Any, path: Path, logits: bool = False) -> float:
    """The largest difference between what Keras answers and what the saved file does here."""
    model.save(path)
    steps = values()
    return float(np.abs(ours(read_keras(path), steps, logits=logits) - theirs(model, steps)).max())


def normalization(**own: Any) -> Any:
    return layers.Normalization(mean=[1, -2, 0.5], variance=[4, 0.25, 9], **own)


def adapted(**own: Any) -> Any:
    layer = layers.Normalization(**own)
    layer.adapt(values(50) * np.float32([1, 20, 300]) + 7)
    return layer


def refused(path: Path, message: str) -> None:
    """Expects one line that names the file and says `message`."""
    with pytest.raises(ModelError) as caught:
        read_keras(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert re.search(message, text), text


def read_or_refused(path: Path) -> None:
    """Expects a network of numbers, or a ModelError of one line; nothing else."""
    try:
        network = read_keras(path)
    except ModelError as error:
        said = str(error)
    else:
        assert all(np.isfinite(array).all() for array in network.weights.values())
        return
    assert str(path) in said
    assert "\n" not in said


def save_small(folder: Path) -> dict[str, bytes]:
    """A small model, of a GRU behind a Normalization, as a file of either kind."""
    model = drawn(functional(chain("gru", before=(normalization(),))))
    found = {}
    for ending in ("keras", "h5"):
        model.save(folder / f"it.{ending}")
        found[ending] = (folder / f"it.{ending}").read_bytes()
    return found


def packed(members: dict[str, bytes], path: Path, **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
