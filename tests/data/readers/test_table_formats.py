"""One table is the same in every format."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyarrow import parquet

from scanline.data.readers.array_files import read_npz
from scanline.data.readers.arrays import from_arrays
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA


@pytest.fixture
def read(read_parquet):
    return read_parquet


# --- one table in every format


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    values=arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 5)),
        elements=st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from([np.nan, 1 + 2**-24, 1e39, 5e-46, -0.0]),
    ),
    data=st.data(),
)
def test_the_same_wide_table_is_the_same_in_csv_parquet_npz_and_a_program(tmp_path, values, data):
    n, width = values.shape
    labels = data.draw(st.lists(st.sampled_from([3, -1, 20]), min_size=n, max_size=n), label="labels")
    lengths = data.draw(st.lists(st.integers(1, width), min_size=n, max_size=n), label="lengths")
    table = pd.DataFrame(values, columns=[f"x{index}" for index in range(width)])
    table["n"], table["label"] = lengths, labels
    table.to_csv(tmp_path / "ours.csv", index=False)
    table.to_parquet(tmp_path / "ours.parquet")
    np.savez(tmp_path / "ours.npz", X=values, y=labels, lengths=lengths)
    said = DEFAULT_DATA.model_copy(update={"length_column": "n"})
    found = [read_table_sequences(tmp_path / name, said) for name in ("ours.csv", "ours.parquet")]
    found += [
        read_npz(tmp_path / "ours.npz", DEFAULT_DATA)["all"],
        from_arrays(values, labels, lengths, settings=DEFAULT_DATA),
        from_arrays([row[:k] for row, k in zip(values, lengths, strict=True)], labels, settings=DEFAULT_DATA),
    ]
    with np.errstate(over="ignore"):
        wanted = np.concatenate([row[:k] for row, k in zip(values, lengths, strict=True)]).astype(np.float32)
    for each in found:
        assert np.array_equal(each.concatenated.ravel(), wanted, equal_nan=True)
        assert each.lengths.tolist() == lengths
        assert [each.classes[label] for label in each.targets] == labels
    assert len({each.fingerprint() for each in found}) == 1


def test_a_long_name_is_refused_before_each_row_has_it(read):
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 2999 + [1], pa.int32()), ["x" * 100_000, "b"])
    with pytest.raises(DataError, match="at most 4,096 characters, found 100,000"):
        read({"x": [1.0] * 3000, "label": names})


def test_names_may_unpack_to_no_more_than_the_file_allows(read):
    content, table = pa.BufferOutputStream(), pa.table({"x": [1.0, 2.0], "label": ["x" * 9_000_000, "b"]})
    parquet.write_table(table, content, compression="zstd", write_statistics=False, store_schema=False)
    with pytest.raises(DataError, match="packed bytes to become at most"):
        read(content.getvalue().to_pybytes())
