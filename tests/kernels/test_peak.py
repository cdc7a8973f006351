"""The measured limits of the processor are plausible; a loop that the compiler removed would show."""

from __future__ import annotations

import pytest

from scanline.kernels.library import FLOAT32, PRECISIONS
from tests.kernels.conftest import REMOTE

pytestmark = pytest.mark.skipif(REMOTE is not None, reason="the remote process measures no limits")
# Floats of a vector; a core starts at most 4 vector operations and 4 loads a cycle, at less than 7 GHz.
WIDTHS = {"portable": 4, "neon": 4, "avx2": 8, "avx512": 16, "avx512-bf16": 16}
FASTEST = 4 * 7e9


def test_multiply_adds_take_the_time_that_a_processor_needs(precision, library):
    code = PRECISIONS[precision]
    operations = 2 * WIDTHS[library.kernel(code)] * (2 if precision == "bfloat16" else 1)
    # From 0.1 operations a cycle at 1 GHz, emulators and sanitizers included.
    assert 1e8 < library.peak(code, 1) < operations * FASTEST


def test_loads_take_the_time_that_a_processor_needs(precision, library):
    code = PRECISIONS[precision]
    for block in (1, 16 << 10, 300_000):
        assert 1e8 < library.peak(code, 1, block, 0.005) < 4 * WIDTHS[library.kernel(code)] * FASTEST


def test_several_threads_are_measured_together(library):
    assert library.peak(FLOAT32, 4, seconds=0.02) > 0


@pytest.mark.parametrize(
    "arguments", [(FLOAT32, 0), (FLOAT32, 1, -1), (FLOAT32, 1, 0, 0.0), (FLOAT32, 1, 0, float("nan")), (7, 1)]
)
def test_invalid_arguments_are_refused(library, arguments):
    with pytest.raises(RuntimeError, match="an argument is missing or out of range"):
        library.peak(*arguments)
