"""Calls of the C interface that Python never makes."""

from __future__ import annotations

import pytest
import torch

from scanline.kernels.abi import CELLS, FLOAT32, FORWARD, OK, Layer
from scanline.kernels.layer_call import LayerCall, pair
from scanline.kernels.operators import OPERATORS
from tests.kernels.cases import make

BAD_ARGUMENT = 1


class Call:
    """A forward call of a GRU as bytes; it keeps the memory that the bytes refer to."""

    def __init__(self, N=2, lengths=None, cell=CELLS["gru"], projection=0):
        arguments = make(OPERATORS["gru"], N, 3, 2, 4)
        self.lengths = None if lengths is None else torch.tensor(lengths)
        call = LayerCall.of(
            OPERATORS["gru"].cell, (*arguments.values(), self.lengths), (False, True, "float32")
        )
        self.y, self.hn = torch.zeros(N, 3, 4), torch.zeros(N, 4)
        self.call = call
        layer = list(call.layer(cell, FLOAT32, 0))
        layer[[name for name, _ in Layer._fields_].index("projection")] = projection
        self.packed = FORWARD.pack(*layer, 0, self.y.data_ptr(), *call.strides(self.y), *pair([self.hn]), 0)


def result(library, *calls):
    return library.forward(b"".join(call.packed for call in calls), len(calls))


def test_one_call_and_two_calls_of_one_batch_are_computed(library):
    one, other = Call(lengths=[3, 1]), Call(lengths=[3, 1])
    assert result(library, one) == OK
    assert result(library, one, other) == OK
    assert torch.equal(one.y, other.y)
    assert one.hn.any()


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [Call(), Call(), Call()],
        [Call(), Call(N=3)],
        [Call(lengths=[3, 1]), Call(lengths=[3, 2])],
        [Call(lengths=[3, 1]), Call()],
        [Call(cell=len(CELLS))],
        [Call(cell=-1)],
        [Call(cell=CELLS["lstm"])],  # without cn
        [Call(projection=2)],
        [Call(), Call(cell=CELLS["rnn_tanh"])],
    ],
    ids=[
        "none",
        "three",
        "sizes",
        "lengths",
        "no lengths",
        "cell",
        "negative cell",
        "no cn",
        "projection of a GRU",
        "cells",
    ],
)
def test_other_calls_are_refused(library, calls):
    assert result(library, *calls) == BAD_ARGUMENT
