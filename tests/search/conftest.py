"""A search by one worker that nothing disturbs, whose trials other searches must have."""

from __future__ import annotations

import pytest

from tests.search import kept


@pytest.fixture(scope="session")
def undisturbed_folder(tmp_path_factory):
    """A folder with the inputs and the study `one`."""
    folder = tmp_path_factory.mktemp("search")
    kept.write_inputs(folder)
    kept.search(folder, "--study", "one", "--workers", "1")
    return folder


@pytest.fixture(scope="session")
def undisturbed(undisturbed_folder) -> bytes:
    """The table of trials of that study."""
    return kept.table(undisturbed_folder, "one")
