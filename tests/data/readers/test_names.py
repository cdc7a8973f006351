"""Names in files: ids, groups, labels and columns that differ only in blanks or in invisible characters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from scanline.data.class_names import with_classes
from scanline.data.readers.arrays import from_arrays
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.formats.text import appearance, look_alike
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

BLANKS = [" ", "\t", "\xa0", "\u2003", "\u3000"]
INVISIBLE = ["\u200b", "\ufeff", "\u2060", "\xad"]
TWO_FORMS = ("gr\u00fcn", "gru\u0308n")  # composed, and decomposed as in file names of macOS


@pytest.fixture(params=["csv", "parquet"])
def read(request, tmp_path):
    """Write columns as a file and read it: read(columns, **settings)."""

    def read(columns, **settings):
        path = tmp_path / f"a.{request.param}"
        if request.param == "csv":
            rows = [columns, *zip(*columns.values(), strict=True)]
            path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), "utf-8")
        else:
            parquet.write_table(pa.table(columns), path)
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=settings))

    return read


def steps(**columns):
    """Two sequences of two and three steps."""
    table = {
        "recording": ["r0", "r0", "r1", "r1", "r1"],
        "time": [0, 1, 0, 1, 2],
        "x": [0.0, 1.0, 2.0, 3.0, 4.0],
    }
    return table | {"who": ["p", "p", "q", "q", "q"], "label": ["a", "a", "b", "b", "b"]} | columns


ROLES = {"id_column": "recording", "group_column": "who"}


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_around_ids_groups_and_labels_make_no_difference(read, blank):
    whole = read(
        steps(
            recording=["r0", "r0", f"r1{blank}", f"{blank}r1", "r1"],
            who=["p", "p", "q", f"q{blank}", f"{blank}q"],
            label=["a", "a", f"b{blank}", "b", f"{blank}b"],
        ),
        **ROLES,
    )
    assert whole.lengths.tolist() == [2, 3]
    assert (whole.ids.tolist(), whole.groups.tolist()) == (["r0", "r1"], ["p", "q"])
    assert (whole.classes, whole.targets.tolist()) == (("a", "b"), [0, 1])


@pytest.mark.parametrize("mark", INVISIBLE)
@pytest.mark.parametrize("column", ["recording", "who", "label"])
def test_names_that_differ_in_invisible_characters_are_refused(read, column, mark):
    columns = steps()
    columns[column] = [*columns[column][:4], columns[column][4] + mark]
    with pytest.raises(DataError) as caught:
        read(columns, **ROLES)
    message = str(caught.value)
    assert f"column {column}: expected names that do not look the same, found" in message
    assert f"{columns[column][3]!a} and {columns[column][4]!a}" in message


def test_names_in_two_forms_of_unicode_are_refused(read):
    labels = [*[TWO_FORMS[0]] * 2, *[TWO_FORMS[1]] * 3]
    with pytest.raises(DataError, match=r"found 'gr\\xfcn' and 'gru\\u0308n'"):
        read(steps(label=labels), **ROLES)
    with pytest.raises(DataError, match=r"labels: .* found 'gru\\u0308n' and 'gr\\xfcn'"):
        from_arrays(np.zeros((5, 2, 1)), labels, settings=DEFAULT_DATA)


def test_joiners_are_part_of_words_and_blanks_within_names_count():
    assert look_alike(["\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e", "a b", "a  b", "ab"]) is None
    assert look_alike(["x", "a\xa0b", "a b"]) == ("a\xa0b", "a b")
    assert appearance("  plain ") == "plain"


def test_a_sequence_with_two_labels_is_refused_with_both_in_quotes(read):
    labels = ["a", "a", "walk  on", "walk on", "walk on"]
    with pytest.raises(
        DataError, match=r"label: expected one label .*, 'walk  on' as in .*, found 'walk on'"
    ):
        read(steps(label=labels), **ROLES)


@pytest.mark.parametrize("blank", BLANKS)
def test_ids_of_list_columns_are_trimmed_before_they_are_compared(tmp_path, blank):
    table = pa.table({"id": ["r1", f"r1{blank}"], "v": [[1.0, 2.0], [3.0]], "label": ["a", "b"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match="row 2, column id: expected a row for each sequence, found 'r1' as in row 1"
    ):
        read_table_sequences(tmp_path / "a.parquet", DEFAULT_DATA)


@pytest.mark.parametrize("mark", INVISIBLE)
def test_ids_of_list_columns_that_look_alike_are_refused(tmp_path, mark):
    table = pa.table({"id": ["r1", f"r1{mark}"], "v": [[1.0, 2.0], [3.0]], "label": ["a", "b"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match="column id: expected names that do not look the same, found 'r1' and"
    ):
        read_table_sequences(tmp_path / "a.parquet", DEFAULT_DATA)


@pytest.mark.parametrize(
    ("known", "given", "shown"),
    [
        ("walk", "walk\u200b", ("'walk'", r"'walk\\u200b'")),
        ("walk on", "walk  on", ("'walk on'", "'walk  on'")),
        (*TWO_FORMS, (r"'gr\\xfcn'", r"'gru\\u0308n'")),
        ("walk", "stand", ("walk", "stand")),
    ],
)
def test_a_class_that_is_not_known_is_shown_so_that_it_differs(known, given, shown):
    source = from_arrays(np.zeros((2, 2, 1)), [given, "run"], settings=DEFAULT_DATA)
    with pytest.raises(DataError, match=rf"one of .*{shown[0]}.*found {shown[1]}"):
        with_classes(source, (known, "run"), "the model")
    with pytest.raises(DataError, match=rf"one of .*{shown[0]}.*got {shown[1]}"):
        Classification((known, "run")).encode(source)


def test_columns_that_are_not_those_of_training_are_shown_so_that_they_differ(read):
    wide = {"label": ["a", "b"], "t0": [1, 2], "t1\u200b": [3, 4]}
    message = (
        r"expected the columns 't0', 't1', .* found 't1' missing and 't1\\u200b' not in the training data"
    )
    with pytest.raises(DataError, match=message):
        read(wide, step_columns=("t0", "t1"))
    with pytest.raises(UsageError, match=r"unknown column 't1'; expected one of 'label', 't0', 't1\\u200b'"):
        read(wide, feature_columns=("t0", "t1"))


# --- a header of numbers


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_first_line_that_counts_the_columns_is_a_header(tmp_path, first, separator):
    rows = [[index % 2, *(index / 2 + step / 4 for step in range(8))] for index in range(6)]
    lines = [range(first, first + 9), *rows]
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    wide = read_table_sequences(path, DEFAULT_DATA.model_copy(update={"label_column": str(first)}))
    assert wide.lengths.tolist() == [8] * 6
    assert (wide.classes, wide.targets.tolist()) == ((0, 1), [0, 1] * 3)
    assert wide.concatenated[:8, 0].tolist() == rows[0][1:]


def test_columns_that_a_header_of_1_to_n_has_not_are_unknown(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,2,3\n0,0.5,0.25\n1,0.5,0.75\n")
    with pytest.raises(UsageError, match="unknown column '0'; expected one of 1, 2, 3"):
        read_table_sequences(path, DEFAULT_DATA.model_copy(update={"label_column": "0"}))


@pytest.mark.parametrize("header", ["2,3,4", "1,2,4", "3,2,1", "1,2,2"])
def test_other_integers_in_the_first_line_are_a_row(tmp_path, header):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n0,0.5,0.25\n1,0.5,0.75\n")
    wide = read_table_sequences(path, DEFAULT_DATA.model_copy(update={"label_column": "0"}))
    assert len(wide) == 3
