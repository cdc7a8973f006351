"""A small TensorFlow checkpoint, and reading one with all checksums verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from scanline.errors import FormatError
from scanline.formats.tensor_bundle import open_bundle

SMALL = {
    "a": np.array([1.5, -2], np.float32),
    "rnn/bias": np.arange(3, dtype=np.float32),
    "rnn/kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "step": np.array(20, np.int64),
}
IN_ONE_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)


def read_floats(path: Path) -> dict[str, np.ndarray]:
    """Return all variables of floats, after verifying every checksum."""
    bundle = open_bundle(path)
    for name in bundle.entries:
        bundle.check(name)
    return {name: bundle.read(name) for name, each in bundle.entries.items() if each.is_float}


def equal_bytes(arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return arrays.keys() == expected.keys() and all(
        arrays[name].tobytes() == expected[name].tobytes() and arrays[name].shape == expected[name].shape
        for name in expected
    )


def assert_refused(path: Path, message: str) -> None:
    """Assert that reading raises an error of one line."""
    with pytest.raises(FormatError, match=message) as caught:
        read_floats(path)
    assert len(str(caught.value).splitlines()) == 1
