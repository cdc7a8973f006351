"""The scorer: for each sequence the bits of `scanline predict`, or an error."""

from __future__ import annotations

import json
import math
import pickle
import shutil

import numpy as np
import pyarrow as pa
import pytest

import scanline
from scanline.errors import DataError, ModelError, UsageError
from scanline.scoring.scorer import Scorer
from tests.scoring.packed import rows_of, table_of

PREDICTED = ("prediction", "probability", "probabilities")


@pytest.fixture(scope="module")
def scorer(run) -> Scorer:
    return Scorer.open(run)


@pytest.fixture(scope="module")
def digits():
    """Some of scikit-learn's digits."""
    from scanline.data import catalogue

    return catalogue.load("digits").train.subsample(7)


def test_probabilities_are_those_of_predict_to_the_last_bit(scorer, sequences, run, csv_file, scanline):
    code, out, _ = scanline("predict", run, csv_file, "--json")
    expected = json.loads(out)["predictions"]
    scores = scorer(table_of(sequences)).to_pylist()
    assert code == 0
    assert [each["id"] for each in scores] == [each["sequence"] for each in expected]
    assert [each["prediction"] for each in scores] == [each["label"] for each in expected]
    assert [each["probability"] for each in scores] == [each["probability"] for each in expected]
    probabilities = [list(each["probabilities"].values()) for each in expected]
    assert [each["probabilities"] for each in scores] == probabilities
    assert {each["error"] for each in scores} == {None}


def test_the_schema_names_the_classes_and_the_model(scorer, sequences):
    scores = scorer(table_of(sequences).slice(0, 2), "test")
    details = json.loads(scores.schema.metadata[b"scanline"])
    assert details["classes"] == ["high", "low", "middle"]
    assert (details["model"], details["calibrated"]) == (scorer.digest, False)
    assert scores.schema.names == ["id", "split", *PREDICTED, "error"]
    assert scores["split"].to_pylist() == ["test", "test"]


def test_calibrated_probabilities_are_those_of_the_calibrated_model(run, sequences):
    from scanline.model.loading import load

    expected = load(run, calibrated=True).probabilities(sequences)
    assert (
        Scorer.open(run, calibrated=True)(table_of(sequences))["probabilities"].to_pylist()
        == expected.tolist()
    )
    assert not (load(run).probabilities(sequences) == expected).all()


def test_a_faulty_sequence_has_its_error_and_changes_no_other_row(scorer, sequences):
    table = table_of(sequences)
    good = scorer(table).to_pylist()
    faulty = rows_of(
        ("none", 3, []),
        ("null", 3, None),
        ("contradiction", 3, [1.0] * 5),
        ("features", 2, [1.0] * 6),
        ("no length", None, [1.0] * 6),
        ("negative", -3, [1.0] * 6),
        ("missing", 2, [1.0, 2.0, math.nan, 4.0]),
        ("null value", 2, [1.0, 2.0, 3.0, None]),
        ("infinite", 1, [1.0, -math.inf]),
        (None, 1, [1.0, 2.0]),
    )
    table = pa.concat_tables([faulty.slice(0, 3), table.slice(0, 60), faulty.slice(3), table.slice(60)])
    scores = scorer(table).to_pylist()
    texts = {each["id"]: each["error"] for each in scores if each["error"] is not None}
    assert [each for each in scores if each["error"] is None and each["id"] is not None] == good
    assert all(each[name] is None for each in scores if each["error"] for name in PREDICTED)
    trained = "the model was trained with input.missing=error; replace missing values before"
    assert texts == {
        "none": "expected steps, found none",
        "null": "expected steps, found none",
        "contradiction": "expected 3 steps of equal size, found 5 values",
        "features": "expected 2 values a step, found 3 (6 in 2 steps)",
        "no length": "expected a length of at least 1, found 0",
        "negative": "expected a length of at least 1, found -3",
        "missing": "sequence missing: step 1, column x: expected a finite number, found a missing value; "
        + trained,
        "null value": "sequence null value: step 1, column y: expected a finite number, "
        "found a missing value; " + trained,
        "infinite": "sequence infinite: step 0, column y: expected a finite number, found -inf, or a number "
        "that does not fit into 32 bits",
    }
    assert [each["prediction"] is None for each in scores if each["id"] is None] == [False]


def test_a_table_of_faulty_rows_only_and_an_empty_table_are_scored(scorer):
    scores = scorer(rows_of(("a", 3, []), ("b", 1, [math.nan, 1.0])))
    assert scores["probabilities"].to_pylist() == [None, None]
    assert scorer(rows_of()).num_rows == 0


def test_missing_values_are_filled_as_in_training(filling_run):
    from scanline.model.loading import load

    (score,) = Scorer.open(filling_run)(rows_of(("a", 3, [1.0, 2.0, math.nan, 4.0, None, 5.0]))).to_pylist()
    values = np.array([[[1, 2], [1, 4], [1, 5]]], np.float32)
    assert score["probabilities"] == load(filling_run).predict_proba(values)[0].tolist()


def test_pictures_are_scored_as_bytes_and_as_the_integers_that_spark_reads(trained, digits):
    table = table_of(digits)
    scorer = Scorer.open(trained)
    expected = scanline.load(trained).probabilities(digits).tolist()
    wide = table.set_column(4, "steps", table["steps"].cast(pa.list_(pa.int16())))
    large = table.set_column(4, "steps", table["steps"].cast(pa.large_list(pa.uint8())))
    assert scorer(table)["probabilities"].to_pylist() == expected
    assert scorer(wide)["probabilities"].to_pylist() == expected
    assert scorer(large.slice(1, 3).to_batches()[0])["probabilities"].to_pylist() == expected[1:4]


def test_a_picture_of_another_height_is_an_error(trained, digits):
    table = table_of(digits).slice(0, 2).to_pylist()
    table[0] |= {"length": 4, "steps": table[0]["steps"][:32]}
    scores = Scorer.open(trained)(pa.Table.from_pylist(table)).to_pylist()
    assert scores[0]["error"] == "expected a picture of 8 rows, found 4"
    assert scores[1]["error"] is None


def test_stop_at_is_the_first_prefix_with_the_probability(run, sequences):
    scores = Scorer.open(run, stop_at=0.7)(table_of(sequences)).to_pylist()
    model = scanline.load(run)
    for index in range(40):
        steps = sequences.steps_of(index)
        prefixes = [model.predict_proba(steps[None, :end])[0] for end in range(1, len(steps) + 1)]
        reached = [number for number, each in enumerate(prefixes, 1) if each.max() >= 0.7]
        first = reached[0] if reached else None
        assert scores[index]["stop_step"] == first
        label = str(model.classes[prefixes[first - 1].argmax()]) if first else None
        assert scores[index]["stop_prediction"] == label
    steps_read = [each["stop_step"] for each in scores]
    assert None in steps_read
    assert len(set(steps_read)) > 3


@pytest.mark.parametrize("stop_at", [0.0, 1.5, -1.0])
def test_stop_at_takes_probabilities(run, stop_at):
    with pytest.raises(UsageError, match="--stop-at: expected a probability above 0 and up to 1, got"):
        Scorer.open(run, stop_at=stop_at)


def test_stop_at_is_refused_for_a_model_that_needs_the_end(filling_run):
    with pytest.raises(UsageError, match="--stop-at: this model reads in both directions"):
        Scorer.open(filling_run, stop_at=0.9)


def test_a_pickle_has_the_path_and_no_weights(scorer, sequences):
    content = pickle.dumps(scorer)
    table = table_of(sequences)
    assert len(content) < 1000
    assert pickle.loads(content)(table).equals(scorer(table))


def test_another_model_at_the_path_is_refused(run, filling_run, tmp_path):
    shutil.copytree(run / "model", tmp_path / "model")
    content = pickle.dumps(Scorer.open(tmp_path / "model"))
    shutil.rmtree(tmp_path / "model")
    shutil.copytree(filling_run / "model", tmp_path / "model")
    with pytest.raises(ModelError, match=r"model: expected the model with digest .*, found"):
        _ = pickle.loads(content).model


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            pa.table({"id": ["a"], "values": [[1.0]]}),
            "expected the columns id, length and steps .* found id, values",
        ),
        (
            pa.table({"id": ["a"], "length": [1], "steps": [1.0]}),
            "column steps: expected lists of numbers, found",
        ),
        (pa.table({"id": ["a"], "length": [1], "steps": [["x"]]}), "column steps: expected lists of numbers"),
        (pa.table({"id": ["a"], "length": ["x"], "steps": [[1.0]]}), "columns id and length: expected"),
    ],
)
def test_a_table_with_other_columns_is_refused(scorer, table, text):
    with pytest.raises(DataError, match=text):
        scorer(table)
