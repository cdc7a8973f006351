"""Fixtures of the trainings in several processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.training.distributed.runs import undisturbed


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Digests of the run that was not disturbed, in one process."""
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


def pytest_collection_modifyitems(items):
    """Skip these tests where there is no /proc to look for processes in, and no interface "lo"."""
    if sys.platform != "linux":
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="trainings in several processes are tested on Linux"))
