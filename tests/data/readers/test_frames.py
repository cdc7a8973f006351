"""Columns of data frames are matched by name with those of the training data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scanline
from scanline.api import train
from scanline.data.readers.arrays import Arrays, from_arrays
from scanline.errors import DataError
from scanline.estimator import LSTMClassifier
from scanline.recipe import DEFAULT_DATA

SHORT = {"train.samples": 0, "train.steps": 20, "train.epochs": 0, "model.hidden_size": 4}
WIDE = pd.DataFrame(np.arange(60.0).reshape(20, 3) % 7, columns=["t0", "t1", "t2"])
LABELS = np.arange(20) % 2
STEPS = [WIDE[["t0", "t1"]][4 * index : 4 * index + 4 - index % 2] for index in range(5)]


def test_steps_are_matched_by_name_in_training_and_prediction(tmp_path):
    turned = WIDE[WIDE.columns[::-1]]
    data = Arrays(WIDE, LABELS, test=(turned, LABELS))
    assert (
        data.read(DEFAULT_DATA)["test"].concatenated == data.read(DEFAULT_DATA)["train"].concatenated
    ).all()
    run = train(data, settings=SHORT, run=tmp_path / "run", log=None)
    model = scanline.load(run.path)
    expected = model.predict_proba(WIDE.to_numpy())
    for given in (WIDE, turned, turned.reset_index()):
        np.testing.assert_array_equal(model.predict_proba(given), expected)
    with pytest.raises(DataError, match="t1 missing and u not in the training data"):
        model.predict(WIDE.rename(columns={"t1": "u"}))
    # Without names, columns are matched by position.
    np.testing.assert_array_equal(model.predict_proba(pd.DataFrame(WIDE.to_numpy())), expected)


def test_a_frame_is_matched_with_a_table_that_was_trained_on(tmp_path):
    WIDE.assign(label=LABELS).to_csv(tmp_path / "wide.csv", index=False)
    run = train(tmp_path / "wide.csv", settings=SHORT, run=tmp_path / "run", log=None)
    expected = run.model.predict_proba(WIDE.to_numpy())
    np.testing.assert_array_equal(run.model.predict_proba(WIDE[["t2", "t0", "t1"]]), expected)


def test_features_of_a_list_of_frames_are_matched_by_name(tmp_path):
    mixed = [frame[["t1", "t0"]] if index % 2 else frame for index, frame in enumerate(STEPS)]
    one, other = (from_arrays(frames, settings=DEFAULT_DATA) for frames in (STEPS, mixed))
    assert (one.concatenated == other.concatenated).all()
    with pytest.raises(DataError, match=r"sequence 1: .* t1 missing"):
        from_arrays([STEPS[0], STEPS[1][["t0"]]], settings=DEFAULT_DATA)
    data = Arrays(STEPS * 4, LABELS)
    run = train(data, settings=SHORT, run=tmp_path / "run", log=None)
    expected = run.model.predict_proba([frame.to_numpy() for frame in STEPS])
    np.testing.assert_array_equal(run.model.predict_proba(mixed), expected)
    np.testing.assert_array_equal(run.model.predict_proba(mixed[1]), expected[1:2])


def test_estimators_match_or_refuse_the_columns_of_frames():
    model = LSTMClassifier(epochs=1, hidden_size=4, random_state=0).fit(STEPS * 4, LABELS)
    expected = model.predict_proba(STEPS)
    np.testing.assert_array_equal(model.predict_proba([frame[["t1", "t0"]] for frame in STEPS]), expected)
    with pytest.raises(ValueError, match="t0 missing and a not in the training data"):
        model.predict([frame.rename(columns={"t0": "a"}) for frame in STEPS])
    model.fit(WIDE, LABELS)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(WIDE[WIDE.columns[::-1]])
