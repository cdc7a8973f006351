"""Predictions of recordings: the mean over their windows, whatever else is predicted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.windows import Windows
from scanline.errors import UsageError
from scanline.model import joining
from scanline.model.artifact import Model
from scanline.model.joining import Joining
from scanline.model.loading import load
from scanline.model.network import Architecture, Network
from scanline.model.predictor import Predictor
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression
from scanline.tasks.step_classification import StepClassification

F, K = 3, 4
CLASSES = tuple("abcd")
TASKS = {
    "classification": Classification(CLASSES),
    "multilabel": Multilabel(CLASSES, 1.0),
    "regression": Regression(2.0, 3.0),
    "step-classification": StepClassification(CLASSES),
}
WINDOWS = Windows(5, 2)


def new_model(task="classification", windows=WINDOWS, bidirectional=True) -> Model:
    torch.manual_seed(5)
    kind = TASKS[task]
    readout = "every-step" if kind.per_step else "mean"
    architecture = Architecture("lstm", F, 8, 1, bidirectional, 0.0, "between", readout, kind.output_size)
    network = Network(architecture).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3)
    form = Preprocessing(None, "rows", 0, F, F, "error", (), DEFAULT_DATA, windows=windows)
    return Model(network, kind, form, "made up")


def sequences(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(length, F)).astype(np.float32) for length in lengths]


def source_of(values) -> MemorySource:
    return MemorySource.from_list(values, np.zeros(len(values), np.int64), (), "made up")


def windows_of(values):
    """(start, steps) of each window of a recording, by hand."""
    starts = [*range(0, len(values) - WINDOWS.length, WINDOWS.stride), len(values) - WINDOWS.length]
    return [(max(0, start), values[max(0, start) : max(0, start) + WINDOWS.length]) for start in starts]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_recording_has_the_mean_of_its_windows(task):
    model, whole = new_model(task), new_model(task, windows=None)
    for values in sequences([12, 5, 6]):
        each = np.concatenate([whole.predict_proba(steps) for _, steps in windows_of(values)])
        np.testing.assert_allclose(model.predict_proba(values)[0], each.mean(0), rtol=1e-6, atol=1e-7)


def test_a_step_has_the_mean_of_the_windows_that_it_is_in():
    model, whole = new_model("step-classification"), new_model("step-classification", windows=None)
    (values,) = sequences([12])
    sums, counts = np.zeros((12, K)), np.zeros((12, 1))
    for start, steps in windows_of(values):
        sums[start : start + 5] += whole.predict_proba(steps)[0]
        counts[start : start + 5] += 1
    np.testing.assert_allclose(model.predict_proba(values)[0], sums / counts, rtol=1e-6, atol=1e-7)
    assert counts.max() == 3


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("length", [1, 4, 5])
def test_a_recording_of_one_window_has_the_bits_of_the_network(task, length):
    model, whole = new_model(task), new_model(task, windows=None)
    values = sequences([length])
    np.testing.assert_array_equal(model.predict_proba(values)[0], whole.predict_proba(values)[0])


@pytest.mark.parametrize("task", list(TASKS))
@given(lengths=st.lists(st.integers(1, 23), min_size=1, max_size=5), padding=st.floats(-9, 9, width=32))
@settings(max_examples=15, deadline=None)
def test_padding_and_what_shares_the_batch_change_no_bit(task, lengths, padding):
    model, values = new_model(task), sequences(lengths)
    together = model.predict_proba(values)
    longest = max(lengths) + 3
    padded = np.full((len(values), longest, F), padding, np.float32)
    for row, own in zip(padded, values, strict=True):
        row[: len(own)] = own
    again = model.predict_proba(padded, np.array(lengths))
    for index, own in enumerate(values):
        alone = model.predict_proba([own])[0]
        np.testing.assert_array_equal(together[index], alone)
        np.testing.assert_array_equal(again[index], alone)


@pytest.mark.parametrize("task", list(TASKS))
def test_how_many_windows_are_computed_at_once_changes_no_bit(task, monkeypatch):
    model, source = new_model(task), source_of(sequences([31, 8, 2]))
    expected = model.outputs(source)
    monkeypatch.setattr(joining, "_NUMBERS", 1)
    monkeypatch.setattr("scanline.model.predictor._MAX_NUMBERS", 1)
    np.testing.assert_array_equal(new_model(task).outputs(source), expected)


@pytest.mark.parametrize("task", [Classification(CLASSES), Multilabel(CLASSES, 1.0)])
def test_probabilities_that_underflow_stay_finite(task):
    votes = task.votes(np.array([[0, 2000, 0, 0]], np.float32))
    assert np.isfinite(task.outputs_of_votes(votes)).all()


def test_predictors_with_windows_can_be_pickled():
    model, source = new_model(), source_of(sequences([12]))
    predictor = Predictor(model.network, joining=Joining(WINDOWS, model.task))
    copy = pickle.loads(pickle.dumps(predictor))
    np.testing.assert_array_equal(copy.outputs(source), predictor.outputs(source))


def test_models_keep_their_windows(tmp_path):
    model, values = new_model(), sequences([12])
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.preprocessing.windows == WINDOWS
    np.testing.assert_array_equal(loaded.predict_proba(values), model.predict_proba(values))
    assert "windows of 5 steps, one every 2" in repr(loaded)
    assert "windows of 5 steps, one every 2" in (tmp_path / "model" / "README.md").read_text()


def test_streams_refuse_windows():
    with pytest.raises(UsageError, match=r"joins the predictions of windows of 5 steps: predict whole"):
        new_model(bidirectional=False).stream()


def test_explanations_read_one_window():
    import scanline

    model, (values,) = new_model(), sequences([12])
    assert len(scanline.explain(model, values[:5]).values) == 5
    with pytest.raises(UsageError, match=r"of one window of this model: expected at most 5 steps, got 12"):
        scanline.explain(model, values)
