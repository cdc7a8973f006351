"""Explanations of one answer: from arrays, from files, and from the test part."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import scanline
from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import Arrays
from scanline.data.transforms.views import View
from scanline.errors import DataError, UsageError
from scanline.explanation.explain import explain, explain_input
from scanline.explanation.trace import Trace
from scanline.model.artifact import Model
from scanline.model.initialisation import initialise
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

SHORT = {"train.samples": 0, "train.steps": 20, "train.epochs": 0, "model.hidden_size": 6}
HEAD = "id,time,x,y,label"


def rows(names, draw):
    """Lines of a long table: each recording of 4 to 7 steps of two features, and its kind."""
    return [
        f"{name},{step},{number % 2 + draw.normal():.3f},{draw.normal():.3f},{'ab'[number % 2]}"
        for number, name in enumerate(names)
        for step in range(4 + number % 4)
    ]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A run on a table whose recordings have names."""
    folder = tmp_path_factory.mktemp("recordings")
    names = [f"r{number:02d}" for number in range(40)]
    (folder / "mine.csv").write_text("\n".join([HEAD, *rows(names, np.random.default_rng(0))]) + "\n")
    train(folder / "mine.csv", settings=SHORT, run=folder / "run", log=None)
    return folder / "run"


@pytest.fixture(scope="module")
def model(recordings) -> scanline.Model:
    return scanline.load(recordings)


@pytest.fixture
def new(tmp_path) -> Path:
    """A file of three more recordings, which names no kind."""
    lines = rows(["first", "second", "2"], np.random.default_rng(1))
    text = "\n".join(line.rpartition(",")[0] for line in [HEAD, *lines]) + "\n"
    (tmp_path / "new.csv").write_text(text)
    return tmp_path / "new.csv"


def read(path: Path) -> dict[str, np.ndarray]:
    """The recordings of a table, by name."""
    result: dict[str, list[list[float]]] = {}
    for line in path.read_text().splitlines()[1:]:
        name, _, *values = line.split(",")
        result.setdefault(name, []).append([float(value) for value in values[:2]])
    return {name: np.array(steps, np.float32) for name, steps in result.items()}


# --- arrays


def test_an_array_is_explained_with_its_values_and_prediction(model):
    values = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    explanation = explain(model, values)
    assert explanation.name == "the given sequence"
    assert np.array_equal(explanation.values, values)
    assert explanation.label == model.predict(values)[0]
    assert explanation.trace.probabilities[-1] == pytest.approx(model.predict_proba(values)[0], abs=1e-6)
    assert explanation.attribution.values.shape == (6, 2)
    assert explanation.attribution.target == explanation.trace.prediction
    assert (explanation.picture, explanation.pixel_attribution, explanation.view, explanation.true) == (
        None,
        None,
        None,
        None,
    )


def test_the_attribution_is_measured_from_the_training_mean(model):
    mean = model.network.shift.numpy()
    explanation = explain(model, np.tile(mean, (5, 1)))
    assert not explanation.attribution.values.any()
    assert explanation.attribution.difference == 0


@pytest.mark.parametrize(
    "given",
    [
        np.ones((1, 6, 2)),
        [np.ones((6, 2))],
        torch.ones(6, 2),
        np.ones((6, 2)).tolist(),
        np.ones((6, 2), np.int64),
    ],
    ids=["a batch of one", "a list of one", "a tensor", "nested lists", "whole numbers"],
)
def test_one_sequence_may_come_in_any_form(model, given):
    expected = explain(model, np.ones((6, 2), np.float32))
    assert np.array_equal(explain(model, given).trace.probabilities, expected.trace.probabilities)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones((2, 6, 2)), "expected one sequence to explain; got 2"),
        ([np.ones((6, 2)), np.ones((4, 2))], "expected one sequence to explain; got 2"),
        (np.ones((6, 3)), r"expected shape \(N, steps, 2\), found \(1, 6, 3\); the model was trained on "),
        (np.ones(6), r"expected shape \(N, steps, 2\), found \(1, 6, 1\)"),
        (np.ones((0, 2)), r"none of them 0, found \(1, 0, 2\)"),
        (np.full((3, 2), np.nan), "sequence 0, step 0, feature 0: expected a finite number, found a missing"),
        ([["a", "b"]], "expected an array of numbers"),
        (None, "expected an array of numbers"),
        (np.ma.masked_less(np.ones((3, 2)), 0), "masked arrays are not supported"),
    ],
)
def test_what_cannot_be_explained_is_refused(model, given, message):
    with pytest.raises(DataError, match=message):
        explain(model, given)


@pytest.fixture(scope="module")
def one_feature(tmp_path_factory) -> scanline.Model:
    draw = np.random.default_rng(0)
    data = Arrays(draw.normal(size=(24, 5, 1)), np.arange(24) % 2)
    return train(data, settings=SHORT, run=tmp_path_factory.mktemp("one") / "run", log=None).model


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 5), (1, 5, 1)], ids=str)
def test_a_sequence_of_one_feature_may_be_a_plain_row_of_numbers(one_feature, shape, kind):
    values = np.linspace(-1, 1, 5)
    explanation = explain(one_feature, kind(values.reshape(shape).tolist()))
    assert explanation.values.tolist() == pytest.approx(values.reshape(5, 1))
    assert explanation.trace.probabilities[-1] == pytest.approx(
        one_feature.predict_proba(values[None])[0], abs=1e-6
    )


@pytest.mark.parametrize("shape", [(12,), (12, 1), (1, 12), (4, 3), (1, 4, 3)], ids=str)
def test_a_row_that_is_cut_into_steps_is_accepted_uncut_or_cut(shape):
    form = Preprocessing(None, "rows", 0, 1, 3, "error", (), DEFAULT_DATA)
    classifier = Network(Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2)).eval()
    explanation = explain(
        Model(classifier, Classification(("a", "b")), form, "made up"), np.arange(12.0).reshape(shape)
    )
    assert explanation.values.tolist() == np.arange(12.0).reshape(4, 3).tolist()


# --- pictures

VIEWS = ["rows", "columns", "pixels", "permuted", "patches:4"]


def picture_model(view: str, channels: int = 1, levels: int = 255) -> Model:
    """An untrained network that reads pictures of 4 x 8 pixels."""
    picture = PictureFormat(4, 8, 3, levels, "mass", channels, "ink" if channels == 1 else "contain")
    features = View(view, 4, 8, channels).features
    form = Preprocessing(picture, view, 0, 8 * channels, features, "error", (), DEFAULT_DATA)
    classifier = Network(Architecture("lstm", features, 4, 1, False, 0.0, "between", "last", 3))
    initialise(classifier, "orthogonal", "xavier", 1.0, torch.Generator().manual_seed(0))
    return Model(classifier.eval(), Classification(("a", "b", "c")), form, "made up")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_is_shown_unchanged_in_every_view(view, channels):
    shape = (4, 8) if channels == 1 else (4, 8, 3)
    picture = np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
    explanation = explain(picture_model(view, channels), picture)
    assert np.array_equal(explanation.picture, picture)
    assert explanation.picture.dtype == np.uint8
    assert explanation.values.shape == (
        32 * channels // explanation.values.shape[1],
        View(view, 4, 8, channels).features,
    )
    assert explanation.pixel_attribution.shape == (4, 8)
    assert explanation.pixel_attribution.sum() == pytest.approx(
        explanation.attribution.values.sum(), abs=1e-9
    )


@pytest.mark.parametrize("view", VIEWS)
def test_a_black_pixel_gets_no_attribution_at_its_place(view):
    picture = np.zeros((4, 8), np.uint8)
    picture[2, 5] = 200
    places = explain(picture_model(view), picture).pixel_attribution
    assert np.argwhere(places).tolist() == [[2, 5]]


def test_grey_levels_are_shown_between_black_and_white():
    picture = np.arange(32, dtype=np.uint8).reshape(4, 8) // 2  # 0 to 15 of 15 levels
    shown = explain(picture_model("rows", levels=15), picture).picture
    assert np.array_equal(shown, picture * 17)


@pytest.mark.parametrize(
    ("view", "unit"),
    [
        ("rows", "row"),
        ("columns", "column"),
        ("pixels", "pixel"),
        ("permuted", "step"),
        ("patches:4", "patch"),
    ],
)
def test_the_summary_names_steps_by_their_view(view, unit):
    first, second = explain(picture_model(view), np.zeros((4, 8), np.uint8)).lines()
    assert first.startswith("the given sequence: ")
    assert re.match(rf"  first predicted after {unit} \d+, settled from {unit} \d+ of \d+; ", second)


# --- words


def with_predictions(explanation, predictions):
    rows = np.full((len(predictions), 2), 0.25)
    rows[np.arange(len(predictions)), predictions] = 0.75
    return replace(explanation, trace=Trace(rows, ("a", "b"), ()))


@pytest.mark.parametrize(
    ("predictions", "line"),
    [
        ([0, 0], "after step 1, settled from step 1 of 2; the prediction never changed"),
        ([1, 0, 0], "after step 2, settled from step 2 of 3; the prediction changed once"),
        ([0, 1, 0], "after step 1, settled from step 3 of 3; the prediction changed 2 times"),
        ([0, 1] * 5 + [0, 1], "after step 2, settled from step 12 of 12; the prediction changed 11 times"),
    ],
)
def test_the_summary_gives_the_step_at_which_the_prediction_settled(model, predictions, line):
    explanation = with_predictions(explain(model, np.ones((3, 2))), predictions)
    assert explanation.lines()[1] == f"  first predicted {line}"


def test_the_summary_states_whether_the_prediction_is_correct(model):
    explanation = with_predictions(explain(model, np.ones((3, 2))), [0, 0])
    assert explanation.lines()[0] == "the given sequence: a (0.7500)"
    assert replace(explanation, true="a").lines()[0] == "the given sequence: a (0.7500), correct"
    assert (
        replace(explanation, true="b").lines()[0]
        == "the given sequence: a (0.7500), wrong: the true class is b"
    )


# --- files and the test part


def test_a_number_means_a_sequence_of_the_test_split(trained):
    digits, model = catalog.load("digits").test, scanline.load(trained)
    for index in (0, 17, 359):
        explanation = explain_input(model, str(trained), str(index))
        assert explanation.name == f"test sequence {index}"
        assert explanation.true == digits.targets[index]
        assert np.array_equal(explanation.values, digits.values[index])
        assert explanation.label == model.predict(digits.values[index])[0]


def test_a_sequence_of_the_test_split_keeps_its_name(recordings, model):
    test = json.loads((recordings / "split.json").read_text())["parts"]["test"]["ids"]
    explanation = explain_input(model, str(recordings), "1")
    assert explanation.name == f"test sequence {test[1]}"
    assert explanation.true == "ab"[int(test[1][1:]) % 2]


def test_a_number_beyond_the_test_split_is_refused(trained):
    with pytest.raises(UsageError, match=r"has no sequence '360': expected one of 0 to 359"):
        explain_input(scanline.load(trained), str(trained), "360")


def test_a_file_name_takes_precedence_over_a_sequence_number(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(255 - catalog.load("digits").test.values[3] * 15).resize((60, 60)).save("3", "PNG")
    explanation = explain_input(scanline.load(trained), str(trained), "3")
    assert (explanation.name, explanation.true) == ("3", None)


def test_a_model_directory_finds_the_test_split_of_a_named_data_set(trained):
    bundle = str(trained / "model")
    expected = explain_input(scanline.load(trained), str(trained), "3")
    assert explain_input(scanline.load(bundle), bundle, "3").to_json() == expected.to_json()


def test_a_model_directory_does_not_find_other_test_splits(recordings):
    bundle = str(recordings / "model")
    with pytest.raises(UsageError, match=r"model was trained on .*mine\.csv: name its path"):
        explain_input(scanline.load(bundle), bundle, "3")


def test_a_picture_file_is_explained_as_it_is_prepared(trained, tmp_path):
    path, model = tmp_path / "seven.png", scanline.load(trained)
    Image.fromarray(255 - catalog.load("digits").test.values[0] * 15).resize((90, 90)).save(path)
    explanation = explain_input(model, str(trained), str(path))
    assert explanation.name == str(path)
    assert np.array_equal(explanation.values, model.prepare(path))
    assert np.array_equal(explanation.picture, np.rint(explanation.values * (255 / 16)).astype(np.uint8))


def test_the_first_of_a_file_is_explained_if_none_is_named(recordings, model, new):
    explanation = explain_input(model, str(recordings), str(new))
    assert explanation.name == f"{new}, sequence first"
    assert np.array_equal(explanation.values, read(new)["first"])
    assert explanation.true is None


@pytest.mark.parametrize(
    ("wanted", "name"), [("second", "second"), ("0", "first"), ("1", "second"), ("2", "2")]
)
def test_a_sequence_of_a_file_is_meant_by_name_or_by_number(recordings, model, new, wanted, name):
    explanation = explain_input(model, str(recordings), str(new), wanted)
    assert explanation.name == f"{new}, sequence {name}"
    assert np.array_equal(explanation.values, read(new)[name])


def test_labels_of_a_file_are_used(recordings, model):
    table = recordings.parent / "mine.csv"
    assert explain_input(model, str(recordings), str(table), "r05").true == "b"


def test_sequences_of_an_npz_file_are_meant_by_number(recordings, model, tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    np.savez(tmp_path / "new.npz", X=values, lengths=[5, 3, 4])
    explanation = explain_input(model, str(recordings), str(tmp_path / "new.npz"), "1")
    assert np.array_equal(explanation.values, values[1, :3])
    with pytest.raises(UsageError, match=r"has no sequence '3': expected one of 0 to 2"):
        explain_input(model, str(recordings), str(tmp_path / "new.npz"), "3")


def test_sequences_of_a_ts_file_are_meant_by_number(recordings, model, tmp_path):
    header = "@problemName new\n@timeStamps false\n@univariate false\n@dimensions 2\n@equalLength false\n"
    series = ["0.5,1.5,2.5:1,2,3:?", "0.25,0.75:-1,-2:?"]
    (tmp_path / "new.ts").write_text(f"{header}@classLabel false\n@data\n" + "\n".join(
        line.removesuffix(":?") for line in series
    ) + "\n")  # fmt: skip
    explanation = explain_input(model, str(recordings), str(tmp_path / "new.ts"), "1")
    assert explanation.values.tolist() == [[0.25, -1], [0.75, -2]]


@pytest.mark.parametrize("wanted", ["third", "3", "-1", ""])
def test_an_unknown_sequence_is_refused_with_the_names_there_are(recordings, model, new, wanted):
    with pytest.raises(UsageError, match=f"has no sequence '{wanted}': expected one of first, second, 2"):
        explain_input(model, str(recordings), str(new), wanted)


def test_a_sequence_is_only_named_where_there_are_several(trained, tmp_path):
    model = scanline.load(trained)
    with pytest.raises(UsageError, match=r"--sequence applies to files of several .*; x\.png is a pict"):
        explain_input(model, str(trained), "x.png", "1")
    with pytest.raises(UsageError, match=r"--sequence applies to files of several .*; 5 is a number in"):
        explain_input(model, str(trained), "5", "1")


def test_steps_of_another_width_are_refused_with_both_shapes(recordings, model, tmp_path):
    np.savez(tmp_path / "wide.npz", X=np.zeros((2, 5, 3)))
    with pytest.raises(DataError, match=r"expected shape \(N, steps, 2\), found \(2, 5, 3\)"):
        explain_input(model, str(recordings), str(tmp_path / "wide.npz"))


def test_missing_values_follow_the_models_policy(recordings, model, new, tmp_path):
    lines = new.read_text().splitlines()
    name, when, _, y = lines[2].split(",")
    lines[2] = f"{name},{when},,{y}"
    new.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"new\.csv: line 3, column x: expected a finite number"):
        explain_input(model, str(recordings), str(new))
    settings = SHORT | {"input.missing": "zero"}
    run = train(recordings.parent / "mine.csv", settings=settings, run=tmp_path / "run", log=None)
    assert explain_input(run.model, str(run.path), str(new)).values[1].tolist() == pytest.approx(
        [0, float(y)]
    )


# --- every number


def test_the_json_has_every_number(recordings, model):
    explanation = explain_input(model, str(recordings), "0")
    content = json.loads(json.dumps(explanation.to_json(), allow_nan=False))
    assert (content["sequence"], content["true"], content["label"]) == (
        explanation.name,
        explanation.true,
        explanation.label,
    )
    assert np.array_equal(content["probabilities"], explanation.trace.probabilities)
    assert np.array_equal(np.array(content["values"], np.float32), explanation.values)
    probabilities = content["attribution"]
    assert np.array_equal(probabilities["values"], explanation.attribution.values)
    assert probabilities["of"] == explanation.label
    assert probabilities["sum"] == pytest.approx(np.sum(probabilities["values"]))
    assert probabilities["difference_of_logits"] == explanation.attribution.difference
    assert probabilities["error"] == pytest.approx(
        abs(probabilities["sum"] - probabilities["difference_of_logits"]), abs=1e-12
    )
    assert [layer["direction"] for layer in content["layers"]] == ["forward", "backward"]


def test_the_arrays_have_every_number(model):
    explanation = explain(model, np.ones((4, 2)))
    arrays = explanation.arrays()
    assert arrays["classes"].tolist() == ["a", "b"]
    assert np.array_equal(arrays["attribution"], explanation.attribution.values)
    assert np.array_equal(arrays["values"], explanation.values)
    keys = [f"{stem}_{name}" for stem in ("l1", "l1_backward") for name in "ifgoch"]
    assert set(arrays) == {"probabilities", "attribution", "values", "classes", *keys}
    assert not any(array.dtype.hasobject for array in arrays.values())
