"""`Remote`, as far as it can be tested without the program that it talks to."""

from __future__ import annotations

import sys

import pytest

from scanline.kernels.library import Forward, Layer
from tests.kernels.remote import Memory, Remote, _add, _pointers, _tensor


def test_a_process_that_exits_raises_an_error_with_its_exit_code():
    with pytest.raises(RuntimeError, match="exit code 9"):
        Remote(f"{sys.executable} -c 'raise SystemExit(9)'")


def test_a_process_with_other_structure_sizes_is_rejected():
    reply = "import sys; sys.stdin.buffer.read(136); sys.stdout.buffer.write(bytes(8 + 32))"
    with pytest.raises(RuntimeError, match=r"\(0, 0, 0, 0\)"):
        Remote(f'{sys.executable} -c "{reply}"')


def test_null_pointers_are_skipped():
    call = Forward(hn=64)
    (memory,) = _pointers(call, sent=False, returned=True, hn=12, cn=12)
    assert memory[:5] == (Forward.hn.offset, 64, 12, False, True)


@pytest.mark.parametrize(
    ("strides", "length", "sent"),
    [((20, 5), 4 * 60, False), ((5, 15), 4 * 60, False), ((28, 7), 4 * 82, True), ((0, 0), 4 * 5, True)],
    ids=["dense", "steps first", "gaps", "broadcast"],
)
def test_a_tensor_extends_from_its_first_element_to_its_last(strides, length, sent):
    layer = Layer(sequences=3, steps=4)
    call = Forward(layer=layer, y=64, y_sequence=strides[0], y_step=strides[1])
    (memory,) = _tensor(call, layer, "y", 5, returned=True)
    assert memory[:5] == (Forward.y.offset, 64, length, sent, True)


def test_directions_that_share_memory_send_it_once():
    memory = []
    for block in (
        Memory(0, 1000, 80, True, True),
        Memory(8, 1020, 80, False, True),
        Memory(16, 1100, 8, True, False),
    ):
        _add(memory, block)
    assert memory == [
        Memory(0, 1000, 100, True, True),
        Memory(8, 1020, 0, False, False, within=0, offset=20),
        Memory(16, 1100, 8, True, False),
    ]
