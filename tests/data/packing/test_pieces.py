"""Parts of packing on their own: statistics, identifiers, batches of whole sequences, the sort, the order."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pyarrow as pa
import pytest

from scanline.data.moments import Moments
from scanline.data.packing.identifiers import Identifiers, find_pair
from scanline.data.packing.long_tables import whole_sequences
from scanline.data.packing.request import parse_bytes
from scanline.data.packing.sorting import sort_rows
from scanline.data.packing.stage import Order
from scanline.errors import ScanlineError


def test_moments_of_parts_are_those_of_the_whole_even_far_from_zero():
    draw = np.random.default_rng(0)
    values = (1e6 + draw.normal(size=(30_000, 3))).astype(np.float32)
    values[::7, 1] = np.nan
    values[:, 2] = np.nan
    total = Moments.none(3)
    for part in np.array_split(values, [1, 2, 17, 20_000]):
        total = total.plus(Moments.of(part))
    exact = values.astype(np.longdouble)
    assert total.count.tolist() == [30_000, np.isfinite(values[:, 1]).sum(), 0]
    for feature in (0, 1):
        own = exact[np.isfinite(values[:, feature]), feature]
        assert total.mean[feature] == pytest.approx(float(own.mean()), rel=1e-14)
        assert total.m2[feature] == pytest.approx(float(((own - own.mean()) ** 2).sum()), rel=1e-9)
    assert (total.mean[2], total.m2[2]) == (0, 0)


def test_bytes_are_counted_as_numbers():
    moments = Moments.of(np.array([[0, 255], [255, 255]], np.uint8))
    assert moments.mean.tolist() == [127.5, 255]
    assert moments.m2.tolist() == [2 * 127.5**2, 0]


def test_identifiers_that_are_equal_or_look_alike_are_found():
    seen = Identifiers()
    seen.add(["a", "b", "c\u0301"])
    assert not seen.repeated().size
    seen.add(["d", "\u0107"])  # the same letter, composed
    repeated = seen.repeated()
    assert repeated.size == 1
    texts = [("a", 0), ("\u0107", 4), ("c\u0301", 2), ("d", 3)]
    assert find_pair(repeated, iter(texts)) == (("c\u0301", 2), ("\u0107", 4))
    with pytest.raises(LookupError):
        find_pair(repeated, iter(texts[:2]))


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4), (2, 5, 6), (1, 2, 3, 4, 5, 6, 7, 8)])
@pytest.mark.parametrize("enough", [1, 3, 100])
def test_batches_are_put_together_to_whole_sequences(cuts, enough):
    ids = list("aaabccccd")
    borders = [0, *cuts, len(ids)]
    batches = [
        pa.record_batch({"id": ids[first:end], "row": list(range(first, end))})
        for first, end in itertools.pairwise(borders)
    ]
    groups = list(whole_sequences(iter(batches), "id", lambda rows: rows >= enough))
    tables = [pa.Table.from_batches(group).to_pydict() for group in groups]
    assert [row for table in tables for row in table["row"]] == list(range(len(ids)))
    for one, other in itertools.pairwise(tables):
        assert not set(one["id"]) & set(other["id"])
        assert len(one["id"]) >= enough


def batches_of(ids):
    schema = pa.schema([("id", pa.string()), ("row", pa.int64()), ("place", pa.int64())])
    places = [zlib.crc32(name.encode()) for name in ids]
    made = (
        pa.record_batch(
            [
                pa.array(ids[first : first + 7]),
                pa.array(range(first, min(first + 7, len(ids)))),
                pa.array(places[first : first + 7]),
            ],
            schema=schema,
        )
        for first in range(0, len(ids), 7)
    )
    return made, schema


@pytest.mark.parametrize("expected_bytes", [0, 10**8, 10**12])
def test_rows_of_an_id_come_together_in_their_order(tmp_path, expected_bytes):
    draw = np.random.default_rng(0)
    ids = [f"s{index}" for index in draw.integers(0, 50, 3_000)]
    batches, schema = batches_of(ids)
    rows = sort_rows(batches, schema, tmp_path, 10**8, 1_000, expected_bytes)
    table = pa.Table.from_batches(list(rows)).to_pydict()
    changes = sum(one != other for one, other in itertools.pairwise(table["id"]))
    assert changes == len(set(ids)) - 1
    for name in set(ids):
        rows = [row for each, row in zip(table["id"], table["row"], strict=True) if each == name]
        assert rows == [row for row, each in enumerate(ids) if each == name]
    assert not list(tmp_path.glob("*.arrow"))


def test_an_error_while_rows_are_read_leaves_the_sort_as_it_is(tmp_path):
    def broken():
        yield next(batches)
        raise KeyError("mine")

    batches, schema = batches_of(list("abcdefghij"))
    with pytest.raises(KeyError, match="mine"):
        list(sort_rows(broken(), schema, tmp_path, 10**8, 1_000))


def test_a_sort_that_does_not_fit_is_one_line(tmp_path):
    schema = pa.schema([("place", pa.int64()), ("row", pa.int64()), ("values", pa.binary(4_000))])
    big = np.random.default_rng(0).integers(0, 255, 4_000_000, np.uint8).tobytes()
    made = (
        pa.record_batch(
            [
                pa.array([row % 17 for row in range(1_000)]),
                pa.array(range(1_000)),
                pa.FixedSizeBinaryArray.from_buffers(pa.binary(4_000), 1_000, [None, pa.py_buffer(big)]),
            ],
            schema=schema,
        )
        for _ in range(20)
    )
    (tmp_path / "file").write_text("")  # no folder to spill to
    with pytest.raises(
        ScanlineError, match=r"^cannot sort in \S*file: out of memory or disk space; give more with --memory"
    ):
        list(sort_rows(made, schema, tmp_path / "file", 20 * 10**6, 4_000))


def test_an_order_is_a_permutation_that_a_seed_decides():
    numbers = np.arange(100_000)
    keys = Order(0).keys(numbers)
    assert len(np.unique(keys)) == len(numbers)
    assert (Order(1).keys(numbers) != keys).mean() > 0.999
    assert Order(None).keys(numbers).tolist() == numbers.tolist()
    # Neighbours are spread evenly over the buckets.
    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 0.95 * len(numbers) / 16


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("512MiB", 512 * 2**20), ("1.5 gib", 3 * 2**29), ("3e9", 3 * 10**9)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size
