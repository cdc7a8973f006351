"""CSV: every fault is reported in one line with the file, the line and the column."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError, ScanlineError
from scanline.formats.delimited import open_delimited
from scanline.recipe import DEFAULT_DATA
from tests.formats.csv_texts import LONG, WIDE

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
def test_a_fault_is_reported_in_one_line_with_its_place_and_both_values(read_csv, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_csv(content)
    text = str(caught.value)
    assert "ours.csv: " in text
    assert "\n" not in text
    assert len(text) < 400


def test_a_large_gzip_file_that_is_cut_or_damaged_is_a_data_error(read_csv):
    rows = b"".join(b"%d,%d,a\n" % (i, i * 7919 % 100_003) for i in range(100_000))
    whole = gzip.compress(b"x1,x2,label\n" + rows)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (whole[:-9], whole[:-4], whole[: len(whole) // 2], bytes(damaged)):
        with pytest.raises(DataError, match=r"ours\.csv: (cannot be read \(|the gzip stream is damaged)"):
            read_csv(content)


def test_a_folder_a_missing_file_and_an_unreadable_one_are_data_errors(tmp_path):
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


def test_a_quoted_line_end_in_an_ignored_column_does_not_shift_the_lines(read_csv):
    content = 'x1,note,label\n1,"one\n\ntwo",a\n\n2,"a ""b"", 5"" c",b\nx,,c\n'
    with pytest.raises(DataError, match="line 7, column x1: expected a number, found 'x'"):
        read_csv(content, feature_columns=("x1",))


def test_every_row_has_the_line_of_the_standard_library(tmp_path):
    content = '\n x1,label\n1,a\n\n"2\n3",b\r\n   \n4,"c""\n"\n\n\n5,d'
    path = tmp_path / "ours.csv"
    path.write_bytes(content.encode())
    file = open_delimited(path)
    assert (file.names, file.separator, file.skip, file.first) == (("x1", "label"), ",", 2, ("1", "a"))
    assert [file.line(row) for row in range(5)] == [3, 5, 7, 8, 12]


def test_a_fault_after_many_blocks_is_reported_with_its_line(read_csv):
    rows = "".join(f"s{i // 100},{i},{i}.5,c{i // 100 % 7}\n" for i in range(400_000))  # more than two blocks
    assert len(rows) > 2 * 2**22
    with pytest.raises(DataError, match="line 400002, column x: expected a number, found 'oops'"):
        read_csv(LONG + rows + "s4000,0,oops,c0\n")
    with pytest.raises(DataError, match="line 400003: expected 4 cells, found 3"):
        read_csv(LONG + "\n" + rows + "s4000,0,1\n")
    with pytest.raises(DataError, match=r"line 400002, .* as in line 399902, found 'walk'"):
        read_csv(LONG + rows + "s3999,400000,1,walk\n")


# --- random files


FRAGMENTS = [
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
def test_any_mutation_of_a_valid_file_is_read_or_refused(read_csv, data, original, pack):
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3), label="mutations")):
        at = data.draw(st.integers(0, len(content)), label="at")
        end = at + data.draw(st.integers(0, 2), label="dropped")
        content[at:end] = data.draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=2), label="inserted")
    content = bytearray(pack(bytes(content)))
    if content and data.draw(st.booleans(), label="damaged"):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1
    message = ""
    try:
        read_csv(bytes(content))
    except ScanlineError as error:
        message = str(error)
    assert len(message.splitlines()) < 2


@pytest.mark.parametrize("head", ['a,b,"\n', 'a,b,label\n1,2,"\n'])
def test_a_row_continued_by_a_quote_is_counted_as_a_whole(read_csv, head):
    with pytest.raises(DataError, match="65,536 values a step"):
        read_csv(head + '"' + "," * 140_000 + "\n1,2,3\n")
