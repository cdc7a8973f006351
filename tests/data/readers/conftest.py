"""What tests of several readers share."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from scanline.data.readers.table_sequences import read_table_sequences
from scanline.recipe import DEFAULT_DATA
from tests.data.readers.picture_files import grey, put


@pytest.fixture
def read_parquet(tmp_path):
    """Write a table as Parquet and read it: read_parquet(bytes, columns or a frame, **settings)."""

    def read(table, **settings):
        path = tmp_path / "ours.parquet"
        if isinstance(table, bytes):
            path.write_bytes(table)
        elif isinstance(table, pd.DataFrame):
            table.to_parquet(path)
        else:
            parquet.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
        return read_table_sequences(path, DEFAULT_DATA.model_copy(update=settings))

    return read


@pytest.fixture
def pets(tmp_path):
    """A folder of pictures of 4 x 3 pixels: two cats and a dog."""
    for name, value in (("cat/1.png", 10), ("cat/2.png", 20), ("dog/1.png", 30)):
        put(tmp_path / "pets" / name, grey(value))
    return tmp_path / "pets"
