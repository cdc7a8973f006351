"""Predictions as values: their fields, and their display in a notebook."""

from __future__ import annotations

import base64
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import scanline
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.data.readers.arrays import Arrays
from scanline.errors import DataError, UsageError
from scanline.model.loading import load
from scanline.model.prediction import Prediction
from tests.reporting.pages import HTML, Reader, words


class Fragment(Reader):
    """A part of a notebook's page, which may be bold."""

    known = HTML | {"b"}


def fragment(text: str) -> ElementTree.Element:
    return Fragment(f"<div>{text}</div>").root


def cells(text: str) -> list[list[str]]:
    """The words of the one table in `text`, row by row, its head first."""
    (table,) = fragment(text).iter("table")
    assert [each.tag for each in table] == ["thead", "tbody"]
    return [[words(cell) for cell in row] for name in table for row in name]


def pixels(image: ElementTree.Element) -> np.ndarray:
    data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"), validate=True)
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def model(trained) -> scanline.Model:
    return scanline.load(trained)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return catalog.load("digits").test.values


@pytest.fixture(scope="module")
def sequences(tmp_path_factory) -> scanline.Model:
    """A model of sequences of two features and three classes."""
    draw = np.random.default_rng(0)
    data = Arrays(draw.normal(size=(45, 4, 2)).astype(np.float32), np.repeat(["a", "b", "c"], 15))
    settings = {"train.samples": 0, "train.steps": 5, "train.epochs": 0, "model.hidden_size": 4}
    return train(data, settings=settings, run=tmp_path_factory.mktemp("three") / "run", log=None).model


def test_a_prediction_holds_the_labels_and_probabilities_that_the_model_gives(model, images):
    prediction = model.prediction(images)
    assert isinstance(prediction, scanline.Prediction)
    assert len(prediction) == 360
    assert np.array_equal(prediction.probabilities, model.predict_proba(images))
    assert np.array_equal(prediction.labels, model.predict(images))
    assert np.array_equal(prediction.classes, model.classes)


def test_a_prediction_keeps_the_pictures_that_were_read_in_grey_levels_of_a_byte(model, images):
    # The digits have 17 grey levels, 0 to 16; shares of 1 are the other way to give them.
    expected = np.rint(images[:4] * (255 / 16)).astype(np.uint8)
    for given in (images[:4], images[:4] / 16):
        assert np.array_equal(np.stack(model.prediction(given).pictures), expected)


def test_booleans_are_black_and_white(model, images):
    black_and_white = images[:50] > 8
    expected = model.predict_proba(black_and_white * np.uint8(16))
    for given in (black_and_white, torch.from_numpy(black_and_white), black_and_white.tolist()):
        assert np.array_equal(model.predict_proba(given), expected)
    assert np.array_equal(model.predict_proba(black_and_white.astype(float)), expected)


def test_a_single_picture_gives_one_prediction(model, images):
    prediction = model.prediction(images[0])
    assert len(prediction) == len(prediction.labels) == len(prediction.pictures) == 1
    assert len(cells(prediction._repr_html_())) == 2


def test_sequences_have_no_pictures_and_padding_is_not_read(sequences):
    values = np.random.default_rng(1).normal(size=(3, 4, 2))
    prediction = sequences.prediction(values, lengths=[4, 2, 1])
    assert prediction.pictures is None
    alone = [sequences.predict_proba(values[index][None, :length]) for index, length in enumerate((4, 2, 1))]
    assert prediction.probabilities == pytest.approx(np.concatenate(alone), abs=1e-6)


def test_calibrated_probabilities_are_those_of_the_calibrated_model(trained, model, images):
    calibrated = scanline.load(trained, calibrated=True)
    prediction = calibrated.prediction(images)
    assert np.array_equal(prediction.probabilities, calibrated.predict_proba(images))
    assert not np.allclose(prediction.probabilities, model.prediction(images).probabilities)
    assert np.array_equal(prediction.labels, model.predict(images))


def test_values_of_another_shape_are_refused_as_for_predict(model, sequences):
    with pytest.raises(DataError, match=r"expected shape \(N, 8, 8\), .*\(2, 9, 8\)"):
        model.prediction(np.zeros((2, 9, 8), np.uint8))
    with pytest.raises(DataError, match=r"expected shape \(N, steps, 2\), found \(1, 4, 3\)"):
        sequences.prediction(np.zeros((1, 4, 3)))


def test_a_notebook_shows_picture_prediction_and_the_three_most_probable_classes(model, images):
    prediction = model.prediction(images[:3])
    text = prediction._repr_html_()
    head, *rows = cells(text)
    assert head == ["what was read", "prediction", "probabilities"]
    for row, label, probabilities in zip(rows, prediction.labels, prediction.probabilities, strict=True):
        best = np.argsort(-probabilities)[:3]
        listed = "".join(f"{index}: {probabilities[index]:.4f}" for index in best)
        assert row == ["", str(label), listed]
        assert int(best[0]) == label
    drawn = list(fragment(text).iter("img"))
    assert [each.get("alt") for each in drawn] == ["what was read"] * 3
    for image, picture in zip(drawn, prediction.pictures, strict=True):
        assert np.array_equal(pixels(image), picture)


def test_a_notebook_shows_twenty_predictions_and_counts_the_rest(model, images):
    for count, more in [(20, ""), (21, "and 1 more"), (360, "and 340 more")]:
        text = model.prediction(images[:count])._repr_html_()
        assert len(cells(text)) == 21
        assert words(fragment(text)).endswith(more)
        assert ("more" in text) == bool(more)
    many = Prediction(np.full(5000, "a"), np.full((5000, 2), 0.5), np.array(["a", "b"]))
    assert "and 4,980 more" in many._repr_html_()


def test_a_notebook_shows_sequences_without_a_column_for_pictures(sequences):
    prediction = sequences.prediction(np.zeros((2, 4, 2)))
    head, *rows = cells(prediction._repr_html_())
    assert head == ["prediction", "probabilities"]
    assert [row[0] for row in rows] == prediction.labels.tolist()


def test_two_classes_are_both_shown():
    prediction = Prediction(np.array([8]), np.array([[0.25, 0.75]]), np.array([7, 8]))
    assert cells(prediction._repr_html_())[1] == ["8", "8: 0.75007: 0.2500"]


def test_pictures_in_colour_are_shown_in_colour():
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    prediction = Prediction(np.array(["a"]), np.array([[1.0, 0.0]]), np.array(["a", "b"]), [picture])
    (image,) = fragment(prediction._repr_html_()).iter("img")
    assert np.array_equal(pixels(image), picture)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "</td></table><script>alert(1)</script>", "&amp;", "\"'", "中文"]
)
def test_class_names_with_markup_are_words(name):
    prediction = Prediction(np.array([name]), np.array([[0.9, 0.1]]), np.array([name, "other"]))
    text = prediction._repr_html_()
    assert not list(fragment(text).iter("img"))
    assert cells(text)[1] == [name, f"{name}: 0.9000other: 0.1000"]


def test_a_model_is_evaluated_on_a_named_data_set_and_on_arrays(trained):
    model = load(trained)
    recorded = json.loads((trained / "result.json").read_text())["test"]
    assert model.evaluate("digits").correct == recorded["correct"]
    blank = Arrays(np.zeros((4, 8, 8), np.uint8), [int(model.predict(np.zeros((1, 8, 8), np.uint8))[0])] * 4)
    assert model.evaluate(blank).correct == 4


@pytest.mark.parametrize("method", ["predict", "predict_proba", "prediction", "read"])
@pytest.mark.parametrize("name", ["digits", Path("x.csv")])
def test_a_name_in_place_of_values_is_refused_with_what_reads_it(trained, method, name):
    with pytest.raises(UsageError, match=r"expected values, got the name .*model\.evaluate\(name\)"):
        getattr(load(trained), method)(name)


@pytest.mark.parametrize("method", ["evaluate", "align", "probabilities", "outputs"])
def test_a_list_in_place_of_a_source_is_refused(trained, method):
    with pytest.raises(UsageError, match=r"expected .*, got list"):
        getattr(load(trained), method)([np.zeros((8, 8))])
