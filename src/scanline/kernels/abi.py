"""The C interface of the native library, csrc/scanline.h, as ctypes structures.

Field order and types must equal the header's. The library never keeps a pointer after a call returns, unless
stated; whoever fills a structure keeps the memory alive until then.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

ABI = 6
FLOAT32, BFLOAT16 = 0, 1
PRECISIONS = {"float32": FLOAT32, "bfloat16": BFLOAT16}
# By `Cell.native_operator`.
CELLS = {"lstm": 0, "gru": 1, "rnn_tanh": 2, "rnn_relu": 3, "lstm_projected": 4}
ALIGNMENT = 64  # bytes; packed weights start at a multiple of it
# Exit codes of the library's functions; any other is an error that scanline_error describes.
OK, OUT_OF_MEMORY = 0, 2

size, integer, pointer = ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p
number = ctypes.c_float


class Layer(ctypes.Structure):
    """`scanline_layer`: sizes, inputs and weights of one layer in one direction.

    Strides (`x_sequence`, `x_step`) count elements. Arrays are float32 and contiguous but for x, which needs
    contiguous steps only.
    """

    _fields_ = (
        *((name, size) for name in ("sequences", "steps", "features", "units", "projection")),
        ("lengths", pointer),
        *((name, integer) for name in ("reverse", "precision", "threads", "cell")),
        ("x", pointer),
        ("x_sequence", size),
        ("x_step", size),
        *(
            (name, pointer)
            for name in ("h0", "c0", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        ),
    )


class Forward(ctypes.Structure):
    """`scanline_forward`: a layer, the outputs, the last states and what the backward pass needs."""

    _fields_ = (
        ("layer", Layer),
        ("packed", pointer),
        ("y", pointer),
        ("y_sequence", size),
        ("y_step", size),
        *((name, pointer) for name in ("hn", "cn", "reserve")),
    )


class Backward(ctypes.Structure):
    """`scanline_backward`: a layer, what the forward pass kept, and the gradients. NULL: not wanted."""

    _fields_ = (
        ("layer", Layer),
        ("y", pointer),
        ("y_sequence", size),
        ("y_step", size),
        ("reserve", pointer),
        ("dy", pointer),
        ("dy_sequence", size),
        ("dy_step", size),
        *((name, pointer) for name in ("dhn", "dcn", "dx")),
        ("dx_sequence", size),
        ("dx_step", size),
        *((name, pointer) for name in ("dh0", "dc0", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh")),
        ("dweight_hr", pointer),
    )


class Adam(ctypes.Structure):
    """`scanline_adam`: the numbers of one step of Adam."""

    _fields_ = (
        *(
            (name, number)
            for name in (
                "gradient_scale", "mean_rate", "square_decay", "square_rate", "root_correction", "epsilon",
                "step_size",
            )
        ),
        ("threads", integer),
        ("roots", pointer),
        ("roots_mode", size),
    )  # fmt: skip


class AdamWeights(ctypes.Structure):
    """`scanline_adam_weights`: one array of trained weights, its gradient and its moments."""

    _fields_ = (
        *((name, pointer) for name in ("weight", "gradient", "mean", "square")),
        ("count", size),
    )


_CODES: dict[type, str] = {size: "q", integer: "i", pointer: "P", number: "f"}


def _format(structure: type[ctypes.Structure]) -> str:
    """Return the format of a structure's fields for `struct`, nested structures in line."""
    kinds: list[Any] = [field[1] for field in structure._fields_]
    return "".join(_format(kind) if issubclass(kind, ctypes.Structure) else _CODES[kind] for kind in kinds)


# Packed bytes take half the time of filling a ctypes structure, at every call. A NULL pointer is 0.
FORWARD, BACKWARD = struct.Struct(_format(Forward)), struct.Struct(_format(Backward))
ADAM, ADAM_WEIGHTS = struct.Struct(_format(Adam)), _format(AdamWeights)
