"""Files that tests of several formats share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.bundles import SMALL
from tests.interchange.checkpoints import write


@pytest.fixture
def small_checkpoint(tmp_path) -> Path:
    """A checkpoint of four variables in two blocks."""
    return write(tmp_path / "small", SMALL, block_bytes=60)
