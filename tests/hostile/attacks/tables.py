"""Tables and text."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

from tests.hostile.attacks.base import Attacks, Evil
from tests.hostile.attacks.pieces import GIB, MIB, put, sparse

ATTACKS = Attacks()

TS_HEADER = b"@problemName x\n@classLabel true a b\n@data\n"

ATTACKS.many(
    "data",
    "DataError",
    {
        "csv_a_million_columns": (
            "SCANLINE_LIMIT_FEATURES",
            lambda f: put("a.csv", b",".join(b"c%d" % i for i in range(500_000)) + b"\n1\n")(f),
        ),
        "csv_a_million_columns_on_as_many_lines": (
            "SCANLINE_LIMIT_FEATURES|cannot be read as CSV|expected",
            lambda f: put("a.csv", b"label" + b"".join(b',"c%d\n"' % i for i in range(500_000)) + b"\n1\n")(
                f
            ),
        ),
        "csv_60000_columns_and_no_rows": (
            "expected",
            lambda f: put(
                "a.csv",
                b"label," + b",".join(b"%x" % i for i in range(60_000)) + b"\n1,2\n" + b"\n" * 3 * MIB,
            )(f),
        ),
        "csv_a_line_of_1_gib": ("a row has more than", sparse("a.csv", b"a,label\n1,0\n2,1\n3,", GIB)),
        "csv_a_header_of_1_gib": ("expected", sparse("a.csv", b"a,label", GIB)),
        "csv_a_quote_that_never_closes": (
            "expected|more than|cannot be read",
            lambda f: put("a.csv", b'a,label\n1,0\n"' + b"1,0\n" * 4 * MIB)(f),
        ),
        "csv_8_mib_of_empty_lines": ("10,000 empty lines", put("a.csv", b"\n" * 8 * MIB)),
        "csv_two_columns_of_one_name": ("twice", put("a.csv", b"a,a,label\n1,2,0\n1,2,1\n")),
        "csv_zeros": ("found other bytes", put("a.csv", b"a\0,label\n1,0\n2,1\n")),
        "csv_a_class_that_clears_the_screen": (
            "cannot be printed",
            put("a.csv", b"a,b,label\n1,2,\x1b[2J\x1b]0;evil\x07\n1,2,x\n"),
        ),
        "csv_a_number_of_a_million_digits": (
            "cannot be read as CSV",
            lambda f: put("a.csv", b"a,b,label\n" + b"1" * MIB + b",2,x\n1,2,y\n")(f),
        ),
        "ts_a_million_classes": (
            "SCANLINE_LIMIT_CLASSES",
            lambda f: put(
                "a.ts", b"@classLabel true " + b" ".join(b"%d" % i for i in range(10**6)) + b"\n@data\n1:1\n"
            )(f),
        ),
        "ts_60000_classes_twice": (
            "found 0 twice",
            lambda f: put(
                "a.ts", b"@classLabel true " + b" ".join(b"%d" % (i % 60_000) for i in range(120_000)) + b"\n"
            )(f),
        ),
        "ts_a_class_for_each_line": (
            "SCANLINE_LIMIT_CLASSES",
            lambda f: put(
                "a.ts", b"@classLabel true\n@data\n" + b"".join(b"1:%d\n" % i for i in range(70_000))
            )(f),
        ),
        "ts_a_class_that_clears_the_screen": (
            "printable",
            put("a.ts", b"@classLabel true \x1b[2J b\n@data\n1:b\n2:b\n"),
        ),
        "ts_a_line_of_1_gib": ("SCANLINE_LIMIT_LINE_BYTES", sparse("a.ts", TS_HEADER + b"1,2,", GIB)),
        "ts_a_header_of_1_gib": ("SCANLINE_LIMIT_LINE_BYTES", sparse("a.ts", b"@classLabel true ", GIB)),
        "ts_a_million_features": (
            "SCANLINE_LIMIT_FEATURES",
            lambda f: put("a.ts", TS_HEADER + b"1:" * 10**6 + b"a\n")(f),
        ),
        "ts_a_billion_features_said": (
            "expected 999999999 features",
            put("a.ts", b"@dimension 999999999\n" + TS_HEADER + b"1:a\n"),
        ),
        "ts_numbers_of_python": ("expected a number", put("a.ts", TS_HEADER + b"0x10,1_000:a\n")),
        "ts_a_number_of_a_million_digits": (
            "expected",
            lambda f: put("a.ts", TS_HEADER + b"1" * MIB + b",:a\n")(f),
        ),
        "ts_infinity": ("expected a finite number", put("a.ts", TS_HEADER + b"1,inf:a\n1,2:b\n")),
    },
)


@ATTACKS.one("data", "DataError", "SCANLINE_LIMIT_EXPANSION")
def parquet_bomb(folder: Path) -> Path:
    """Of 200 million rows in a few kilobytes."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"a": pyarrow.array(np.zeros(MIB, np.float32)), "label": np.zeros(MIB, np.int8)})
    with parquet.ParquetWriter(folder / "a.parquet", table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table)
    return folder / "a.parquet"


def parquet_of(rows: int) -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": np.zeros(rows), "label": np.zeros(rows, np.int8)}), content)
    return content.getvalue()


@ATTACKS.one("data", "DataError", "expected|cannot be read")
def parquet_that_says_it_has_an_exabyte(folder: Path) -> Path:
    whole = parquet_of(77_777)
    size = int.from_bytes(whole[-8:-4], "little")
    body, footer = whole[: -8 - size], whole[-8 - size : -8]
    footer = footer.replace(_varint(2 * 77_777), _varint(2 * 2**60))
    return put("a.parquet", body + footer + len(footer).to_bytes(4, "little") + b"PAR1")(folder)


@ATTACKS.one("data", "DataError", "expected|cannot be read")
def parquet_that_says_it_has_less_than_no_rows(folder: Path) -> Path:
    whole = parquet_of(77_777)
    size = int.from_bytes(whole[-8:-4], "little")
    body, footer = whole[: -8 - size], whole[-8 - size : -8]
    footer = footer.replace(_varint(2 * 77_777), _varint(2 * 77_777 - 1))
    return put("a.parquet", body + footer + len(footer).to_bytes(4, "little") + b"PAR1")(folder)


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 128:
        encoded += bytes([value % 128 + 128])
        value //= 128
    return encoded + bytes([value])


@ATTACKS.one("data", "DataError", "expected numbers|cannot be read|expected")
def parquet_with_a_pickled_type(folder: Path) -> Path:
    """CVE-2023-47248: PyArrow before 14.0.1 unpickled what stood there."""
    import pyarrow
    from pyarrow import parquet

    about = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    fields = [
        pyarrow.field("a", pyarrow.binary(), metadata=about),
        pyarrow.field("label", pyarrow.int8()),
    ]
    table = pyarrow.table([[b"1", b"2"], [0, 1]], schema=pyarrow.schema(fields))
    parquet.write_table(table, folder / "a.parquet")
    return folder / "a.parquet"


ATTACKS.many(
    "data",
    "DataError",
    {
        "parquet_cut_off": ("cannot be read", lambda f: put("a.parquet", parquet_of(100)[:-1])(f)),
        "parquet_footer_of_2_gib": (
            "cannot be read",
            put("a.parquet", b"PAR1" + bytes(64) + (2**31 - 1).to_bytes(4, "little") + b"PAR1"),
        ),
        "parquet_nothing": ("cannot be read", put("a.parquet", b"PAR1PAR1")),
        "parquet_zeros": ("cannot be read", put("a.parquet", b"PAR1" + bytes(4096) + b"\0\x10\0\0PAR1")),
    },
)
