"""Layers before the first cell in Keras models: rescaling, normalization and masks."""

from __future__ import annotations

import numpy as np
import pytest

from scanline.errors import ModelError
from scanline.interchange.keras.read import read_keras
from tests.interchange.keras_models import (
    QUIET,
    F,
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
    # (2x + 3 - 1) / 4 = (2x + 2) / 4 = (x + 1) / 2
    before = (layers.Rescaling(2, offset=3), layers.Normalization(mean=1, variance=16))
    drawn(keras.Sequential(chain(before=before))).save(tmp_path / "it.keras")
    weights = read_keras(tmp_path / "it.keras").weights
    assert weights["shift"].tolist() == [-1, -1, -1]
    assert weights["scale"].tolist() == [2, 2, 2]


def test_a_deviation_of_0_becomes_the_epsilon_of_keras(tmp_path):
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
def test_lengths_replace_masks(tmp_path, cell, both, readout, own, style):
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
def test_a_mask_is_refused_where_keras_reads_zeros_from_masked_steps(tmp_path, both, readout, own):
    model = drawn(functional(chain("lstm", 1, both, readout, before=(layers.Masking(9.0),), **own)))
    model.save(tmp_path / "it.keras")
    # The predictions of Keras for one sequence depend on the length of its padding.
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
