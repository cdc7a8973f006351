"""What tests of Keras files share."""

from __future__ import annotations

import pytest

from tests.interchange.keras_models import save_small


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, bytes]:
    return save_small(tmp_path_factory.mktemp("keras"))
