"""The footer of a Parquet file: read by Scanline, so that no footer can end the process."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from scanline.errors import FormatError
from scanline.formats.parquet import DICTIONARY_ENCODINGS, ColumnChunk, read_column_chunks
from scanline.formats.thrift import BINARY, I32, LIST, STRUCT, CompactReader
from tests.thorough import THOROUGH

TABLES = {
    "plain": pa.table({"x1": [1.0, 2.0], "x2": [3.0, None], "label": ["a", "b"]}),
    "lists": pa.table({"v": [[1.0, 2.0], [3.0]], "w": [[[1, 2], [3, 4]], [[5, 6]]], "label": ["a", "b"]}),
    "categories": pa.table({"x": [1, 2], "label": pa.array(["a", "b"]).dictionary_encode()}),
    "bytes": pa.table({"x": [1, 2], "y": [3, 4], "label": pa.array([b"abcd", b"efgh"], pa.binary(4))}),
    "no rows": pa.table({"x": pa.array([], pa.float32())}),
    "no columns": pa.table({}),
}
DIALECTS = {
    "usual": {},
    "groups": {"row_group_size": 1},
    "bare": {
        "write_statistics": False,
        "store_schema": False,
        "use_dictionary": False,
        "compression": "none",
    },
    "rich": {"write_page_index": True, "write_page_checksum": True, "compression": "zstd", "version": "1.0"},
}
NAMES = {
    "PLAIN": 0,
    "PLAIN_DICTIONARY": 2,
    "RLE": 3,
    "BIT_PACKED": 4,
    "DELTA_BYTE_ARRAY": 7,
    "RLE_DICTIONARY": 8,
}


def field(number: int, kind: int, value: bytes, before: int = 0) -> bytes:
    return bytes([(number - before) << 4 | kind]) + value


def footer(metadata_of_column: bytes) -> bytes:
    """Return a file of one row group with one column."""
    column = field(3, STRUCT, metadata_of_column + b"\0") + b"\0"
    group = field(1, LIST, b"\x1c" + column) + b"\0"
    metadata = field(4, LIST, b"\x1c" + group) + b"\0"
    return b"PAR1" + metadata + len(metadata).to_bytes(4, "little") + b"PAR1"


# Encodings 0 and 8; 2 values; 57 bytes. Integers are doubled (zigzag).
METADATA = b"\x29\x25\x00\x10" + b"\x36\x04" + b"\x16\x72"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", TABLES)
def test_chunks_are_those_that_pyarrow_reads(tmp_path, name, dialect):
    path = tmp_path / "a.parquet"
    parquet.write_table(TABLES[name], path, **DIALECTS[dialect])
    metadata = parquet.read_metadata(path)
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    assert read_column_chunks(path, metadata.num_columns) == [
        [
            ColumnChunk(
                frozenset(NAMES[each] for each in chunk.encodings),
                chunk.num_values,
                chunk.total_uncompressed_size,
            )
            for chunk in map(group.column, range(group.num_columns))
        ]
        for group in groups
    ]


def test_delta_encodings_are_not_those_of_dictionaries(tmp_path):
    path = tmp_path / "a.parquet"
    for how, dictionary in (({}, True), ({"column_encoding": {"x": "DELTA_BYTE_ARRAY"}}, False)):
        parquet.write_table(pa.table({"x": ["a"]}), path, use_dictionary=dictionary, **how)
        [[chunk]] = read_column_chunks(path, 1)
        assert (chunk.encodings <= DICTIONARY_ENCODINGS) is dictionary


def test_a_footer_is_read_field_by_field(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(footer(METADATA))
    assert read_column_chunks(path, 1) == [[ColumnChunk(frozenset({0, 8}), 2, 57)]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1PAR1", "expected a Parquet file, found 8 bytes"),
        (b"PAR1" + b"\xff" * 4 + b"PAR1", "expected the footer of a Parquet file, found something else"),
        (footer(METADATA)[:-4] + b"PARE", "expected the footer of a Parquet file, found something else"),
        (
            footer(METADATA[:6]),
            "expected encodings, the number of values and the size of a column, found less",
        ),
        (footer(METADATA[:6] + b"\x16\x71"), "expected a size of 0 or more, found -57"),
        (footer(METADATA + b"\x06\x0c\x72"), "expected each field of the .* once, found field 6 twice"),
        (footer(METADATA[:6] + b"\x15\x72"), "expected the type i64, found i32"),
        (footer(b"\x29\x26\x00\x10" + METADATA[4:]), "expected the type i32, found i64"),
        (footer(b"\x19" + b"\xf5" + b"\xff" * 9 + b"\x01"), "expected at most .* items, found 18,446,744,0"),
        (footer(METADATA[:6] + b"\x16" + b"\xff" * 9 + b"\x7f"), "expected an integer of at most 64 bits"),
        (footer(b"\x29\x15" + b"\xff" * 9 + b"\x01"), "expected an integer of 32 bits"),
        (footer(b"\x1c" * 100), "expected at most 32 structures and lists within each other, found more"),
        (footer(b"\x19" + b"\x19" * 100), "expected at most 32 structures and lists within each other"),
        (footer(b"\x1e\x00"), "expected a type of 1 to 12, found 14"),
        (footer(b"\x18\x7f"), "expected at most .* bytes, found 127"),
        (footer(b"\x1b\x7f"), "expected at most .* items, found 127"),
    ],
)
def test_a_damaged_footer_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.parquet: .*{message}"):
        read_column_chunks(path, 1)


def test_encrypted_columns_and_other_numbers_of_columns_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    whole = footer(METADATA)
    metadata = whole[4:-8].replace(b"\x3c" + METADATA + b"\0", b"\x98\x02ab")  # encrypted metadata, field 9
    path.write_bytes(b"PAR1" + metadata + len(metadata).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(FormatError, match="expected the metadata of a column, found none"):
        read_column_chunks(path, 1)
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="row group 1: expected 2 columns as in the schema, found 1"):
        read_column_chunks(path, 2)


def test_every_type_is_skipped_to_its_end():
    values = {
        1: b"",
        2: b"",
        3: b"\xff",
        4: b"\xff\x01",
        5: b"\x01",
        6: b"\xff" * 9 + b"\x01",
        7: bytes(8),
        8: b"\x03abc",
        9: b"\x31\x01\x02\x01",
        10: b"\xf3\x10" + bytes(16),
        11: b"\x02\x85\x01a\x02\x01b\x03",
        12: b"\x11\x18\x01a\x00",
    }
    for kind, value in values.items():
        reader = CompactReader(field(1, kind, value) + field(1, I32, b"\x54") + b"\0")
        read = []
        for number, found in reader.fields():
            if number == 1:
                reader.skip(found)
            else:
                read.append(reader.integer(found, 32))
        assert read == [42], kind
    assert next(iter(CompactReader(b"\x08\x80\x01").fields())) == (64, BINARY)  # a number in full


# Reads a file with each changed byte of its footer; dies with the process that pyarrow ends.
EVERY_CHANGE = """
import faulthandler, sys
from pathlib import Path
from scanline.data.readers.table_preview import preview_table
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import ScanlineError
from scanline.recipe import DEFAULT_DATA

faulthandler.enable()
path, step, changed, refused = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[1] + ".changed.parquet"), 0
content = bytearray(path.read_bytes())
read_table_sequences(path, DEFAULT_DATA)
for at in range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content)):
    kept = content[at]
    for value in range(at % step, 256, step):
        content[at] = value
        changed.write_bytes(content)
        for read in (read_table_sequences, preview_table):
            try:
                read(changed, DEFAULT_DATA)
            except ScanlineError as error:
                assert len(str(error).splitlines()) == 1, error
                refused += 1
    content[at] = kept
print(refused)
"""


# Each byte of the footer gets 256 / step values, and neighbours different ones.
@pytest.mark.parametrize(
    ("name", "dialect", "step"),
    [
        ("plain", "bare", 128),
        pytest.param("plain", "bare", 4 if THOROUGH else 16, marks=pytest.mark.campaign),
        *(
            pytest.param(name, dialect, 16 if THOROUGH else 128, marks=pytest.mark.campaign)
            for name in ("plain", "lists", "categories", "bytes")
            for dialect in ("usual", "groups")
        ),
    ],
)
def test_no_changed_byte_of_a_footer_ends_the_process(tmp_path, name, dialect, step):
    path = tmp_path / "a.parquet"
    parquet.write_table(TABLES[name], path, **DIALECTS[dialect])
    ended = subprocess.run(
        [sys.executable, "-c", EVERY_CHANGE, str(path), str(step)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) > 0
