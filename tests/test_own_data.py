"""Whole runs on the user's data: tables, arrays, pictures; what the run and the model record of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import scanline
from scanline.api import train
from scanline.data.readers.arrays import Arrays
from scanline.errors import DataError, UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.evaluation.predict_files import predict_files
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun

SHORT = {"train.samples": 0, "train.steps": 30, "model.hidden_size": 8, "train.epochs": 0}


def recordings(n: int = 48, seed: int = 0) -> pd.DataFrame:
    """A long table: recordings of 4 to 9 steps of two features, of six people, that rise or fall."""
    draw = np.random.default_rng(seed)
    rows = []
    for recording in range(n):
        rises = recording % 2
        for time in range(int(draw.integers(4, 10))):
            x = (time if rises else -time) + draw.normal() * 0.1
            rows.append(
                (recording, time, recording // 2 % 6, 100 + x, draw.normal(), "rises" if rises else "falls")
            )
    return pd.DataFrame(rows, columns=["id", "time", "person", "x", "y2", "label"])


@pytest.fixture
def table(tmp_path) -> Path:
    recordings().to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def split_of(run) -> dict:
    return json.loads((run.path / "split.json").read_text())["parts"]


def test_a_table_is_trained_on_with_the_recipe_for_sequences(table, tmp_path):
    lines: list[str] = []
    run = train(table, settings=SHORT, run=tmp_path / "run", log=lines.append)
    assert run.result["recipe"] == "sequences"
    assert "mine.csv: read as a long table, a row for each step; label column label" in lines[0]
    assert lines[0] in (run.path / "log.txt").read_text()
    assert run.result["test"]["n"] + run.result["validation"]["n"] < 48
    recipe = (run.path / "recipe.toml").read_text()
    for expected in ('shape = "long"', 'id_column = "id"', f'name = "{table}"', '"x",', '"y2",'):
        assert expected in recipe


def test_inferred_settings_are_used_for_prediction_and_evaluation(table, tmp_path):
    run = train(table, settings=SHORT | {"train.steps": 200}, run=tmp_path / "run", log=None)
    assert evaluate_run(str(run.path), None).metrics.to_json() == run.result["test"]
    assert (
        evaluate_run(str(run.path), str(table)).metrics.to_json() == run.result["test"]
    )  # its own file: the test part alone
    frame = recordings(10, seed=5)
    frame[["y2", "id", "x", "time"]].to_csv(
        tmp_path / "new.csv", index=False
    )  # other order, no label, no person
    predictions = [each.to_json() for each in predict_files(run.path / "model", [str(tmp_path / "new.csv")])]
    assert [prediction["sequence"] for prediction in predictions] == [str(index) for index in range(10)]
    assert [prediction["label"] for prediction in predictions] == ["falls", "rises"] * 5
    frame.to_parquet(tmp_path / "new.parquet")
    evaluation = evaluate_run(str(run.path), str(tmp_path / "new.parquet"))
    assert (evaluation.metrics.n, evaluation.metrics.correct) == (10, 10)


def test_no_group_is_in_two_splits(table, tmp_path):
    settings = SHORT | {"data.group_column": "person", "split.test": 0.3, "split.validation": 0.2}
    splits = split_of(train(table, settings=settings, run=tmp_path / "run", log=None))
    groups = [set(name["groups"]) for name in splits.values()]
    assert len(groups) == 3
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6
    sequences = sorted(index for name in splits.values() for index in name["sequences"])
    assert sequences == list(range(48))
    assert "drawn by person with seed 0" in splits["test"]["from"]


def test_standardisation_is_fitted_to_the_training_split_and_saved_with_the_model(table, tmp_path):
    run = train(table, settings=SHORT, run=tmp_path / "run", log=None)
    chosen = split_of(run)["train"]["ids"]
    frame = recordings()
    own = frame[frame["id"].astype(str).isin(chosen)][["x", "y2"]].to_numpy(np.float32).astype(np.float64)
    classifier = run.model.network
    assert classifier.shift.tolist() == pytest.approx(own.mean(0), rel=1e-6)
    assert classifier.scale.tolist() == pytest.approx(own.std(0), rel=1e-6)


@pytest.mark.parametrize("how", ["forward-fill", "zero", "mean"])
def test_missing_values_are_filled_in_training_and_in_prediction(table, tmp_path, how):
    frame = recordings()
    frame.loc[[3, 20, 21], "x"] = np.nan
    frame.to_csv(table, index=False)
    with pytest.raises(
        DataError, match=r"mine\.csv: line 5, column x: expected a finite number, found a missing"
    ):
        train(table, settings=SHORT, run=tmp_path / "none", log=None)
    run = train(table, settings=SHORT | {"input.missing": how}, run=tmp_path / "run", log=None)
    assert run.model.preprocessing.missing == how
    assert len(run.model.preprocessing.means) == (0 if how == "zero" else 2)
    predictions = [each.to_json() for each in predict_files(run.path, [str(table)])]
    assert len(predictions) == 48
    assert all(np.isfinite(prediction["probability"]) for prediction in predictions)
    one = np.array([[100.0, 0.0], [np.nan, 0.0]])
    filled = {
        "forward-fill": 100.0,
        "zero": 0.0,
        "mean": run.model.preprocessing.means[0] if how == "mean" else 0,
    }
    expected = run.model.predict_proba([np.array([[100.0, 0.0], [filled[how], 0.0]])])
    assert run.model.predict_proba([one]) == pytest.approx(expected, abs=1e-7)


def test_arrays_of_a_program_are_trained_on_and_resumed_with(tmp_path):
    draw = np.random.default_rng(0)
    X = [draw.normal(size=(int(draw.integers(2, 8)), 3)) + index % 2 for index in range(30)]
    given = Arrays(X, np.arange(30) % 2, test=(X[:4], [0, 1, 0, 1]), name="mine")
    whole = train(given, settings=SHORT | {"train.checkpoint_every": 10}, run=tmp_path / "whole", log=None)
    assert (whole.result["data"], whole.result["test"]["n"]) == ("the mine of a program", 4)
    experiment = TrainingRun.begin(
        given, settings=SHORT | {"train.checkpoint_every": 10}, run=tmp_path / "cut"
    )
    for record in experiment.events():
        if isinstance(record, Stepped) and record.step == 17:
            break
    experiment.directory.unlock()
    with pytest.raises(UsageError, match="trained on arrays of a Python program: resume it"):
        train(resume=tmp_path / "cut")
    with pytest.raises(DataError, match=r"is not the data that .* was trained on"):
        train(
            Arrays(X[::-1], np.arange(30) % 2, test=(X[:4], [0, 1, 0, 1])), resume=tmp_path / "cut", log=None
        )
    cut = train(given, resume=tmp_path / "cut", log=None)
    weights = [(run.path / "model" / "model.safetensors").read_bytes() for run in (whole, cut)]
    assert weights[0] == weights[1]
    with pytest.raises(UsageError, match="was trained on the mine of a program: name its path with --data"):
        evaluate_run(str(cut.path), None)


def test_balanced_classes_and_batches_by_length_are_settings_of_the_recipe(table, tmp_path):
    plain = train(table, settings=SHORT, run=tmp_path / "plain", log=None)
    frame = recordings()
    frame[(frame["id"] % 2 == 0) | (frame["id"] < 16)].to_csv(table, index=False)
    weighted = train(
        table, settings=SHORT | {"train.class_weights": "balanced"}, run=tmp_path / "w", log=None
    )
    bucketed = train(table, settings=SHORT | {"train.bucket": 4}, run=tmp_path / "b", log=None)
    assert (
        len({(run.path / "model" / "model.safetensors").read_bytes() for run in (plain, weighted, bucketed)})
        == 3
    )


def test_a_split_can_be_omitted(table, tmp_path):
    settings = SHORT | {"split.test": 0.0, "split.validation": 0.0}
    run = train(table, settings=settings, run=tmp_path / "run", log=None)
    assert (run.result["test"], run.result["validation"]) == (None, None)
    assert list(split_of(run)) == ["train"]
    with pytest.raises(UsageError, match="has no test split: name data to evaluate on"):
        evaluate_run(str(run.path), None)
    with pytest.raises(UsageError, match=r"train\.patience requires a validation split"):
        train(table, settings=settings | {"train.patience": 2, "train.validate_every": 1}, run=tmp_path / "x")


def colours(folder: Path) -> Path:
    """Pictures of different sizes, red or blue above grey."""
    for index in range(24):
        pixels = np.full((12 + index % 3, 20, 3), 128, np.uint8)
        pixels[:5] = (200, 0, 0) if index % 2 else (0, 0, 200)
        target = folder / ("red" if index % 2 else "blue")
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target / f"{index}.png")
    return folder


def test_coloured_pictures_of_any_size_are_fitted_seen_and_named(tmp_path):
    folder = colours(tmp_path / "photos")
    with pytest.raises(DataError, match=r"expected a picture of 12 x 20 pixels as .*, found 14 x 20; "):
        train(folder, settings=SHORT, run=tmp_path / "none", log=None)
    settings = SHORT | {
        "data.picture": "8x10",
        "data.colour": True,
        "input.view": "columns",
        "train.steps": 60,
    }
    run = train(folder, settings=settings, run=tmp_path / "run", log=None)
    assert run.result["recipe"] == "rows"
    model = run.model
    assert model.network.architecture.input_size == 8 * 3
    seen = model.prepare(folder / "red" / "1.png")
    assert seen.shape == (8, 10, 3)
    predictions = [
        each.to_json()
        for each in predict_files(run.path, [str(folder / "red" / "1.png"), str(folder / "blue" / "2.png")])
    ]
    assert [prediction["label"] for prediction in predictions] == ["red", "blue"]
    assert model.predict(seen).tolist() == ["red"]


@pytest.mark.parametrize("view", ["rows", "columns", "pixels", "permuted", "patches:4"])
def test_a_model_keeps_its_view(tmp_path, view):
    from scanline.data import catalogue as catalog

    run = train("digits", settings=SHORT | {"input.view": view}, run=tmp_path / "run", log=None)
    shape = {"rows": 8, "columns": 8, "pixels": 1, "permuted": 1, "patches:4": 16}
    assert run.model.network.architecture.input_size == shape[view]
    evaluation = run.model.evaluate(catalog.load("digits").test)
    assert evaluation.to_json() == run.result["test"]


def test_the_permutation_depends_on_the_recipes_seed_and_not_on_the_runs(tmp_path):
    forms = []
    for name, changes in (("a", {}), ("b", {"seed": 7}), ("c", {"input.permutation_seed": 7})):
        settings = SHORT | {"input.view": "permuted", "train.steps": 1} | changes
        run = train("digits", settings=settings, run=tmp_path / name, log=None)
        forms.append(run.model.preprocessing.picture_view.order.tolist())
    assert forms[0] == forms[1] != forms[2]


def test_values_of_a_wide_table_can_be_cut_into_steps(tmp_path):
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(40, 12)).round(3)).add_prefix("v")
    frame["class"] = np.arange(40) % 2
    frame.to_csv(tmp_path / "wide.csv", index=False)
    run = train(tmp_path / "wide.csv", settings=SHORT | {"input.features": 3}, run=tmp_path / "run", log=None)
    model = run.model
    assert model.network.architecture.input_size == 3
    values = frame.drop(columns="class").to_numpy(np.float32)
    cut = model.predict_proba(values.reshape(40, 4, 3))
    assert np.array_equal(model.predict_proba(values), cut)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.zeros((4, 2, 9)),
            r"expected shape \(N, steps, 2\), found \(4, 2, 9\); steps and features",
        ),
        (np.zeros((4, 9, 3)), r"expected shape \(N, steps, 2\), found \(4, 9, 3\)"),
        ([np.zeros((3, 3))], r"expected shape \(N, steps, 2\), found \(1, 3, 3\)"),
        (np.zeros((5, 7)), r"expected shape \(N, steps, 2\), found \(1, 5, 7\)"),
    ],
)
def test_a_transposed_or_wrongly_wide_input_is_refused_with_both_shapes(table, tmp_path, values, message):
    run = train(table, settings=SHORT | {"train.steps": 1}, run=tmp_path / "run", log=None)
    with pytest.raises(DataError, match=message):
        run.model.predict(values)


def test_single_listed_and_padded_sequences_get_the_same_predictions(table, tmp_path):
    run = train(table, settings=SHORT, run=tmp_path / "run", log=None)
    draw = np.random.default_rng(0)
    X = [draw.normal(size=(length, 2)) + 100 for length in (3, 7, 5)]
    padded = np.full((3, 9, 2), np.nan)
    for row, sequence in zip(padded, X, strict=True):
        row[: len(sequence)] = sequence
    probabilities = run.model.predict_proba(X)
    assert np.array_equal(run.model.predict_proba(padded, [3, 7, 5]), probabilities)
    for index, sequence in enumerate(X):
        assert np.array_equal(run.model.predict_proba(sequence)[0], probabilities[index])
    assert isinstance(run.model, scanline.Model)


@pytest.mark.parametrize(
    "names",
    [
        np.array(["0", "1"]),
        np.array([False, True]),
        np.array([1.0, 2.0]),
        np.array([" a", "b"]),
        np.array(["10", "9"], object),
        np.array([3, -1], np.int8),
        np.array([b"a", b" b"]),
    ],
    ids=["digits", "booleans", "floats", "blank", "object", "integers", "bytes"],
)
def test_predictions_have_the_type_of_the_labels(names, tmp_path):
    draw = np.random.default_rng(0)
    codes = np.arange(40) % 2
    values = draw.normal(size=(40, 5, 2)) + 4 * codes[:, None, None]
    labels = names[codes]
    run = train(
        Arrays(values, labels, test=(values, labels)),
        settings=SHORT | {"train.steps": 60, "split.validation": 0},
        run=tmp_path / "run",
        log=None,
    )
    model = scanline.load(run.path)
    assert run.result["test"]["accuracy"] == 1
    predicted = model.predict(values)
    assert predicted.tolist() == labels.tolist()
    assert list(map(type, predicted.tolist())) == list(map(type, labels.tolist()))
    assert model.prediction(values).labels.tolist() == labels.tolist()
    # The same in the run's files, in an evaluation and in files of predictions.
    shown = [each.decode() if isinstance(each, bytes) else each for each in model.classes.tolist()]
    assert [repr(each["class"]) for each in run.result["test"]["classes"]] == list(map(repr, shown))
    np.savez(tmp_path / "new.npz", X=values, y=labels.astype(str))
    predictions = list(predict_files(run.path, [str(tmp_path / "new.npz")]))
    texts = [each.decode() if isinstance(each, bytes) else each for each in labels.tolist()]
    assert [repr(each.to_json()["label"]) for each in predictions] == list(map(repr, texts))
    assert evaluate_run(str(run.path), str(tmp_path / "new.npz")).metrics.accuracy == 1
