"""Whole networks on the native library: from inputs as read to the outputs of the head, in one call.

A `NativePredictor` has copies of a network's weights, packed in the order in which the kernels read them.
Several threads may use one at once. `kernels.stepping` reads sequences with it that arrive step by step.
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.cells import Cell
from scanline.kernels.abi import CELLS, FLOAT32
from scanline.kernels.backends import why_not_native
from scanline.kernels.library import Library, load

POOLINGS = {"last": 0, "last-step": 1, "mean": 2, "max": 3}
# The structures scanline_network and scanline_prediction of csrc/scanline.h.
_NETWORK, _PREDICTION = struct.Struct("6i3q5P"), struct.Struct("qPP2iP")


@dataclass(frozen=True)
class NetworkForm:
    """What a network computes, except for its weights.

    Attributes:
        cell: Cell of all layers.
        layers: Number of layers.
        directions: 1 or 2.
        features: F.
        units: H.
        outputs: M; D*H without a head, when the outputs are the pooled vectors.
        pooling: Name of the pooling.
        head: Whether there is one.
    """

    cell: Cell
    layers: int
    directions: int
    features: int
    units: int
    outputs: int
    pooling: str
    head: bool


def make_predictor(form: NetworkForm, tensors: Sequence[Tensor]) -> NativePredictor | None:
    """Return a predictor with copies of a network's weights; None if the native library cannot compute it.

    Args:
        form: What the network computes.
        tensors: weight_ih, weight_hh, bias_ih and bias_hh of each layer and direction, forward first; shift
            and scale of the inputs, (F,); weight (M, D*H) and bias (M,) of the head, if there is one.
    """
    library = load()
    count = 4 * form.layers * form.directions + (4 if form.head else 2)
    if library is None or form.pooling not in POOLINGS or len(tensors) != count:
        return None
    if any(each.dtype != torch.float32 or not each.is_contiguous() for each in tensors):
        return None
    if any(why_not_native(form.cell, torch.float32, device) for device in {each.device for each in tensors}):
        return None
    return NativePredictor(library, form, tensors)


class NativePredictor:
    """Copies of a network's weights in the native library, and the calls that compute with them.

    Args:
        library: The library.
        form: What the network computes.
        tensors: As for `make_predictor`, float32 and contiguous in main memory.

    Attributes:
        library: The library.
        form: What the network computes.
        handle: The library's `scanline_predictor`.
    """

    def __init__(self, library: Library, form: NetworkForm, tensors: Sequence[Tensor]) -> None:
        self.library, self.form = library, form
        self._kernel = library.kernel(FLOAT32)
        # Kept, so that no other tensor can get their addresses.
        self._tensors = [each.detach() for each in tensors]
        self._addresses = [each.data_ptr() for each in tensors]
        addresses = self._addresses if form.head else [*self._addresses, 0, 0]
        *layers, shift, scale, head_weight, head_bias = addresses
        # An attribute, as the structure holds its address.
        self._pointers = (ctypes.c_void_p * len(layers))(*layers)
        self._network = _NETWORK.pack(
            CELLS[str(form.cell.native_operator)], FLOAT32, form.layers, form.directions,
            POOLINGS[form.pooling], 0, form.features, form.units, form.outputs,
            shift, scale, ctypes.addressof(self._pointers), head_weight, head_bias,
        )  # fmt: skip
        self.handle = ctypes.c_void_p()
        library.check(library.predictor_new(self._network, ctypes.byref(self.handle)))
        # Not at exit, when other threads may still use it.
        weakref.finalize(self, library.predictor_free, self.handle).atexit = False

    def holds(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether tensors, as for `make_predictor`, still are what this predictor was made from.

        All weights are compared, by a digest, which takes about as long as one step of a sequence: a change
        through `.data` or a NumPy view leaves no other trace.
        """
        if [each.data_ptr() for each in tensors] != self._addresses:
            return False
        if self.library.kernel(FLOAT32) != self._kernel:
            return False
        return bool(self.library.predictor_holds(self.handle, self._network))

    def outputs(self, values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the outputs for N sequences.

        Args:
            values: The steps of all sequences one after another, (S, F), uint8 or float32.
            lengths: (N,) numbers of steps, at least 1 each, which add up to S.

        Returns:
            (N, M).
        """
        values = np.ascontiguousarray(values)
        lengths = _single_length(int(lengths[0])) if len(lengths) == 1 else np.ascontiguousarray(lengths)
        result = np.empty((len(lengths), self.form.outputs), np.float32)
        # A structure of addresses: the arrays are referenced here until the call returns.
        call = _PREDICTION.pack(
            len(lengths),
            address(lengths),
            address(values),
            values.dtype == np.uint8,
            torch.get_num_threads(),
            address(result),
        )
        code = self.library.predict(self.handle, call)
        if code:
            self.library.check(code)
        return result


def address(array: NDArray[Any]) -> int:
    """Return the address of an array's data. `array.ctypes.data` takes several times as long."""
    result: int = array.__array_interface__["data"][0]
    return result


@lru_cache(maxsize=64)
def _single_length(length: int) -> NDArray[np.int64]:
    return np.array([length], np.int64)
