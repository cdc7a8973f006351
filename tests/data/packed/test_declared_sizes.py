"""Row groups that would unpack to more than the manifest says: refused before memory is taken for them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from scanline.data.packed.row_groups import decode_row_group, encode_row_group
from scanline.errors import DataError
from scanline.limits import limit_of
from tests.data.packed.writing import ragged


def written(ids: list[str], lengths: list[int], features: int = 2, **options) -> bytes:
    table = pyarrow.table(
        {
            "id": ids,
            "label": pyarrow.array(["a"] * len(ids)),
            "group": pyarrow.array([None] * len(ids), pyarrow.string()),
            "length": pyarrow.array(lengths, pyarrow.int32()),
            "steps": pyarrow.array(
                [[0.0] * (length * features) for length in lengths], pyarrow.list_(pyarrow.float32())
            ),
        }
    )
    stream = io.BytesIO()
    parquet.write_table(table, stream, compression="zstd", **options)
    return stream.getvalue()


def decode(content: bytes, n: int, steps: int, features: int = 2):
    return decode_row_group(content, "row group", features, "float32", n, steps)


def test_what_is_written_is_decoded():
    source = ragged()
    rows = decode(encode_row_group(source), 10, source.total_steps)
    assert np.array_equal(rows.steps, source.concatenated)
    assert rows.ids.to_pylist() == source.ids.tolist()


def test_names_may_be_stored_with_a_dictionary():
    rows = decode(written(["one", "two", "one"], [1, 2, 1]), 3, 4)
    assert rows.ids.to_pylist() == ["one", "two", "one"]


@pytest.mark.parametrize(("n", "steps"), [(2, 4), (3, 2)])
def test_more_values_than_in_the_manifest_are_refused(n, steps):
    with pytest.raises(DataError, match=r"values, as in the manifest, found"):
        decode(written(["one", "two", "three"], [1, 2, 1]), n, steps)


@pytest.mark.parametrize("column", ["id", "label"])
def test_text_that_is_not_utf_8_is_an_error(column):
    table = parquet.read_table(io.BytesIO(written(["one", "two"], [1, 1])))
    wrong = pyarrow.array([b"\xff\xfe", b"two"]).view(pyarrow.binary())
    text = pyarrow.StringArray.from_buffers(2, *wrong.buffers()[1:])
    stream = io.BytesIO()
    place = table.schema.names.index(column)
    parquet.write_table(table.set_column(place, column, text), stream, use_dictionary=False)
    with pytest.raises(DataError, match=f"column {column}: expected UTF-8 text"):
        decode(stream.getvalue(), 2, 2)


def test_a_sequence_without_an_identifier_is_an_error():
    with pytest.raises(DataError, match="expected an identifier in each row"):
        decode(written(["one", None], [1, 1]), 2, 2)


def test_a_long_name_that_stands_for_many_is_refused_before_it_is_repeated():
    content = written(["x" * 2**17] * 4_000, [1] * 4_000)
    assert len(content) < 2**20
    with pytest.raises(DataError, match="expected names of at most 16,384 bytes, found 131,072"):
        decode(content, 4_000, 4_000)


def test_names_that_repeat_parts_of_others_are_refused():
    names = ["x" * 2**16 + str(number) for number in range(2_000)]
    content = written(names, [1] * 2_000, use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"})
    with pytest.raises(DataError, match="expected names stored as they are"):
        decode(content, 2_000, 2_000)


def test_a_row_group_larger_than_the_limit_is_refused(monkeypatch):
    limit_of.cache_clear()
    monkeypatch.setenv("SCANLINE_LIMIT_ROW_GROUP_BYTES", "20")
    try:
        with pytest.raises(DataError, match="SCANLINE_LIMIT_ROW_GROUP_BYTES"):
            decode(written(["one"], [3]), 1, 3)
    finally:
        limit_of.cache_clear()


def test_a_damaged_footer_is_an_error():
    content = bytearray(written(["one"], [3]))
    content[-5] ^= 1
    with pytest.raises(DataError, match="row group"):
        decode(bytes(content), 1, 3)
