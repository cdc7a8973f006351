"""Fixtures of the trainings in several processes."""

from __future__ import annotations

import sys

import pytest

from tests.training.distributed.runs import undisturbed


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Digests of the run that was not disturbed, in one process."""
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


def pytest_collection_modifyitems(items):
    """Skip what looks for processes in /proc."""
    if sys.platform != "linux":
        for item in items:
            if "distributed" in item.path.parts and item.path.name != "test_team.py":
                item.add_marker(pytest.mark.skip(reason="processes are looked for in /proc"))
