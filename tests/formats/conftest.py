"""Files that tests of several formats share."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanline.data.checks import check_values
from scanline.data.readers.table_sequences import read_table_sequences
from scanline.recipe import DEFAULT_DATA
from tests.formats.bundles import SMALL
from tests.interchange.checkpoints import write


@pytest.fixture
def small_checkpoint(tmp_path) -> Path:
    """A checkpoint of four variables in two blocks."""
    return write(tmp_path / "small", SMALL, block_bytes=60)


@pytest.fixture
def read_csv(tmp_path):
    """Write a CSV file and read it: read_csv(content, name, **settings)."""

    def read(content: str | bytes, name: str = "ours.csv", **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        source = read_table_sequences(path, DEFAULT_DATA.model_copy(update=settings))
        check_values(source, missing=False)
        return source

    return read
