"""Sequences in containers of torch, Arrow and Hugging Face, and arrays whose axes are in doubt."""

from __future__ import annotations

import types

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch.nn.utils.rnn import pack_sequence

from scanline.api import train
from scanline.data.readers.array_files import read_npz
from scanline.data.readers.arrays import from_arrays
from scanline.data.readers.list_columns import arrays_of, is_dataset
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.reading import TO_PREDICT
from scanline.errors import DataError, UsageError
from scanline.estimator import LSTMClassifier
from scanline.recipe import DEFAULT_DATA

SEQUENCES = [
    np.array([[1, 10], [2, 20]], np.float32),
    np.array([[3, 30], [4, 40], [5, 50]], np.float32),
    np.array([[6, 60]], np.float32),
]
LABELS = ["b", "a", "b"]


def fingerprint(values, labels=LABELS) -> str:
    return from_arrays(values, labels, settings=DEFAULT_DATA).fingerprint()


WANTED = fingerprint(SEQUENCES)


def test_a_packed_sequence_is_unpacked_in_the_order_of_its_sequences():
    tensors = [torch.from_numpy(each) for each in SEQUENCES]
    assert fingerprint(pack_sequence(tensors, enforce_sorted=False)) == WANTED
    order = [1, 0, 2]
    packed = pack_sequence([tensors[place] for place in order])
    assert fingerprint(packed, [LABELS[place] for place in order]) == fingerprint(
        [SEQUENCES[place] for place in order], [LABELS[place] for place in order]
    )


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_is_unpacked(layout):
    nested = torch.nested.nested_tensor([torch.from_numpy(each) for each in SEQUENCES], layout=layout)
    assert fingerprint(nested) == WANTED


def test_an_arrow_column_is_unpacked():
    column = pa.array([each.tolist() for each in SEQUENCES])
    assert fingerprint(column, pa.array(LABELS)) == WANTED
    assert fingerprint(pa.chunked_array([column[:1], column[1:]])) == WANTED


def test_a_data_frame_whose_rows_are_steps_is_refused():
    frame = types.SimpleNamespace(index=types.SimpleNamespace(nlevels=2))
    with pytest.raises(DataError, match="whose rows are steps"):
        from_arrays(frame, settings=DEFAULT_DATA)
    with pytest.raises(DataError, match="found a table with named columns"):
        from_arrays(pa.table({"x": [1]}), settings=DEFAULT_DATA)


def test_a_packed_sequence_given_to_the_estimator_is_unpacked():
    packed = pack_sequence([torch.from_numpy(each) for each in SEQUENCES], enforce_sorted=False)
    model = LSTMClassifier(epochs=2, hidden_size=2).fit(packed, LABELS)
    np.testing.assert_array_equal(model.predict_proba(packed), model.predict_proba(SEQUENCES))


@pytest.mark.parametrize(
    ("shape", "warned"),
    [((12, 1, 140), True), ((12, 3, 100), True), ((12, 28, 28), False), ((12, 5, 19), False)],
)
def test_many_more_values_than_steps_are_a_warning_that_names_the_transposition(shape, warned):
    notes = from_arrays(np.zeros(shape), [0, 1] * 6, settings=DEFAULT_DATA).info.notes
    assert bool(notes) == warned
    if warned:
        assert "transpose(0, 2, 1)" in notes[0]
        with pytest.warns(UserWarning, match=r"transpose\(0, 2, 1\)"):
            LSTMClassifier(epochs=1, hidden_size=2).fit(np.zeros(shape), [0, 1] * 6)


@pytest.mark.parametrize("name", ["seq_len", "length", "mask", "n_steps"])
def test_lengths_under_another_name_are_named_as_not_used(tmp_path, name):
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 5, 2)), y=[0, 1, 0, 1], **{name: [1, 2, 3, 4]})
    notes = read_npz(tmp_path / "a.npz", DEFAULT_DATA)["all"].info.notes
    assert notes[0].endswith(
        f"arrays that are not used: {name}; if one has the lengths of padded sequences, name it lengths "
        "(lengths_train, ...)"
    )


def test_lengths_without_the_name_of_their_split_are_named_as_not_used(tmp_path):
    arrays = {"X_train": np.zeros((4, 5, 2)), "y_train": [0, 1, 0, 1], "lengths": [1, 2, 3, 4]}
    np.savez(tmp_path / "a.npz", **arrays)
    assert "not used: lengths" in read_npz(tmp_path / "a.npz", DEFAULT_DATA)["train"].info.notes[0]


# --- list columns

COLUMNS = {
    "x": [each[:, 0].tolist() for each in SEQUENCES],
    "y": [each[:, 1].tolist() for each in SEQUENCES],
    "label": LABELS,
    "id": ["p", "q", "r"],
}


def read(tmp_path, columns, optional=(), **settings):
    parquet.write_table(pa.table(columns), tmp_path / "lists.parquet")
    return read_table_sequences(
        tmp_path / "lists.parquet", DEFAULT_DATA.model_copy(update=settings), optional
    )


def test_a_list_in_each_row_is_a_sequence(tmp_path):
    source = read(tmp_path, COLUMNS)
    assert source.fingerprint() == WANTED
    assert source.ids.tolist() == ["p", "q", "r"]
    assert source.info.feature_names == ("x", "y")
    assert source.info.locate(1) == "row 2"
    again = read(tmp_path, {"y": COLUMNS["y"], "x": COLUMNS["x"]}, TO_PREDICT, feature_columns=("x", "y"))
    np.testing.assert_array_equal(again.concatenated, source.concatenated)


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.float32())), pa.large_list(pa.list_(pa.int8(), 2))])
def test_lists_of_lists_are_steps_of_several_features(tmp_path, kind):
    column = pa.array([each.tolist() for each in SEQUENCES], pa.list_(pa.list_(pa.float32()))).cast(kind)
    assert read(tmp_path, {"v": column, "label": LABELS}).fingerprint() == WANTED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": [[1], [2, 3, 4], [5]]}, "row 1, column y: expected 2 values as in x, found 1"),
        ({"y": [[1, 2], None, [5]]}, "row 2, column y: expected a list, found none"),
        ({"x": [[1, 2], [3, 4, 5], []], "y": [[1, 2], [3, 4, 5], []]}, "row 3, column x: expected values"),
        ({"y": [["a", "b"], ["c", "d", "e"], ["f"]]}, "column y: expected a number, found 'a'"),
        ({"y": [[{"a": 1}]] * 3}, "column y: expected numbers, found struct"),
        ({"label": [["a"], ["b"], ["c"]]}, "column label: expected text, found list<element: string>"),
        (
            {"id": ["p", "q", "p"]},
            "row 3, column id: expected a row for each sequence, found 'p' as",
        ),
        ({"time": [[1, 2], [1, 3, 2], [1]]}, "row 2, column time: expected increasing times"),
        ({"x": [[[1], [2, 3]]] * 3}, "column x: expected inner lists of equal lengths, found 1, 2"),
    ],
)
def test_a_row_that_is_no_sequence_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, COLUMNS | changes)


def test_columns_of_lists_beside_numbers_are_a_question(tmp_path):
    with pytest.raises(UsageError, match=r"got age, which has one value for a row; .* --feature-columns x,y"):
        read(tmp_path, COLUMNS | {"age": [1, 2, 3]})
    assert read(tmp_path, COLUMNS | {"age": [1, 2, 3]}, feature_columns=("x", "y")).fingerprint() == WANTED


class HuggingFace:
    """A data set with the methods of `datasets.Dataset` that are used, some of its rows selected."""

    def __init__(self, table, rows, names=None):
        self._table, self._rows = table, rows
        self.column_names = table.column_names
        self.features = {"label": types.SimpleNamespace(names=names)} if names else {}

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def __getitem__(self, key):
        assert key == slice(None)
        return self._table.take(self._rows)


def test_a_hugging_face_data_set_is_read_with_its_selection_and_class_names():
    columns = COLUMNS | {"label": [1, 0, 1]}
    table = pa.table({name: column[::-1] for name, column in columns.items()})
    arrays = arrays_of(HuggingFace(table, [2, 1, 0], ["a", "b"]))
    assert fingerprint(arrays.values, arrays.labels) == WANTED
    assert is_dataset({"train": table})
    assert not is_dataset({"train": 1})
    assert not is_dataset({})


def test_the_splits_of_a_hugging_face_data_set_are_trained_on(tmp_path):
    columns = {name: column * 10 for name, column in COLUMNS.items() if name != "id"}
    table = pa.table(columns)
    settings = {"model.hidden_size": 2, "train.steps": 2, "train.samples": 0}
    run = train({"train": table, "test": table}, settings=settings, run=tmp_path / "run", log=None)
    assert run.model.predict(SEQUENCES).shape == (3,)
    with pytest.raises(UsageError, match="expected splits train, validation and test, got train, dev"):
        arrays_of({"train": table, "dev": table})


def test_the_real_package_is_read():
    datasets = pytest.importorskip("datasets")
    columns = {name: [column[place] for place in (2, 0, 1)] for name, column in COLUMNS.items()}
    arrays = arrays_of(datasets.Dataset.from_dict(columns).select([1, 2, 0]))
    assert fingerprint(arrays.values, arrays.labels) == WANTED


def test_splits_and_class_names_of_the_real_package_are_read():
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["a", "b"])
    number = datasets.Value("float32")
    lists = datasets.Features(
        {
            "x": datasets.List(number),
            "y": datasets.List(number),
            "label": label,
            "id": datasets.Value("string"),
        }
    )
    columns = COLUMNS | {"label": [1, 0, 1]}
    splits = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(columns, features=lists) for name in ("train", "test")}
    )
    arrays = arrays_of(splits)
    assert fingerprint(arrays.values, arrays.labels) == WANTED
    assert fingerprint(*arrays.test) == WANTED
    kept = splits["train"].filter(lambda row: row["label"] == 1).select([1, 0])
    chosen = arrays_of(kept)
    assert [each.tolist() for each in chosen.values] == [SEQUENCES[place].tolist() for place in (2, 0)]
    assert chosen.labels == ["b", "b"]
