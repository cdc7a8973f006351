"""A library in another process: under an emulator of another processor, or under a checker of memory.

csrc/remote.cpp is that process. Here the C functions that `Library` calls are replaced by ones that send
their arguments there, with the memory that these point to, and put back what the call wrote.
"""

from __future__ import annotations

import ctypes
import shlex
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.kernels.library import ABI, Backward, Forward, Layer, Library

# As csrc/remote.cpp numbers them.
LAYOUT, ERROR, KERNEL, IN_USE, USE, FORM, PACKED_BYTES, ACTIVATE, FORWARD, BACKWARD = range(10)
NUMBERS, TEXT_BYTES = 3, 128


class Memory(NamedTuple):
    """What a pointer leads to; `place` is the pointer's own, in bytes from the start of the frame."""

    place: int
    address: int
    length: int  # in bytes
    sent: bool
    returned: bool


class Remote(Library):
    """Speaks to the process that `command` starts. Raises RuntimeError once that has ended."""

    def __init__(self, command: str) -> None:
        self.path = Path(command)
        self.parallel = "own"
        self._off = set()
        self._process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        layout = (ctypes.c_int64 * 4)()
        self._call(LAYOUT, (), layout)
        if tuple(layout) != (ABI, *map(ctypes.sizeof, (Layer, Forward, Backward))):
            self.close()
            raise RuntimeError(f"{command} has another version of the interface: {tuple(layout)}")
        self.forward = lambda call: self._ask(FORWARD, bytes(call._obj), self._of_forward(call._obj))
        self.backward = lambda call: self._ask(BACKWARD, bytes(call._obj), self._of_backward(call._obj))

    def close(self) -> None:
        """Lets the process end. Raises RuntimeError where its exit code is not 0."""
        self._process.communicate()
        if self._process.returncode:
            raise self._ended()

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype)

    # The C functions, in the place of those that Library finds in a file.

    def _error(self, code: int) -> bytes | None:
        return self._text(ERROR, code)

    def _nth_kernel(self, precision: int, index: int) -> bytes | None:
        return self._text(KERNEL, precision, index)

    def _in_use(self, precision: int) -> bytes | None:
        return self._text(IN_USE, precision)

    def _use(self, precision: int, name: bytes | None) -> int:
        return self._call(USE, (precision,), None if name is None else ctypes.create_string_buffer(name))

    def _form(self, precision: int, form: Any) -> int:
        return self._call(FORM, (precision,), form)

    def _packed_bytes(self, precision: int, features: int, units: int) -> int:
        return self._call(PACKED_BYTES, (precision, features, units))

    def _activate(self, tanh: int, values: int, result: int, count: int) -> int:
        arrays = [(ctypes.c_float * count).from_address(address) for address in (values, result)]
        return self._call(ACTIVATE, (tanh, count), *arrays)

    def _text(self, function: int, *numbers: int) -> bytes | None:
        text = ctypes.create_string_buffer(TEXT_BYTES)
        return text.value if self._call(function, numbers, text) else None

    def _call(self, function: int, numbers: Sequence[int], *arrays: Any) -> int:
        """Of a function that takes no structure; what its arrays hold goes there and back."""
        frame = struct.pack(f"<{NUMBERS + 2}q", *numbers, *(0,) * (NUMBERS + 2 - len(numbers)))
        memory = [
            Memory(8 * (NUMBERS + k), ctypes.addressof(array), ctypes.sizeof(array), True, True)
            for k, array in enumerate(arrays)
            if array is not None
        ]
        return self._ask(function, frame, memory)

    def _ask(self, function: int, frame: bytes, memory: Sequence[Memory]) -> int:
        """The result of a call, with everything put back that it wrote."""
        if self._process.returncode is not None:
            raise self._ended()
        request = [struct.pack("<3q", function, len(frame), len(memory)), frame]
        for place, address, length, sent, returned in memory:
            request.append(struct.pack("<4q", place, length, sent, returned))
            if sent:
                request.append(ctypes.string_at(address, length))
        try:
            self._process.stdin.write(b"".join(request))
            self._process.stdin.flush()
            result = struct.unpack("<q", self._read(8))[0]
            for part in memory:
                if part.returned:
                    ctypes.memmove(part.address, self._read(part.length), part.length)
        except (BrokenPipeError, EOFError):
            self._process.communicate()
            raise self._ended() from None
        return result

    def _read(self, length: int) -> bytes:
        content = self._process.stdout.read(length)
        if len(content) < length:
            raise EOFError
        return content

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"{self.path} ended with exit code {self._process.returncode}")

    # What the pointers of a structure lead to.

    def _of_forward(self, call: Forward) -> list[Memory]:
        layer = call.layer
        N, F, H = layer.sequences, layer.features, layer.units
        return [
            *_of_layer(layer),
            *_lead(call, packed=self.packed_bytes(layer.precision, F, H)),
            *_rows(call, layer, "y", H, returned=True),
            *_lead(call, sent=False, returned=True, hn=4 * N * H, cn=4 * N * H),
            # Of the reserve the call writes a part only; the rest is to stay as it is.
            *_lead(call, returned=True, reserve=self._reserve_of(layer)),
        ]

    def _of_backward(self, call: Backward) -> list[Memory]:
        layer = call.layer
        N, F, H = layer.sequences, layer.features, layer.units
        weights = {"dweight_ih": 16 * H * F, "dweight_hh": 16 * H * H, "dbias": 16 * H}
        return [
            *_of_layer(layer),
            *_rows(call, layer, "y", H),
            *_rows(call, layer, "dy", H),
            *_lead(call, reserve=self._reserve_of(layer), dhn=4 * N * H, dcn=4 * N * H),
            *_rows(call, layer, "dx", F, returned=True),
            *_lead(call, sent=False, returned=True, dh0=4 * N * H, dc0=4 * N * H, **weights),
        ]

    def _reserve_of(self, layer: Layer) -> int:
        return self.reserve_bytes(layer.precision, layer.sequences, layer.steps, layer.units)


def _of_layer(layer: Layer) -> list[Memory]:
    """A layer stands at the start of either structure."""
    N, F, H = layer.sequences, layer.features, layer.units
    biases = {"bias_ih": 16 * H, "bias_hh": 16 * H}
    weights = {"weight_ih": 16 * H * F, "weight_hh": 16 * H * H}
    return [
        *_rows(layer, layer, "x", F),
        *_lead(layer, lengths=8 * N, h0=4 * N * H, c0=4 * N * H, **weights, **biases),
    ]


def _lead(
    structure: ctypes.Structure, *, sent: bool = True, returned: bool = False, **lengths: int
) -> list[Memory]:
    """By the names of pointers, how many bytes each leads to; those that are NULL are left out."""
    addresses = {name: getattr(structure, name) for name in lengths}
    return [
        Memory(getattr(type(structure), name).offset, address, lengths[name], sent, returned)
        for name, address in addresses.items()
        if address is not None
    ]


def _rows(
    structure: ctypes.Structure, layer: Layer, name: str, width: int, returned: bool = False
) -> list[Memory]:
    """A tensor (N, T, width) with strides, from its first number to its last."""
    strides = (getattr(structure, f"{name}_{axis}") for axis in ("sequence", "step"))
    sizes = (layer.sequences, layer.steps)
    extent = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + width
    gaps = extent != layer.sequences * layer.steps * width
    return _lead(structure, sent=gaps or not returned, returned=returned, **{name: 4 * extent})
