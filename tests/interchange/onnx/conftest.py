"""The newest opset that tests of ONNX files export."""

from __future__ import annotations

import pytest

from scanline.interchange.onnx.write import newest_opset


@pytest.fixture(scope="module")
def newest() -> int:
    return newest_opset()
