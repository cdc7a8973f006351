"""Evaluation of a loaded model on the inputs that it accepts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

import scanline
from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.errors import DataError, ModelError, UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.evaluation.predict_files import predict_files
from tests.conftest import make_sequences


@pytest.fixture(scope="module")
def model(trained) -> scanline.Model:
    return scanline.load(trained)


@pytest.fixture(scope="module")
def digits():
    return catalog.load("digits")


def test_a_run_and_its_bundle_give_the_same_model(trained, model, digits):
    images = digits.test.values[:5]
    assert np.array_equal(scanline.load(trained / "model").predict_proba(images), model.predict_proba(images))


def test_predictions_are_class_names_and_probabilities(model, digits):
    images, labels = digits.test.values, digits.test.targets
    assert (model.predict(images) == labels).mean() > 0.8
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (360, 10)
    assert probabilities.sum(1) == pytest.approx(1)
    assert model.classes.tolist() == list(range(10))


def test_evaluation_counts_the_predictions_of_predict(trained, model, digits):
    evaluation = evaluate_run(str(trained), None, "cpu")
    assert evaluation.metrics.correct == (model.predict(digits.test.values) == digits.test.targets).sum()
    assert evaluation.predictions().true == digits.test.targets.tolist()


def test_grey_levels_and_fractions_of_them_give_the_same_prediction(model, digits):
    images = digits.test.values[:4]
    assert model.predict_proba(images / 16.0) == pytest.approx(model.predict_proba(images), abs=1e-6)


def test_a_single_picture_is_a_batch_of_one(model):
    assert model.predict(np.zeros((8, 8), np.uint8)).shape == (1,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 28, 28), np.uint8), r"expected shape \(N, 8, 8\), got \(2, 28, 28\)"),
        (np.zeros(8, np.uint8), r"got \(8,\)"),
        (np.zeros((0, 8, 8), np.uint8), r"got \(0, 8, 8\)"),
        (np.full((1, 8, 8), 16.0), "from 0 to 1; give grey levels from 0 to 16 as integers"),
        (np.full((1, 8, 8), np.nan), "from 0 to 1"),
        (np.full((1, 8, 8), 17), "expected integers from 0 to 16, got 17 to 17"),
        (np.full((1, 8, 8), -1), "got -1 to -1"),
        ([[1, 2], [3]], "expected an array of numbers, found something else"),
        (np.full((1, 8, 8), "a"), "expected an array of numbers, found <U1"),
    ],
)
def test_values_that_do_not_fit_are_refused(model, values, message):
    with pytest.raises(DataError, match=message):
        model.predict(values)


def test_labels_are_matched_by_class_name(model, digits):
    source = digits.test.take(slice(0, 50))
    only = np.flatnonzero(source.targets >= 8)
    turned = MemorySource.from_array(source.values[only], 9 - source.targets[only], (9, 8), "turned round")
    assert model.evaluate(turned).correct == model.evaluate(source.take(only)).correct


def test_classes_that_the_model_does_not_know_are_named(model):
    values = np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(
        DataError, match=r"photos: expected classes of the model trained on digits, .*; got cat, dog"
    ):
        model.evaluate(MemorySource.from_array(values, np.array([0, 1]), ("cat", "dog"), "photos"))


def test_steps_of_another_width_are_refused(model):
    with pytest.raises(DataError, match=r"made up: expected shape \(N, 8, 8\), found \(6, 5, 3\)"):
        model.evaluate(make_sequences())


@pytest.mark.parametrize(
    ("created", "message"),
    [
        ((), "there is no run .*runs/x"),
        (("",), "is neither a run directory"),
        (
            ("recipe.toml",),
            r"has no model yet, its training has not finished; continue it with `scanline\.train\(resume=",
        ),
        (("model/x",), r"model\.json is missing; copy the folder again"),
    ],
)
def test_a_folder_without_a_model_is_refused(tmp_path, created, message):
    run = tmp_path / "runs" / "x"
    for name in created:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).mkdir(exist_ok=True) if not name else (run / name).write_text("")
    with pytest.raises(ModelError, match=message):
        scanline.load(run)


def test_a_misspelt_run_names_the_nearest(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "digits-001")
    with pytest.raises(ModelError, match=r"there is no run .*digts-001; did you mean 'digits-001'"):
        scanline.load(tmp_path / "digts-001")


def picture(digits, index: int) -> Image.Image:
    """A test digit as a stranger would bring it: large, dark on light."""
    small = Image.fromarray(255 - digits.test.values[index] * 15)
    return small.resize((160, 160), Image.Resampling.BICUBIC)


def test_pictures_get_the_predictions_of_their_pixels(trained, model, digits, tmp_path):
    files = []
    for index in range(20):
        picture(digits, index).save(tmp_path / f"{index}.png")
        files.append(str(tmp_path / f"{index}.png"))
    predicted = [prediction.prediction.label for prediction in predict_files(trained, files)]
    assert (np.array(predicted) == digits.test.targets[:20]).sum() >= 15
    assert set(next(predict_files(trained, files)).prediction.probabilities) == {
        str(digit) for digit in range(10)
    }


def test_a_bad_picture_does_not_stop_the_others(trained, digits, tmp_path):
    picture(digits, 0).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("no picture")
    bad, good = predict_files(trained, [str(tmp_path / "bad.png"), str(tmp_path / "good.png")])
    assert isinstance(bad, DataError)
    assert good.prediction.probability == max(good.prediction.probabilities.values())


def test_the_networks_input_can_be_saved(trained, model, digits, tmp_path):
    picture(digits, 0).save(tmp_path / "in.png")
    list(predict_files(trained, [str(tmp_path / "in.png")], save_input=str(tmp_path / "saw.png")))
    saw = np.asarray(Image.open(tmp_path / "saw.png"))
    assert saw.shape == (8, 8)
    assert saw == pytest.approx(model.prepare(tmp_path / "in.png") / 16 * 255, abs=1)


def test_several_inputs_are_saved_in_a_folder(trained, digits, tmp_path):
    for name in ("a", "b"):
        picture(digits, 0).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    list(predict_files(trained, files, save_input=str(tmp_path / "saw")))
    assert sorted(path.name for path in (tmp_path / "saw").iterdir()) == ["a.png", "b.png"]
    with pytest.raises(UsageError, match="must be a folder for 2 pictures"):
        list(predict_files(trained, files, save_input=str(tmp_path / "saw.png")))
    with pytest.raises(UsageError, match=r"two pictures would both be written as .*a\.png"):
        list(predict_files(trained, [files[0], files[0]], save_input=str(tmp_path / "saw")))


def test_the_saved_input_never_overwrites_the_picture(trained, digits, tmp_path):
    path = tmp_path / "in.png"
    picture(digits, 0).save(path)
    before = path.read_bytes()
    for target in (str(path), str(tmp_path)):
        with pytest.raises(UsageError, match=r"--save-input would overwrite the picture .*in\.png"):
            list(predict_files(trained, [str(path)], save_input=target))
    assert path.read_bytes() == before


def test_a_model_without_its_run_is_evaluated_on_the_catalogue_data_of_that_name(trained):
    assert evaluate_run(str(trained / "model"), None).metrics == evaluate_run(str(trained), None).metrics


def test_the_recipe_of_another_version_is_no_hindrance_to_judging(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / "recipe.toml"
    path.write_text(path.read_text() + "[new]\nsetting = 1\n")
    assert evaluate_run(str(tmp_path / "run"), None).metrics.n == 360


@pytest.mark.parametrize("content", [b"\xff", b"[data]\n", b"data = 3", b"name = "])
def test_a_recipe_that_names_no_data_is_refused(trained, tmp_path, content):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "recipe.toml").write_bytes(content)
    with pytest.raises(ModelError, match=r"recipe\.toml is damaged: it names no data .*--data"):
        evaluate_run(str(tmp_path / "run"), None)
