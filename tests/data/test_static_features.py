"""Static columns have one value for a sequence: what is empty is filled, what differs is refused."""

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.data.source_info import SourceInfo
from scanline.data.static_features import one_step_each, with_static
from scanline.data.transforms.scaler import Scaler
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

NAN = float("nan")


@pytest.fixture
def read(tmp_path):
    def read(content: str, **said):
        path = tmp_path / "ours.csv"
        path.write_text(content)
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=said))

    return read


def _source(values, lengths, categories=()):
    steps = np.array(values, np.float32)
    info = SourceInfo(categories=categories, static=(1,))
    n = len(lengths)
    return MemorySource(steps, np.array(lengths), np.zeros(n, np.int64), (), info=info)


def test_static_columns_are_features_that_the_source_names(read):
    source = read("id,x,age,label\na,1,63,p\na,2,63,p\nb,3,40,q\n", static_columns=("age",))
    assert source.info.feature_names == ("x", "age")
    assert source.info.static == (1,)
    assert source.concatenated.tolist() == [[1, 63], [2, 63], [3, 40]]
    assert source.info.settings.static_columns == ("age",)
    assert source.info.settings.feature_columns == ("x", "age")


def test_static_columns_are_added_to_the_feature_columns(read):
    text = "id,x,y,age,label\na,1,9,63,p\na,2,9,63,p\nb,3,9,40,q\n"
    source = read(text, feature_columns=("x",), static_columns=("age",))
    assert source.info.feature_names == ("x", "age")


def test_the_reader_fills_empty_cells(read):
    source = read("id,x,age,label\na,1,,p\na,2,63,p\nb,3,40,q\n", static_columns=("age",))
    assert source.concatenated[:, 1].tolist() == [63, 63, 40]


def test_another_value_within_a_sequence_is_refused_with_its_id_and_line(read):
    with pytest.raises(DataError) as refused:
        read("id,x,age,label\nb,3,40,q\na,1,63,p\na,2,64,p\nb,3,40,q\n", static_columns=("age",))
    assert refused.value.where.endswith("ours.csv: line 4, column age")
    assert refused.value.expected == "one value of the static column for sequence a, 63 as before"
    assert refused.value.found == "64"


def test_another_category_within_a_sequence_is_refused_by_its_name(read):
    with pytest.raises(DataError, match=r"line 3, column kind: .*sequence a, 'new' as before.*'old'"):
        read("id,x,kind,label\na,1,new,p\na,2,old,p\nb,3,old,q\n", static_columns=("kind",))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("agee",), "unknown column 'agee'; expected one of id, x, age, label; did you mean 'age'"),
        (("age", "age"), "static column 'age' is named twice"),
        (("label",), "has another role"),
        (("x", "age"), "a feature that is not static"),
    ],
)
def test_static_columns_are_some_of_the_features(read, chosen, message):
    with pytest.raises(UsageError, match=message):
        read("id,x,age,label\na,1,63,p\na,2,63,p\n", static_columns=chosen, label_column="label")


def test_a_wide_table_has_no_static_columns(read):
    with pytest.raises(UsageError, match="static columns belong to a long table"):
        read("t0,t1,age,label\n1,2,63,p\n", static_columns=("age",), shape="wide")


def test_empty_cells_get_the_value_of_the_other_steps():
    source = _source([[1, NAN], [2, 5], [3, NAN], [4, NAN]], [3, 1])
    assert with_static(source, (1,)).concatenated[:, 1].tolist()[:3] == [5, 5, 5]
    assert np.isnan(with_static(source, (1,)).concatenated[3, 1])
    assert np.isnan(source.concatenated[0, 1])  # the given source is unchanged


def test_empty_cells_of_categories_get_the_category_of_the_other_steps():
    source = _source([[1, 0], [2, 1], [3, 0]], [2, 1], (None, ("", "old")))
    assert with_static(source, (1,)).concatenated[:, 1].tolist() == [1, 1, 0]


def test_a_source_without_empty_cells_is_returned_as_it_is():
    source = _source([[1, 5], [2, 5]], [2])
    assert with_static(source, (1,)) is source


def test_static_features_are_standardised_over_sequences_and_not_over_steps():
    source = _source([[0, 10], [0, 10], [6, 10], [6, 30]], [3, 1])
    assert one_step_each(source).concatenated.tolist() == [[0, 10], [6, 30]]
    scaler = Scaler.fit(source, "standard")
    assert scaler.shift.tolist() == [3, 20]
    assert scaler.scale.tolist() == [3, 10]
