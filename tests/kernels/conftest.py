"""Every kernel that this machine can run."""

from __future__ import annotations

import pytest

from scanline.kernels import library as native

LOADED = native.load()
KERNELS = [
    (precision, kernel)
    for precision, code in native.PRECISIONS.items()
    for kernel in (LOADED.kernels(code) if LOADED else [])
]


@pytest.fixture
def library():
    """The native library, every choice of kernels put back afterwards."""
    if LOADED is None:
        pytest.skip(f"no native library: {native.why_absent()}")
    before = {code: LOADED.kernel(code) for code in native.PRECISIONS.values()}
    yield LOADED
    for code, kernel in before.items():
        LOADED.use(code, kernel)
        if kernel is None:
            LOADED.leave_out(code)


@pytest.fixture(params=KERNELS or [None], ids=lambda kernel: kernel[1] if kernel else "none")
def precision(request, library):
    """ "float32" or "bfloat16", once for each kernel, with that kernel in use."""
    precision, kernel = request.param
    library.use(native.PRECISIONS[precision], kernel)
    return precision
