"""Missing values at the end of a sequence are its end or missing values, as the user says."""

from __future__ import annotations

import numpy as np
import pytest

import scanline
from scanline.api import train
from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.padding import check_padding, without_padding
from scanline.data.readers.arrays import Arrays
from scanline.data.reading import read_sources
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, UsageError
from scanline.evaluation.predict_files import predict_files
from scanline.recipe import DEFAULT_DATA, parse_setting

NAN = float("nan")
SHORT = {
    "train.samples": 0,
    "train.steps": 20,
    "model.hidden_size": 4,
    "train.epochs": 0,
    "split.validation": 0,
}


def source(rows, features: int = 1) -> MemorySource:
    values = np.array(rows, np.float32)
    steps = values.reshape(-1, features)
    n = len(values)
    lengths = np.full(n, len(steps) // n)
    return MemorySource(steps, lengths, np.zeros(n, np.int64), ("a",), "s.csv", info=SourceInfo(DEFAULT_DATA))


@pytest.mark.parametrize(
    ("rows", "pad_value", "lengths", "left"),
    [
        ([[1, 2, NAN], [3, NAN, NAN], [4, 5, 6]], "nan", [2, 1, 3], [1, 2, 3, 4, 5, 6]),
        ([[1, NAN, 2], [NAN, 3, NAN]], "nan", [3, 2], [1, NAN, 2, NAN, 3]),
        ([[1, 0, 2, 0], [0, 5, 0, 0]], "0", [3, 2], [1, 0, 2, 0, 5]),
        ([[1, -999], [-999, 2]], "-999", [1, 2], [1, -999, 2]),
        ([[1, NAN]], "none", [2], [1, NAN]),
        ([[1, NAN]], "", [2], [1, NAN]),
    ],
)
def test_only_padding_at_the_end_is_cut(rows, pad_value, lengths, left):
    cut = without_padding(source(rows), pad_value)
    assert cut.lengths.tolist() == lengths
    np.testing.assert_array_equal(cut.concatenated.ravel(), np.array(left, np.float32))


def test_a_step_is_padding_if_all_of_its_features_are():
    cut = without_padding(source([[[1, 2], [NAN, 3], [NAN, NAN]]], 2), "nan")
    np.testing.assert_array_equal(cut.concatenated, [[1, 2], [NAN, 3]])


@pytest.mark.parametrize("rows", [[[NAN, NAN], [1, 2]], [[1, 2], [NAN, NAN]], [[NAN, NAN]]])
def test_a_sequence_of_nothing_but_padding_is_refused(rows):
    index = next(index for index, row in enumerate(rows) if np.isnan(row).all())
    with pytest.raises(DataError, match=f"sequence {index}: expected values before the padding"):
        without_padding(source(rows), "nan")


def test_missing_ends_are_asked_about_unless_values_are_missing_elsewhere_too():
    with pytest.raises(UsageError, match=r"the last 2 of 3 steps are missing \(1 of 2.*--pad-value nan"):
        check_padding(Dataset("d", {"all": source([[1, NAN, NAN], [1, 2, 3]])}))
    check_padding(Dataset("d", {"all": source([[1, NAN, NAN], [NAN, 2, 3]])}))
    check_padding(Dataset("d", {"all": source([[NAN, NAN, NAN], [1, 2, 3]])}))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npz"])
def test_padded_files_are_asked_about_and_read_as_lengths(suffix, tmp_path):
    path = tmp_path / f"padded{suffix}"
    rows = np.array([[1, 2, NAN, NAN], [3, 4, 5, 6]] * 6)
    if suffix == ".npz":
        np.savez(path, X=rows, y=np.arange(12) % 2)
    else:
        mark = "," if suffix == ".csv" else "\t"
        lines = [mark.join(["t0", "t1", "t2", "t3", "label"])]
        lines += [
            mark.join(["" if v != v else f"{v:g}" for v in row] + ["ab"[int(row[0] > 2)]]) for row in rows
        ]
        path.write_text("\n".join(lines) + "\n")
    kept = read_sources(path, DEFAULT_DATA)["all"]
    assert kept.lengths.tolist() == [4] * 12
    assert "6 of 12 sequences end in missing values: --pad-value nan" in kept.info.notes[-1]
    with pytest.raises(UsageError, match=r"data.pad_value\"\]='nan' if it ends"):
        train(path, settings=SHORT | {"input.missing": "forward-fill"}, run=tmp_path / "no", log=None)
    run = train(path, settings=SHORT | {"data.pad_value": "nan"}, run=tmp_path / "run", log=None)
    # Prediction reads alike, from files and from arrays.
    model = scanline.load(run.path)
    own = model.predict_proba([[1, 2], [3, 4, 5, 6]])
    np.testing.assert_array_equal(model.predict_proba(rows[:2]), own)
    named = [each.prediction.probabilities for each in predict_files(run.path, [str(path)])][:2]
    np.testing.assert_array_equal([list(each.values()) for each in named], own)


def test_padded_arrays_of_a_program_are_read_as_lengths(tmp_path):
    rows = np.array([[1, 2, NAN, NAN], [3, 4, 5, 6]] * 6)[..., None]
    with pytest.raises(UsageError, match=r"data.pad_value\"\]='nan' if it ends"):
        train(Arrays(rows, np.arange(12) % 2), settings=SHORT, run=tmp_path / "no", log=None)
    settings = SHORT | {"data.pad_value": "nan"}
    run = train(Arrays(rows, np.arange(12) % 2), settings=settings, run=tmp_path / "run", log=None)
    own = run.model.predict_proba([[1, 2], [3, 4, 5, 6]])
    np.testing.assert_array_equal(run.model.predict_proba(rows[:2]), own)


def test_a_number_may_be_given_as_one():
    assert parse_setting("data.pad_value=0")[1] == 0
    assert type(DEFAULT_DATA).model_validate(DEFAULT_DATA.model_dump() | {"pad_value": 0}).pad_value == "0"
    with pytest.raises(ValueError, match="must be nan, none or a number"):
        type(DEFAULT_DATA).model_validate(DEFAULT_DATA.model_dump() | {"pad_value": "end"})
