"""`scanline predict` for packed data sets, and its predictions as a file."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

from tests.scoring.packed import pack


@pytest.fixture(scope="module")
def packed(sequences, tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed") / "activity", {"all": sequences}, rows=50)


@pytest.fixture
def expected(scanline, run, csv_file):
    """The predictions for the file, as JSON objects."""
    code, out, _ = scanline("predict", run, csv_file, "--json")
    assert code == 0
    return json.loads(out)["predictions"]


def test_a_packed_data_set_is_predicted_like_the_file(scanline, run, packed, expected):
    code, out, _ = scanline("predict", run, packed, "--json")
    assert code == 0
    assert json.loads(out)["predictions"] == [each | {"file": str(packed)} for each in expected]


def test_predictions_are_printed_as_those_of_a_file(scanline, run, packed, csv_file):
    _, of_packed, _ = scanline("predict", run, packed, "--calibrated")
    _, of_file, _ = scanline("predict", run, csv_file, "--calibrated")
    assert of_packed.replace(str(packed), "") == of_file.replace(str(csv_file), "")


def test_a_faulty_sequence_is_reported_and_the_others_are_predicted(scanline, run, sequences, tmp_path):
    values = sequences.concatenated.copy()
    values[sequences.starts[7]] = np.nan
    pack(tmp_path / "packed", {"all": replace(sequences, concatenated=values)}, 20)
    code, out, err = scanline("predict", run, tmp_path / "packed")
    assert code == 3
    assert out.count("\n") == 119
    assert err.startswith(f"scanline: {tmp_path}/packed: sequence s7: step 0, column x: expected a finite")
    assert err.count("\n") == 1


@pytest.mark.parametrize("source", ["packed", "csv_file"])
def test_predictions_are_written_to_parquet(scanline, run, expected, tmp_path, source, request):
    file = request.getfixturevalue(source)
    code, out, err = scanline("predict", run, file, "--to", tmp_path / "out.parquet")
    assert (code, out, err) == (0, f"120 predictions written to {tmp_path / 'out.parquet'}\n", "")
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows == [
        {
            "file": str(file),
            "id": each["sequence"],
            "prediction": each["label"],
            "probability": each["probability"],
            "probabilities": list(each["probabilities"].values()),
            "error": None,
        }
        for each in expected
    ]


def test_predictions_are_written_to_csv(scanline, run, csv_file, expected, tmp_path):
    code, out, _ = scanline("predict", run, csv_file, "--to", tmp_path / "out.csv", "--json")
    assert code == 0
    assert json.loads(out)["n"] == 120
    with open(tmp_path / "out.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["prediction"] for line in lines] == [each["label"] for each in expected]
    assert [float(line["probability_low"]) for line in lines] == [
        each["probabilities"]["low"] for each in expected
    ]


def test_pictures_have_the_file_and_no_identifier(scanline, trained, tmp_path):
    from PIL import Image

    stroke = np.full((40, 40), 255, np.uint8)
    stroke[5:35, 18:22] = 0
    Image.fromarray(stroke).save(tmp_path / "one.png")
    target = tmp_path / "out.parquet"
    code, _, err = scanline("predict", trained, tmp_path / "one.png", tmp_path / "none.png", "--to", target)
    assert code == 3
    one, two = parquet.read_table(target).to_pylist()
    assert (one["file"], one["id"], one["error"]) == (str(tmp_path / "one.png"), None, None)
    assert one["prediction"] in map(str, range(10))
    assert (two["prediction"], two["error"]) == (None, err.strip().removeprefix("scanline: "))


def test_a_file_that_cannot_be_the_result_is_refused(scanline, run, csv_file, packed, tmp_path):
    for target, text in (
        (tmp_path / "out.txt", "--to: expected a file that ends in .parquet or .csv, got"),
        (csv_file, f"--to would overwrite {csv_file}: name another file"),
        ("s3://bucket/out.csv", "--to: expected a file on this machine, got s3://bucket/out.csv"),
        (tmp_path / "none" / "out.csv", f"cannot write {tmp_path}/none/out.csv: No such file or directory"),
    ):
        code, out, err = scanline("predict", run, csv_file, "--to", target)
        assert (code in (1, 2), out, text in err, err.count("\n")) == (True, "", True, 1), err
    code, _, err = scanline("predict", run, packed, "--save-input", tmp_path)
    assert (code, "--save-input is for picture files, not for packed data sets" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_request_leaves_the_old_file(scanline, run, csv_file, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    code, _, _ = scanline("predict", run, csv_file, "--save-input", tmp_path, "--to", tmp_path / "out.csv")
    assert code == 2
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "mine")]


def test_a_model_of_other_sequences_is_refused(scanline, trained, packed):
    code, out, err = scanline("predict", trained, packed)
    assert (code, out) == (3, "")
    assert f"{packed}: expected 8 values a step, found 2; the model was trained on digits" in err
