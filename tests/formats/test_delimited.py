"""CSV files of each separator, line end, header, compression and size give the same values."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, UsageError
from scanline.formats import delimited
from scanline.formats.csv_pieces import RowBoundaryError
from scanline.formats.delimited import open_delimited
from scanline.recipe import DEFAULT_DATA, change_data_settings
from tests.formats.csv_texts import WIDE


@pytest.fixture
def read_named(tmp_path):
    """Read a CSV file with a named separator; return its values and labels."""

    def read(text, separator):
        path = tmp_path / "a.csv"
        path.write_text(text)
        table = read_table_sequences(path, change_data_settings(DEFAULT_DATA, {"separator": separator}))
        return table.concatenated.reshape(len(table), -1).tolist(), [
            table.classes[at] for at in table.targets
        ]

    return read


def is_wide(source) -> bool:
    """Whether a source has the values and labels of WIDE."""
    same = source.concatenated.tolist() == [[1], [2], [3], [4]] and source.lengths.tolist() == [2, 2]
    return same and source.targets.tolist() == [0, 1] and source.classes == ("a", "b")


def test_values_are_32_bits_in_the_order_of_the_columns(read_csv):
    found = read_csv(WIDE)
    assert is_wide(found)
    assert found.concatenated.dtype == np.float32
    assert found.info.feature_names == ("x1", "x2")


@pytest.mark.parametrize(
    "content",
    [
        WIDE.replace("\n", "\r\n"),
        WIDE.replace("\n", "\r"),
        WIDE.rstrip("\n"),
        "\ufeff" + WIDE,
        "\n\r\n" + WIDE.replace("\n", "\n\n\r\n"),
        '"x1","x2","label"\n"1","2","a"\n"3","4","b"\n',
        " x1 , x2 , label \n 1 , 2 , a \n 3 , 4 , b \n",
        "x1,x2,label\n1e0,+2.,a\n0.3E1,4.0,b\n",
        '"x1","x2","la\nbel"\n1,2,a\n3,4,b\n',
    ],
)
def test_line_ends_empty_lines_quotes_spaces_and_a_bom_do_not_matter(read_csv, content):
    label = "la\nbel" if "la\n" in content else "label"
    found = read_csv(content, label_column=label)
    assert is_wide(found)
    assert found.info.feature_names == ("x1", "x2")


@pytest.mark.parametrize(
    ("name", "mark", "note"),
    [
        ("ours.csv", ";", "; cells separated by ';'; "),
        ("ours.csv", "\t", r"; cells separated by '\t'; "),
        ("ours.tsv", "\t", None),
        ("OURS.TSV", "\t", None),
    ],
)
def test_an_unusual_separator_is_detected_with_a_note(read_csv, name, mark, note):
    found = read_csv(WIDE.replace(",", mark), name)
    assert is_wide(found)
    assert (note or "row for each sequence; label column") in found.info.notes[0]


@pytest.mark.parametrize(
    ("mark", "named"),
    [
        (":", ":"),
        ("/", "/"),
        (";", ";"),
        ("\t", "tab"),
        ("\t", "\\t"),
        ("  ", "blanks"),
        (" ", " "),
        ("\t ", "blanks"),
    ],
)
def test_a_named_separator_is_used(read_named, mark, named):
    text = "x1,x2,label\n1,-2.5,a\n3,4,b\n".replace(",", mark)
    values, labels = read_named(text, named)
    assert values == [[1, -2.5], [3, 4]]
    assert labels == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "named", "message"),
    [
        (
            "x1,x2,label\n1,2,a\n3,4,b\n",
            ";",
            "expected cells separated by ';', found a first line with ',' only",
        ),
        ("x1;x2;label\n1;2;a\n3;4;b\n", "blanks", "separated by blanks, found a first line with ';' only"),
        ('x1 x2 label\n1 2 "a b"\n3 4 b\n', "blanks", "expected cells without quotes, .* found quotes"),
    ],
)
def test_a_file_with_another_separator_than_the_named_one_is_refused(read_named, text, named, message):
    with pytest.raises(DataError, match=message):
        read_named(text, named)


@pytest.mark.parametrize("name", ["x", "5", ".", "-", '"', "'", ",,", "comma"])
def test_characters_of_numbers_and_words_are_refused_as_separators(name):
    with pytest.raises(UsageError, match=r"data\.separator must be tab, blanks or one of"):
        change_data_settings(DEFAULT_DATA, {"separator": name})


@pytest.mark.parametrize("name", ["ours.csv", "ours.csv.gz", "OURS.CSV.GZ", "ours.tsv.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_recognised_by_its_bytes_and_not_by_its_name(read_csv, name, pack):
    content = WIDE.replace(",", "\t") if "tsv" in name else WIDE
    assert is_wide(read_csv(pack(content.encode()), name))


def test_a_gzip_file_of_two_members_is_one_stream(read_csv):
    content = WIDE.encode()
    assert is_wide(read_csv(gzip.compress(content[:9]) + gzip.compress(content[9:])))


# --- headers


def test_numbers_in_the_first_line_are_a_row_with_a_note(read_csv):
    found = read_csv("0.5,2,7\n3,4,8\n", label_column="2")
    assert found.concatenated.ravel().tolist() == [0.5, 2, 3, 4]
    assert found.classes == (7, 8)
    assert "no header line: columns are called 0 to 2" in found.info.notes[0]


def test_a_first_row_with_a_missing_value_is_not_a_header(read_csv):
    with pytest.raises(DataError, match="line 1, column 0: expected a finite number, found a missing value"):
        read_csv("nan,2,7\n3,4,8\n", label_column="2")


def test_the_columns_that_pandas_calls_0_to_n_are_a_header_and_reported(read_csv):
    found = read_csv("0,1,2\n0.5,2,7\n3,4,8\n", label_column="2")
    assert found.concatenated.ravel().tolist() == [0.5, 2, 3, 4]
    assert "the first line is the header, columns 0 to 2" in found.info.notes[0]


@pytest.mark.parametrize(
    ("name", "note"), [("", "a column without a name"), ("Unnamed: 0", "column Unnamed: 0")]
)
def test_the_index_of_pandas_is_skipped_with_a_note(read_csv, name, note):
    found = read_csv(f"{name},x1,x2,label\n0,1,2,a\n1,3,4,b\n")
    assert is_wide(found)
    assert f"; {note} left out" in found.info.notes[0]


# --- large files


def test_a_file_of_many_blocks_reads_as_pandas_reads_it(read_csv, tmp_path):
    generator = np.random.default_rng(5)
    rows = 200_000
    table = pd.DataFrame(
        {
            "id": np.arange(rows) // 90,
            "time": np.arange(rows),
            "a": generator.normal(size=rows),
            "b": generator.normal(size=rows) * 1e-30,
            "label": (np.arange(rows) // 90).astype(str).astype(object),  # new labels in every block
        }
    )
    path = tmp_path / "big.csv"
    table.to_csv(path, index=False)
    assert path.stat().st_size > 2 * 2**22
    part = read_table_sequences(path, DEFAULT_DATA)
    assert np.array_equal(part.concatenated, table[["a", "b"]].to_numpy().astype(np.float32))
    assert np.array_equal(part.lengths, table.groupby("id").size())
    assert part.classes == tuple(range(len(part)))
    assert np.array_equal(part.targets, np.arange(len(part)))
    assert part.ids.tolist() == [str(index) for index in range(len(part))]


CELLS = ["walk", '"run"', '"sit, still"', '"say ""hi"""', '"two\nlines"', '5" wide']


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.floats(-9, 9), st.sampled_from(CELLS)), min_size=1, max_size=80),
    piece=st.sampled_from([700, 1500, 2**20]),
    blank=st.booleans(),
)
def test_a_file_read_in_pieces_equals_the_whole_file(tmp_path, monkeypatch, rows, piece, blank):
    """Quoted line ends and stray quotes make it hard to see where a row ends."""
    monkeypatch.setattr(delimited, "_PIECE_BYTES", piece)
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 400)
    path = tmp_path / "cut.csv"
    lines = [f"{value!r},{cell}" for value, cell in rows]
    path.write_text("value,label\n" + ("\n\n" if blank else "\n").join(lines) + "\n")
    types = {"value": pa.float64(), "label": pa.string()}
    file = open_delimited(path)
    try:
        batches = list(file.batches(types))
    except RowBoundaryError:
        batches = list(file.batches(types, in_pieces=False))
    read = pa.Table.from_batches(batches).to_pydict()
    assert read["value"] == [value for value, _ in rows]
    words = {cell: cell.strip('"').replace('""', '"') if cell[0] == '"' else cell for cell in CELLS}
    words['"say ""hi"""'] = 'say "hi"'
    assert read["label"] == [words[cell] for _, cell in rows]
