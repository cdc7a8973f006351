"""The stand-in for a library in another process, as far as it can be tried without one."""

from __future__ import annotations

import sys

import pytest

from scanline.kernels.library import Forward, Layer
from tests.kernels.remote import Remote, _lead, _rows


def test_a_process_that_ends_is_named_with_its_exit_code():
    with pytest.raises(RuntimeError, match="ended with exit code 9"):
        Remote(f"{sys.executable} -c 'raise SystemExit(9)'")


def test_a_process_with_other_structures_is_refused():
    answer = "import sys; sys.stdin.buffer.read(128); sys.stdout.buffer.write(bytes(8 + 32))"
    with pytest.raises(RuntimeError, match=r"another version of the interface: \(0, 0, 0, 0\)"):
        Remote(f'{sys.executable} -c "{answer}"')


def test_pointers_that_are_null_lead_nowhere():
    call = Forward(hn=64)
    (memory,) = _lead(call, sent=False, returned=True, hn=12, cn=12)
    assert memory == (Forward.hn.offset, 64, 12, False, True)


@pytest.mark.parametrize(
    ("strides", "length", "sent"),
    [((20, 5), 4 * 60, False), ((5, 15), 4 * 60, False), ((28, 7), 4 * 82, True), ((0, 0), 4 * 5, True)],
    ids=["dense", "steps first", "gaps", "one for all"],
)
def test_rows_reach_from_the_first_number_to_the_last(strides, length, sent):
    layer = Layer(sequences=3, steps=4)
    call = Forward(layer=layer, y=64, y_sequence=strides[0], y_step=strides[1])
    (memory,) = _rows(call, layer, "y", 5, returned=True)
    assert memory == (Forward.y.offset, 64, length, sent, True)
