"""Labels that are several classes at once, or several numbers."""

from __future__ import annotations

import numpy as np
import pytest

import scanline
from scanline.data.dataset import describe_targets
from scanline.data.label_sets import row_numbers, set_names
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA

SETS = DEFAULT_DATA.model_copy(update={"targets": "label-sets"})
VALUES = np.zeros((3, 2, 1), np.float32)


def sets_of(source):
    """Return the classes of each sequence."""
    return [set_names(source.classes[target]) for target in source.targets]


def read(path, text, settings):
    path.write_text(text)
    (source,) = read_sources(path, settings).values()
    return source


WIDE = "label,t0,t1\n{},1,2\n{},3,4\n{},5,6\n"


@pytest.mark.parametrize(
    ("labels", "separator", "expected"),
    [
        (("b;a", "", "a"), "", [("a", "b"), (), ("a",)]),
        (("b|a", "c", " a | a "), "", [("a", "b"), ("c",), ("a",)]),
        (("b+a", "x;y", "c"), "+;", [("a", "b"), ("x", "y"), ("c",)]),
        (("7.0;3", "3", ""), "", [("3", "7"), ("3",), ()]),
    ],
)
def test_names_in_a_column(tmp_path, labels, separator, expected):
    settings = SETS.model_copy(update={"label_separator": separator})
    source = read(tmp_path / "sets.csv", WIDE.format(*labels), settings)
    assert sets_of(source) == expected


def test_columns_of_0_and_1(tmp_path):
    settings = SETS.model_copy(update={"label_columns": ("b", "a")})
    text = "a,b,id,t0,t1\n1,0,p,1,2\n1,1,q,3,4\n0,0,r,5,6\n"
    source = read(tmp_path / "sets.csv", text, settings)
    assert sets_of(source) == [("a",), ("a", "b"), ()]
    assert source.max_length == 2
    assert describe_targets(source) == {"classes": {"a": 2, "b": 1}}
    assert source.info.settings.label_columns == ("b", "a")
    with pytest.raises(DataError, match=r"line 3.*column b: expected 0 or 1, found 2"):
        read(tmp_path / "sets.csv", text.replace("1,1,q", "1,2,q"), settings)
    with pytest.raises(UsageError, match="unknown column 'b'"):
        read(tmp_path / "sets.csv", text.replace("a,b,id", "a,c,id"), settings)
    # Sequences to predict need no labels.
    (tmp_path / "plain.csv").write_text("id,t0,t1\np,1,2\nq,3,4\n")
    (plain,) = read_sources(tmp_path / "plain.csv", source.info.settings, ("label",)).values()
    assert not plain.has_targets


def test_columns_of_a_long_table(tmp_path):
    settings = DEFAULT_DATA.model_copy(update={"targets": "numbers", "label_columns": ("u", "v")})
    text = "id,time,x,u,v\np,0,1,2.5,-1\np,1,2,2.5,-1\nq,0,3,0.25,1e3\n"
    source = read(tmp_path / "rows.csv", text, settings)
    assert [row_numbers(source.classes[target]) for target in source.targets] == [[2.5, -1.0], [0.25, 1000.0]]
    assert source.features == 1
    with pytest.raises(DataError, match=r"line 4.*column v: expected a label that is a finite.*found high"):
        read(tmp_path / "rows.csv", text.replace("1e3", "high"), settings)
    with pytest.raises(DataError, match="expected one label for a sequence"):
        read(tmp_path / "rows.csv", text.replace("2,2.5,-1", "2,2.5,0"), settings)
    with pytest.raises(DataError, match="several label columns need --task multilabel or regression"):
        read(tmp_path / "rows.csv", text, settings.model_copy(update={"targets": "classes"}))


def test_labels_of_a_program():
    expected = [("0",), ("0", "1"), ()]
    indicator = np.array([[1, 0], [1, 1], [0, 0]])
    for labels in (indicator, indicator.astype(bool), indicator.astype(float)):
        assert sets_of(scanline.Arrays(VALUES, labels).read(SETS)["all"]) == expected
    for labels in (["0", "1;0", ""], [["0"], {"1", "0"}, ()], [[0], [0, 1], []]):
        assert sets_of(scanline.Arrays(VALUES, labels).read(SETS)["all"]) == expected
    numbers = DEFAULT_DATA.model_copy(update={"targets": "numbers"})
    source = scanline.Arrays(VALUES, np.array([[1.5, 2], [0, 3], [1.5, 2]])).read(numbers)["all"]
    assert source.targets.tolist() == [1, 0, 1]
    assert source.info.settings.label_columns == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1], [1, 1], [0, 0]], "found lists of 0 and 1: make them an array"),
        (np.array([[0, 1], [1, 2], [0, 0]]), "sequence 1: column 1: expected 0 or 1, found 2"),
        ([["a;b"], ["a"], ["b"]], "expected names of classes without ; and |"),
        ([["a", None], ["a"], ["b"]], "expected names of classes without"),
        (["a", 3, "b"], "sequence 1: expected the names of its classes, found 3"),
        (["a", "b"], "expected 3 labels, one for each sequence, found 2"),
        (np.zeros(3, int), "expected the names of its classes"),
    ],
)
def test_labels_that_cannot_be_used_are_named(labels, message):
    with pytest.raises(DataError) as error:
        scanline.Arrays(VALUES, labels).read(SETS)
    assert message in str(error.value)


def test_texts_have_several_classes(tmp_path):
    texts = ["one fine day", "rain", "snow and ice"]
    for labels in ([["good"], [], ["cold", "bad"]], ["good", "", "bad;cold"]):
        source = scanline.Arrays(texts, labels).read(SETS)["all"]
        assert sets_of(source) == [("good",), (), ("bad", "cold")]
        assert source.info.settings.tokens
    source = read(tmp_path / "texts.csv", "text,label\na fine day,good\nwind and rain,bad;cold\n", SETS)
    assert sets_of(source) == [("good",), ("bad", "cold")]
    columns = SETS.model_copy(update={"label_columns": ("bad", "good"), "text_column": "text"})
    with pytest.raises(UsageError, match="label_columns"):
        read(tmp_path / "texts.csv", "text,bad,good\na fine day,0,1\nwind and rain,1,0\n", columns)


def test_files_of_arrays_and_of_lists(tmp_path):
    np.savez(tmp_path / "sets.npz", X=VALUES, y=np.array([[1, 0], [1, 1], [0, 0]]))
    (source,) = read_sources(tmp_path / "sets.npz", SETS).values()
    assert sets_of(source) == [("0",), ("0", "1"), ()]
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"x": [[1.0, 2.0], [3.0]], "label": [["b", "a"], []]})
    parquet.write_table(table, tmp_path / "sets.parquet")
    (source,) = read_sources(tmp_path / "sets.parquet", SETS).values()
    assert sets_of(source) == [("a", "b"), ()]


def test_settings_of_labels_must_not_contradict_each_other():
    from scanline import recipe

    with pytest.raises(UsageError, match=r"data\.label_column must be empty if data\.label_columns"):
        recipe.load("sequences", {"data.label_column": "a", "data.label_columns": ["b"]})
    with pytest.raises(UsageError, match=r"data\.label_columns must be different, got a, a"):
        recipe.load("sequences", {"data.label_columns": ["a", "a"]})
