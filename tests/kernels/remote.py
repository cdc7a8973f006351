"""The native library in another process: under an emulator, valgrind or ThreadSanitizer.

That process runs csrc/tests/remote.cpp. `Remote` replaces the C functions that `Library` calls by ones that
send the arguments and the memory that they point to, and copy back what the call wrote.
"""

from __future__ import annotations

import ctypes
import functools
import shlex
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.kernels.library import ABI, CELLS, Backward, Forward, Layer, Library
from scanline.kernels.operators import OPERATORS

# Function numbers of csrc/tests/remote.cpp.
LAYOUT, ERROR, KERNEL, IN_USE, USE, FORM, PACKED_BYTES, ACTIVATE, FORWARD, BACKWARD = range(10)
NUMBERS, TEXT_BYTES = 5, 128


class Memory(NamedTuple):
    """Memory that an argument points to.

    Attributes:
        place: Offset of the pointer in the frame, in bytes.
        address: Address in this process.
        length: Length in bytes.
        sent: Whether the other process needs the content.
        returned: Whether the call writes it.
        within: Index of the memory that contains this one, or -1.
        offset: Where it starts in that memory, in bytes.
    """

    place: int
    address: int
    length: int
    sent: bool
    returned: bool
    within: int = -1
    offset: int = 0


class Remote(Library):
    """Client of the process that `command` starts. Calls raise RuntimeError after that process has ended."""

    def __init__(self, command: str) -> None:
        self.path = Path(command)
        self.parallel = "own"
        self._off = set()
        self._computes = {}
        self._process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        layout = (ctypes.c_int64 * 4)()
        self._call(LAYOUT, (), layout)
        if tuple(layout) != (ABI, *map(ctypes.sizeof, (Layer, Forward, Backward))):
            self.close()
            raise RuntimeError(
                f"{command} has a different interface version or structure size: {tuple(layout)}"
            )
        self.forward = functools.partial(self._run, FORWARD, Forward, self._forward_memory)
        self.backward = functools.partial(self._run, BACKWARD, Backward, self._backward_memory)

    def close(self) -> None:
        """End the process. Raises RuntimeError if its exit code is not 0."""
        self._process.communicate()
        if self._process.returncode:
            raise self._exit_error()

    def empty(self, like: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return like.new_empty(shape, dtype=dtype)

    # The C functions that Library would load from a file.

    def _error(self, code: int) -> bytes | None:
        return self._text(ERROR, code)

    def _nth_kernel(self, precision: int, index: int) -> bytes | None:
        return self._text(KERNEL, precision, index)

    def _in_use(self, precision: int) -> bytes | None:
        return self._text(IN_USE, precision)

    def _use(self, precision: int, name: bytes | None) -> int:
        return self._call(USE, (precision,), None if name is None else ctypes.create_string_buffer(name))

    def _form(self, cell: int, precision: int, form: Any) -> int:
        return self._call(FORM, (cell, precision), form)

    def _packed_bytes(self, cell: int, precision: int, features: int, units: int, projection: int) -> int:
        return self._call(PACKED_BYTES, (cell, precision, features, units, projection))

    def _activate(self, tanh: int, values: int, result: int, count: int) -> int:
        arrays = [(ctypes.c_float * count).from_address(address) for address in (values, result)]
        return self._call(ACTIVATE, (tanh, count), *arrays)

    def _text(self, function: int, *numbers: int) -> bytes | None:
        text = ctypes.create_string_buffer(TEXT_BYTES)
        return text.value if self._call(function, numbers, text) else None

    def _call(self, function: int, numbers: Sequence[int], *arrays: Any) -> int:
        """Call a function that takes no structure. Arrays are sent and returned."""
        frame = struct.pack(f"<{NUMBERS + 2}q", *numbers, *(0,) * (NUMBERS + 2 - len(numbers)))
        memory = [
            Memory(8 * (NUMBERS + k), ctypes.addressof(array), ctypes.sizeof(array), True, True)
            for k, array in enumerate(arrays)
            if array is not None
        ]
        return self._request(function, frame, memory)

    def _run(self, function: int, structure: Any, memory_of: Any, frame: bytes, count: int) -> int:
        """Run the calls of `frame`, `count` structures one after the other."""
        memory: list[Memory] = []
        for place in range(0, len(frame), ctypes.sizeof(structure)):
            call = structure.from_buffer_copy(frame, place)
            for block in memory_of(call):
                _add(memory, block._replace(place=block.place + place))
        return self._request(function, frame, memory, count)

    def _request(self, function: int, frame: bytes, memory: Sequence[Memory], calls: int = 1) -> int:
        """Return the result of a call, after copying back the memory that it wrote."""
        if self._process.returncode is not None:
            raise self._exit_error()
        request = [struct.pack("<4q", function, calls, len(frame), len(memory)), frame]
        for place, address, length, sent, returned, within, offset in memory:
            request.append(struct.pack("<6q", place, length, sent, returned, within, offset))
            if sent:
                request.append(ctypes.string_at(address, length))
        try:
            self._process.stdin.write(b"".join(request))
            self._process.stdin.flush()
            result = struct.unpack("<q", self._read(8))[0]
            for block in memory:
                if block.returned:
                    ctypes.memmove(block.address, self._read(block.length), block.length)
        except (BrokenPipeError, EOFError):
            self._process.communicate()
            raise self._exit_error() from None
        return result

    def _read(self, length: int) -> bytes:
        content = self._process.stdout.read(length)
        if len(content) < length:
            raise EOFError
        return content

    def _exit_error(self) -> RuntimeError:
        return RuntimeError(f"{self.path} ended with exit code {self._process.returncode}")

    # The memory that a structure's pointers refer to.

    def _forward_memory(self, call: Forward) -> list[Memory]:
        layer = call.layer
        N, H, P = layer.sequences, layer.units, layer.projection or layer.units
        return [
            *_layer_memory(layer),
            *_pointers(call, packed=self.packed_bytes(layer)),
            *_tensor(call, layer, "y", P, returned=True),
            *_pointers(call, sent=False, returned=True, hn=4 * N * P, cn=4 * N * H),
            # Sent too: the call writes only part of the reserve, and the rest must not change.
            *_pointers(call, returned=True, reserve=self._reserve_length(layer)),
        ]

    def _backward_memory(self, call: Backward) -> list[Memory]:
        layer = call.layer
        N, F, H, P = layer.sequences, layer.features, layer.units, layer.projection or layer.units
        weights = {f"d{name}": length for name, length in _weight_bytes(layer).items()}
        return [
            *_layer_memory(layer),
            *_tensor(call, layer, "y", P),
            *_tensor(call, layer, "dy", P),
            *_pointers(call, reserve=self._reserve_length(layer), dhn=4 * N * P, dcn=4 * N * H),
            *_tensor(call, layer, "dx", F, returned=True),
            *_pointers(call, sent=False, returned=True, dh0=4 * N * P, dc0=4 * N * H, **weights),
        ]

    def _reserve_length(self, layer: Layer) -> int:
        return self.reserve_bytes(layer.cell, layer.precision, layer.sequences, layer.steps, layer.units)


def _add(memory: list[Memory], block: Memory) -> None:
    """Append a block. One that overlaps an earlier one becomes part of it: directions share x, y and dx."""
    for index, other in enumerate(memory):
        offset = block.address - other.address
        if other.within < 0 and 0 <= offset < other.length:
            memory[index] = other._replace(
                length=max(other.length, offset + block.length),
                sent=other.sent or block.sent,
                returned=other.returned or block.returned,
            )
            block = block._replace(length=0, sent=False, returned=False, within=index, offset=offset)
            break
    memory.append(block)


def _gates(layer: Layer) -> int:
    """Return the number of gates of a layer's cell."""
    name = next(name for name, code in CELLS.items() if code == layer.cell)
    return len(OPERATORS[name].cell.gates)


def _weight_bytes(layer: Layer) -> dict[str, int]:
    """Return the length in bytes of each weight of a layer."""
    F, H, P = layer.features, layer.units, layer.projection or layer.units
    rows = 4 * _gates(layer) * H
    return {
        "weight_ih": rows * F, "weight_hh": rows * P, "bias_ih": rows, "bias_hh": rows, "weight_hr": 4 * P * H
    }  # fmt: skip


def _layer_memory(layer: Layer) -> list[Memory]:
    """Both structures begin with the layer, so offsets in the layer are offsets in the frame."""
    N, F, H, P = layer.sequences, layer.features, layer.units, layer.projection or layer.units
    return [
        *_tensor(layer, layer, "x", F),
        *_pointers(layer, lengths=8 * N, h0=4 * N * P, c0=4 * N * H, **_weight_bytes(layer)),
    ]


def _pointers(
    structure: ctypes.Structure, *, sent: bool = True, returned: bool = False, **lengths: int
) -> list[Memory]:
    """Memory of the named pointers, given the length of each in bytes; NULL pointers are skipped."""
    addresses = {name: getattr(structure, name) for name in lengths}
    return [
        Memory(getattr(type(structure), name).offset, address, lengths[name], sent, returned)
        for name, address in addresses.items()
        if address is not None
    ]


def _tensor(
    structure: ctypes.Structure, layer: Layer, name: str, width: int, returned: bool = False
) -> list[Memory]:
    """Memory of a strided tensor (N, T, width), from its first element to its last."""
    strides = (getattr(structure, f"{name}_{axis}") for axis in ("sequence", "step"))
    sizes = (layer.sequences, layer.steps)
    extent = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + width
    gaps = extent != layer.sequences * layer.steps * width
    return _pointers(structure, sent=gaps or not returned, returned=returned, **{name: 4 * extent})
