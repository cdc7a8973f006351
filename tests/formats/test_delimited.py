"""CSV: separators, headers, line ends, and the line of an error."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.data.checks import check_values
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, ScanlineError, UsageError
from scanline.formats import delimited
from scanline.formats.csv_pieces import RowBoundaryError
from scanline.formats.delimited import open_delimited
from scanline.recipe import DEFAULT_DATA, change_data_settings

WIDE = "x1,x2,label\n1,2,a\n3,4,b\n"
LONG = "id,time,x,label\n"


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, name: str = "ours.csv", **said):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_table_sequences(path, DEFAULT_DATA.model_copy(update=said))
        check_values(found, missing=False)
        return found

    return read


@pytest.fixture
def read_named(tmp_path):
    def read(text, separator):
        path = tmp_path / "a.csv"
        path.write_text(text)
        table = read_table_sequences(path, change_data_settings(DEFAULT_DATA, {"separator": separator}))
        return table.concatenated.reshape(len(table), -1).tolist(), [
            table.classes[at] for at in table.targets
        ]

    return read


def is_wide(found) -> bool:
    """Whether it holds what WIDE says."""
    part = found
    same = part.concatenated.tolist() == [[1], [2], [3], [4]] and part.lengths.tolist() == [2, 2]
    return same and part.targets.tolist() == [0, 1] and part.classes == ("a", "b")


def test_values_are_32_bits_in_the_order_of_the_columns(read):
    found = read(WIDE)
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
def test_line_ends_empty_lines_quotes_spaces_and_a_bom_are_no_matter(read, content):
    label = "la\nbel" if "la\n" in content else "label"
    found = read(content, label_column=label)
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
def test_an_unusual_separator_is_detected_with_a_note(read, name, mark, note):
    found = read(WIDE.replace(",", mark), name)
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
def test_a_separator_that_is_named_is_used(read_named, mark, named):
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
def test_what_numbers_and_words_have_is_no_separator(name):
    with pytest.raises(UsageError, match=r"data\.separator must be tab, blanks or one of"):
        change_data_settings(DEFAULT_DATA, {"separator": name})


@pytest.mark.parametrize("name", ["ours.csv", "ours.csv.gz", "OURS.CSV.GZ", "ours.tsv.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_is_recognised_by_its_bytes_and_not_by_its_name(read, name, pack):
    content = WIDE.replace(",", "\t") if "tsv" in name else WIDE
    assert is_wide(read(pack(content.encode()), name))


def test_a_gzip_file_of_two_members_is_one_stream(read):
    content = WIDE.encode()
    assert is_wide(read(gzip.compress(content[:9]) + gzip.compress(content[9:])))


# --- headers


def test_numbers_in_the_first_line_are_a_row_with_a_note(read):
    found = read("0.5,2,7\n3,4,8\n", label_column="2")
    assert found.concatenated.ravel().tolist() == [0.5, 2, 3, 4]
    assert found.classes == (7, 8)
    assert "no header line: columns are called 0 to 2" in found.info.notes[0]


def test_a_missing_value_in_the_first_row_is_no_header(read):
    with pytest.raises(DataError, match="line 1, column 0: expected a finite number, found a missing value"):
        read("nan,2,7\n3,4,8\n", label_column="2")


def test_the_columns_that_pandas_calls_0_to_n_are_a_header_and_reported(read):
    found = read("0,1,2\n0.5,2,7\n3,4,8\n", label_column="2")
    assert found.concatenated.ravel().tolist() == [0.5, 2, 3, 4]
    assert "the first line is the header, columns 0 to 2" in found.info.notes[0]


@pytest.mark.parametrize(
    ("name", "note"), [("", "a column without a name"), ("Unnamed: 0", "column Unnamed: 0")]
)
def test_the_index_of_pandas_is_skipped_with_a_note(read, name, note):
    found = read(f"{name},x1,x2,label\n0,1,2,a\n1,3,4,b\n")
    assert is_wide(found)
    assert f"; {note} left out" in found.info.notes[0]


# --- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a table, found an empty file"),
        ("\n \r\n\n", "expected a table, found an empty file"),
        (gzip.compress(b"", mtime=0), "expected a table, found an empty file"),
        ("x1,x2,label", "expected rows after the header, found none"),
        ("x1,x2,label\n\n\r\n", "expected rows after the header, found none"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: expected CSV text in UTF-8, found other bytes"),
        (
            WIDE.encode("utf-16-le"),
            "line 1: expected CSV text in UTF-8, found other bytes; name",
        ),
        (("\n" + WIDE).encode("utf-16-be"), "line 1: expected CSV text in UTF-8, found other bytes"),
        (b"\nx1,gr\xf6\xdfe,label\n1,2,a\n", "line 2: expected CSV text in UTF-8, found other bytes"),
        (b"x1,x2,label\n1,2,a\n\n1,2,gr\xf6\xdfer\n", "line 4, column label: expected text in UTF-8, found"),
        ("x1,x2,label\n1,2,a\n3,4\n", "line 3: expected 3 cells, found 2"),
        ("x1,x2,label\n1,2,a\n\n\r\n3,4,5,b\n", "line 5: expected 3 cells, found 4"),
        ("x1,x2,label\n1,2,a\n   \n3,4,b\n", "line 3: expected 3 cells, found 1"),
        ("x1,x2,label\n1,2,a,\n", "line 2: expected 3 cells, found 4"),
        ("x1,x2,label\n1,2,a\n1,two,a\n", "line 3, column x2: expected a number, found 'two'"),
        ("\n\nx1,x2,label\n\n1,2,a\n\n\n3,1_0,b\n", "line 8, column x2: expected a number, found '1_0'"),
        (
            'x1,x2,label\n"1.5",2,a\n1,"2,5",a\n',
            "line 3, column x2: expected a number, found '2,5'; .* comma",
        ),
        (
            "x1;x2;label\n" + "1,5;2;a\n" * 30 + "1;2.5;a\n",
            "line 32, column x2: expected a number, found '2.5'; .* point",
        ),
        ("x1,x2,label\n1,?,a\n", r"line 2, column x2: expected a number, found '\?'"),
        ("x1,x2,label\n1,2,a\n1,True,a\n", "line 3, column x2: expected a number, found 'True'"),
        ('x1,x2,label\n1,"2\n3",a\n', r"line 2, column x2: expected a number, found '2\\n3'"),
        (
            "x1,x2,label\n1,2,a\n1,Row #7: 'x',a\n",
            r"line 3, column x2: expected a number, found .Row #7: 'x'.",
        ),
        (b"x1,x2,label\n1,2\0,a\n", r"line 2, column x2: expected a number, found '2\\x00'"),
        ("x1,x2,label\n1,,a\n", "line 2, column x2: expected a finite number, found a missing value"),
        (
            "x1,x2,label\n1,2,a\n\n1,NA,a\n",
            "line 4, column x2: expected a finite number, found a missing value",
        ),
        (
            "x1,x2,label\n1,-inf,a\n",
            "line 2, column x2: expected a finite number, found -inf, or a number that",
        ),
        ("x1,x2,label\n1,1e39,a\n", "found inf, or a number that does not fit into 32 bits"),
        ("x1,x2,label\n1,1e999,a\n", "found inf, or a number that does not fit into 32 bits"),
        ('x1,x2,label\n1,2,a\n1,2,"b\nc"\n', "line 3, column label: expected text of one line, found more"),
        ('x1,x2,label\n1,2,"a\n3,4,b\n', "line 2, column label: expected text of one line, found more"),
        ('x1,x2,label\n1,"2,a\n3,4,b\n', "line 2: expected 3 cells, found 2"),
        ("x1,x1,label\n1,2,a\n", "expected columns of different names, found 'x1' twice"),
        ("x1,x2,label\n1,2," + "a" * 200_000 + "\n", r"line 1: cannot be read as CSV \(field larger than"),
        (
            WIDE + "1,2," + "a" * 9_000_000 + "\n",
            "a row has more than 4,194,304 bytes; is there a quote that",
        ),
        (
            WIDE + '1,2,"' + "1,2,a\n" * 1_600_000,
            "a row has more than 4,194,304 bytes; is there a quote that",
        ),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 20, "the gzip stream is damaged"),
        (gzip.compress(WIDE.encode(), mtime=0)[:20], "the gzip stream is damaged"),
        (
            gzip.compress(WIDE.encode(), mtime=0)[:-4],
            "the gzip stream is damaged|Truncated compressed stream",
        ),
    ],
)
def test_a_fault_is_one_line_with_the_place_what_was_expected_and_what_was_found(read, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(content)
    text = str(caught.value)
    assert "ours.csv: " in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_large_gzip_file_that_is_cut_or_damaged_is_a_data_error(read):
    rows = b"".join(b"%d,%d,a\n" % (i, i * 7919 % 100_003) for i in range(100_000))
    whole = gzip.compress(b"x1,x2,label\n" + rows)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[:-9], whole[:-4], whole[: len(whole) // 2], bytes(damaged)):
        with pytest.raises(DataError, match=r"ours\.csv: (cannot be read \(|the gzip stream is damaged)"):
            read(content)


def test_a_folder_a_missing_file_and_one_that_cannot_be_read_are_data_errors(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    for name, reason in (
        ("folder", "Is a directory"),
        ("none", "No such file"),
        ("loop", ".*symbolic links"),
    ):
        with pytest.raises(DataError, match=rf"{name}\.csv: cannot be read \({reason}"):
            read_table_sequences(tmp_path / f"{name}.csv", DEFAULT_DATA)


# --- lines


def test_a_quoted_line_end_in_a_column_that_is_not_read_does_not_shift_the_lines(read):
    content = 'x1,note,label\n1,"one\n\ntwo",a\n\n2,"a ""b"", 5"" c",b\nx,,c\n'
    with pytest.raises(DataError, match="line 7, column x1: expected a number, found 'x'"):
        read(content, feature_columns=("x1",))


def test_every_row_is_in_the_line_that_the_standard_library_finds(tmp_path):
    content = '\n x1,label\n1,a\n\n"2\n3",b\r\n   \n4,"c""\n"\n\n\n5,d'
    path = tmp_path / "ours.csv"
    path.write_bytes(content.encode())
    file = open_delimited(path)
    assert (file.names, file.separator, file.skip, file.first) == (("x1", "label"), ",", 2, ("1", "a"))
    assert [file.line(row) for row in range(5)] == [3, 5, 7, 8, 12]


def test_a_fault_far_down_in_a_file_of_many_blocks_has_its_line(read):
    rows = "".join(f"s{i // 100},{i},{i}.5,c{i // 100 % 7}\n" for i in range(400_000))  # two blocks and more
    assert len(rows) > 2 * 2**22
    with pytest.raises(DataError, match="line 400002, column x: expected a number, found 'oops'"):
        read(LONG + rows + "s4000,0,oops,c0\n")
    with pytest.raises(DataError, match="line 400003: expected 4 cells, found 3"):
        read(LONG + "\n" + rows + "s4000,0,1\n")
    with pytest.raises(DataError, match=r"line 400002, .* as in line 399902, found 'walk'"):
        read(LONG + rows + "s3999,400000,1,walk\n")


def test_a_file_of_many_blocks_reads_as_pandas_reads_it(read, tmp_path):
    generator = np.random.default_rng(5)
    rows = 200_000
    table = pd.DataFrame(
        {
            "id": np.arange(rows) // 90,
            "time": np.arange(rows),
            "a": generator.normal(size=rows),
            "b": generator.normal(size=rows) * 1e-30,
            "label": (np.arange(rows) // 90).astype(str).astype(object),  # new names in every block
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


# --- times


@pytest.mark.parametrize(
    "times",
    [
        ("1", "2", "10"),
        ("-1", "0.5", "1e1"),
        ("9007199254740991", "9007199254740992", "9007199254740994"),
        ("2026-01-31", "2026-02-01", "2026-02-01 00:00:00.5"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000000001", "2026-02-01"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00-01:00"),
        ("09:00", "09:00:00.5", "10:00:00"),
    ],
)
def test_times_are_numbers_dates_or_times_of_day(read, times):
    first, second, third = times
    found = read(LONG + f"s,{second},2,a\ns,{first},1,a\ns,{third},3,a\n")
    assert found.concatenated.ravel().tolist() == [1, 2, 3]
    assert found.info.notes[1].endswith("1 of 1 sequences were not sorted by time: sorted")


def test_fractions_may_begin_behind_the_first_block(read):
    rows = "".join(f"s0,{i},{i}.5,walk\n" for i in range(300_000))
    assert len(rows) > 2**22
    found = read(LONG + rows + "s0,299999.75,2,walk\ns0,299999.5,1,walk\n")
    assert found.concatenated[-2:].ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            "noon",
            "1",
            "line 2, column time: expected a number, a time of day or a date as 2026-01-31 .* 'noon'",
        ),
        ("31.01.2026", "1", "line 2, column time: expected a number, .* found '31.01.2026'"),
        ("1", "noon", "line 3, column time: expected a number, found 'noon'"),
        ("1", "2026-01-31", "line 3, column time: expected a number, found '2026-01-31'"),
        ("2026-01-31", "7", "line 3, column time: expected a date, found '7'"),
        (
            "2026-01-31",
            "2026-01-31T01:00Z",
            "line 3, column time: expected a date, found '2026-01-31T01:00Z'",
        ),
        (
            "2026-01-31T01:00Z",
            "2026-02-01",
            "line 3, column time: expected a date with its time zone, found '20",
        ),
        ("09:00", "25:00", "line 3, column time: expected a time of day, found '25:00'"),
        ("", "1", "line 2, column time: expected a value, found none"),
        ("1", "", "line 3, column time: expected a value, found none"),
        ("1", "NaN", "line 3, column time: expected a value, found none"),
        ("2026-01-31", "", "line 3, column time: expected a value, found none"),
        ("inf", "1", "line 2, column time: expected a value, found inf"),
    ],
)
def test_an_invalid_time_or_one_of_another_kind_is_refused(read, first, second, message):
    with pytest.raises(DataError, match=message):
        read(LONG + f"s,{first},1,a\ns,{second},2,a\n")


# --- anything


SPLINTERS = [
    b",",
    b"\n",
    b'"',
    b"\r",
    b"\0",
    b"\xff",
    b"x",
    b"1e",
    b"nan",
    b";",
    b"\xef\xbb\xbf",
    b"#",
    b"2026-01-31",
    b" ",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    data=st.data(),
    original=st.sampled_from([WIDE.encode(), (LONG + "s,1,2,a\ns,2,3,a\nr,1,2,b\n").encode()]),
    pack=st.sampled_from([bytes, lambda content: gzip.compress(content, mtime=0)]),
)
def test_any_mutation_of_a_good_file_is_read_or_refused(read, data, original, pack):
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3), label="mutations")):
        at = data.draw(st.integers(0, len(content)), label="at")
        end = at + data.draw(st.integers(0, 2), label="dropped")
        content[at:end] = data.draw(st.sampled_from(SPLINTERS) | st.binary(max_size=2), label="put there")
    content = bytearray(pack(bytes(content)))
    if content and data.draw(st.booleans(), label="damaged"):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
    message = ""
    try:
        read(bytes(content))
    except ScanlineError as error:
        message = str(error)
    assert len(message.splitlines()) < 2


CELLS = ["walk", '"run"', '"sit, still"', '"say ""hi"""', '"two\nlines"', '5" wide']


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.floats(-9, 9), st.sampled_from(CELLS)), min_size=1, max_size=80),
    piece=st.sampled_from([700, 1500, 2**20]),
    blank=st.booleans(),
)
def test_a_file_cut_into_pieces_reads_as_a_whole(tmp_path, monkeypatch, rows, piece, blank):
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


@pytest.mark.parametrize("head", ['a,b,"\n', 'a,b,label\n1,2,"\n'])
def test_a_row_that_a_quote_carries_on_is_counted_as_a_whole(read, head):
    with pytest.raises(DataError, match="65,536 values a step"):
        read(head + '"' + "," * 140_000 + "\n1,2,3\n")
