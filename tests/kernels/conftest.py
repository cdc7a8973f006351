"""Every kernel that this machine can run.

With SCANLINE_TEST_REMOTE, a command line that starts csrc/tests/remote.cpp, the kernels of that process
instead.
"""

from __future__ import annotations

import functools
import os

import pytest

from scanline.kernels import library as native
from scanline.kernels.operators import OPERATORS
from tests.kernels.remote import Remote

REMOTE = Remote(os.environ["SCANLINE_TEST_REMOTE"]) if os.environ.get("SCANLINE_TEST_REMOTE") else None
if REMOTE is not None:
    native._loaded = functools.cache(lambda: (REMOTE, ""))
LOADED = native.load()
KERNELS = [
    (precision, kernel)
    for precision, code in native.PRECISIONS.items()
    for kernel in (LOADED.kernels(code) if LOADED else [])
]


@pytest.fixture(scope="session", autouse=True)
def _the_remote_process_ends_in_order():
    yield
    if REMOTE is not None:
        REMOTE.close()


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


@pytest.fixture(params=OPERATORS)
def operator(request):
    """The operator of each cell, for one direction."""
    return OPERATORS[request.param]
