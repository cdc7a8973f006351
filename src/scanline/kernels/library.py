"""Finds the native library, loads it, and says which of its kernels runs.

Nothing here fails because the library is missing: `load()` is None then, and `why_absent()` says why.

Environment, read once: SCANLINE_KERNEL names the kernels that may run, with commas between ("avx512",
"avx2", "neon" or "portable" for float32, "avx512-bf16" for bfloat16, which is otherwise computed as float32),
or is "none" and leaves the library alone; SCANLINE_LIBRARY is the path of another build of it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scanline.kernels
from scanline.errors import UsageError

ABI = 1
FLOAT32, BFLOAT16 = 0, 1
PRECISIONS = {"float32": FLOAT32, "bfloat16": BFLOAT16}
NAMES = ("libscanline.so", "libscanline.dylib")
_ALIGNED = 64  # bytes, as packed weights must be
LARGE_BYTES = 1 << 20  # below, a plain allocation is as good

_size, _int, _pointer = ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p


class Layer(ctypes.Structure):
    """`scanline_layer` of csrc/scanline.h."""

    _fields_ = (
        *((name, _size) for name in ("sequences", "steps", "features", "units")),
        ("lengths", _pointer),
        *((name, _int) for name in ("reverse", "precision", "threads", "unused")),
        ("x", _pointer),
        ("x_sequence", _size),
        ("x_step", _size),
        *((name, _pointer) for name in ("h0", "c0", "weight_ih", "weight_hh", "bias_ih", "bias_hh")),
    )


class Forward(ctypes.Structure):
    """`scanline_forward` of csrc/scanline.h."""

    _fields_ = (
        ("layer", Layer),
        ("packed", _pointer),
        ("y", _pointer),
        ("y_sequence", _size),
        ("y_step", _size),
        *((name, _pointer) for name in ("hn", "cn", "reserve")),
    )


class Backward(ctypes.Structure):
    """`scanline_backward` of csrc/scanline.h."""

    _fields_ = (
        ("layer", Layer),
        ("y", _pointer),
        ("y_sequence", _size),
        ("y_step", _size),
        ("reserve", _pointer),
        ("dy", _pointer),
        ("dy_sequence", _size),
        ("dy_step", _size),
        *((name, _pointer) for name in ("dhn", "dcn", "dx")),
        ("dx_sequence", _size),
        ("dx_step", _size),
        *((name, _pointer) for name in ("dh0", "dc0", "dweight_ih", "dweight_hh", "dbias")),
    )


class Library:
    """The loaded library. Raises OSError or AttributeError where the file is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._off: set[int] = set()
        library = ctypes.CDLL(str(path))
        if library.scanline_abi() != ABI:
            raise OSError(f"it speaks version {library.scanline_abi()} of the interface, not {ABI}")
        self._error = library.scanline_error
        self._error.restype = ctypes.c_char_p
        self._nth_kernel = library.scanline_kernel
        self._nth_kernel.restype = ctypes.c_char_p
        self._in_use = library.scanline_kernel_in_use
        self._in_use.restype = ctypes.c_char_p
        self._use = library.scanline_use_kernel
        self._use.argtypes = (_int, ctypes.c_char_p)
        self._form = library.scanline_reserve_form
        self._packed_bytes = library.scanline_packed_bytes
        self._packed_bytes.restype = ctypes.c_size_t
        self._packed_bytes.argtypes = (_int, _size, _size)
        self._pack = library.scanline_pack
        self._take = library.scanline_take
        self._take.restype = _pointer
        self._take.argtypes = (ctypes.c_size_t,)
        self._give = library.scanline_give
        self._give.restype = None
        self._give.argtypes = (_pointer,)
        self._activate = library.scanline_activate
        self._activate.argtypes = (_int, _pointer, _pointer, _size)
        self.forward = library.scanline_lstm_forward
        self.backward = library.scanline_lstm_backward
        library.scanline_use_parallel.argtypes = (_pointer,)
        parallel = _openmp_of_torch()
        if parallel is not None:
            library.scanline_use_parallel(parallel)
        self.parallel = "torch's OpenMP" if parallel is not None else "own"

    def kernels(self, precision: int) -> list[str]:
        """The kernels that this processor can run, best first."""
        names: list[str] = []
        while (name := self._nth_kernel(precision, len(names))) is not None:
            names.append(name.decode())
        return names

    def kernel(self, precision: int) -> str | None:
        """The kernel in use, None where the processor has none for this precision or none was named."""
        name = None if precision in self._off else self._in_use(precision)
        return None if name is None else name.decode()

    def use(self, precision: int, kernel: str | None) -> None:
        """Runs `kernel` from now on; None is the best. Raises ValueError naming those there are."""
        self._off.discard(precision)
        if self._use(precision, None if kernel is None else kernel.encode()):
            raise ValueError(
                f"this processor runs {', '.join(self.kernels(precision)) or 'none'}, not {kernel}"
            )

    def leave_out(self, precision: int) -> None:
        """As if the processor had no kernel for `precision`, until `use`."""
        self._off.add(precision)

    def check(self, code: int) -> None:
        """Raises for a code that is not 0: MemoryError, or RuntimeError with the library's own words."""
        if code == 2:
            raise MemoryError("there is not enough memory for the LSTM")
        if code:
            raise RuntimeError(f"the native LSTM: {self._error(code).decode()}")

    def reserve_bytes(self, precision: int, sequences: Any, steps: Any, units: Any) -> Any:
        """Length of what a forward pass keeps for its backward pass; the sizes may be symbols."""
        form = (ctypes.c_int64 * 3)()
        self.check(self._form(precision, form))
        header, width, block = form
        return header + sequences * steps * ((units + width - 1) // width) * block

    def packed_bytes(self, precision: int, features: int, units: int) -> int:
        """Bytes that packed weights take."""
        return int(self._packed_bytes(precision, features, units))

    def pack(self, layer: Layer) -> ctypes.Array[ctypes.c_char]:
        """The weights of `layer` as the kernel in use reads them; whoever holds the block has its address by
        `ctypes.addressof`."""
        length = self.packed_bytes(layer.precision, layer.features, layer.units)
        room = ctypes.create_string_buffer(length + _ALIGNED)
        block = (ctypes.c_char * length).from_buffer(room, -ctypes.addressof(room) % _ALIGNED)
        self.check(self._pack(ctypes.byref(layer), block))
        return block

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of undefined content; a large one in memory that the library keeps for the next."""
        count = 1
        for size in shape:
            count *= size
        length = count * dtype.itemsize
        if length < LARGE_BYTES:
            return torch.empty(shape, dtype=dtype)
        address = self._take(length)
        if address is None:
            raise MemoryError(f"there is not enough memory for the LSTM: {length:,} bytes")
        block = (ctypes.c_char * length).from_address(address)
        # The tensor keeps the block, and with the block's end the memory goes back.
        weakref.finalize(block, self._give, address).atexit = False
        return torch.frombuffer(block, dtype=dtype).view(shape)

    def activate(self, function: str, values: Tensor) -> Tensor:
        """sigmoid or tanh as the float32 kernel computes it. values: contiguous float32."""
        result = torch.empty_like(values)
        tanh = int(function == "tanh")
        self.check(self._activate(tanh, values.data_ptr(), result.data_ptr(), values.numel()))
        return result


def _openmp_of_torch() -> int | None:
    """Address of the function that runs work on torch's own threads, None where there is none to be found.

    torch computes with the GNU OpenMP library that it brings. A second pool beside it would fight for the
    cores: its threads wait actively for a while after each of torch's operations.
    """
    if sys.platform != "linux" or "OpenMP" not in torch.__config__.parallel_info():
        return None
    beside = Path(torch.__file__).parent
    found = [*beside.glob("lib/libgomp*.so*"), *beside.parent.glob("torch.libs/libgomp*.so*")]
    for name in (*map(str, found), "libgomp.so.1"):
        try:  # what is not loaded already is not torch's
            openmp = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            return ctypes.cast(openmp.GOMP_parallel, _pointer).value
        except (OSError, AttributeError):
            continue
    return None


def _find() -> Path | None:
    if named := os.environ.get("SCANLINE_LIBRARY"):
        return Path(named)
    for folder in scanline.kernels.__path__:  # an editable install has two
        for name in NAMES:
            if (Path(folder) / name).is_file():
                return Path(folder) / name
    return None


@functools.cache
def _loaded() -> tuple[Library | None, str]:
    wanted = os.environ.get("SCANLINE_KERNEL", "")
    if wanted == "none":
        return None, "SCANLINE_KERNEL=none"
    path = _find()
    if path is None:
        return None, "it was not built when Scanline was installed"
    try:
        library = Library(path)
    except (OSError, AttributeError) as error:
        if "SCANLINE_LIBRARY" in os.environ:
            raise UsageError(f"SCANLINE_LIBRARY={path} cannot be loaded: {error}") from error
        return None, f"{path} cannot be loaded: {error}"
    if wanted:
        _restrict(library, wanted.split(","))
    return library, ""


def _restrict(library: Library, wanted: list[str]) -> None:
    known = {name: code for code in PRECISIONS.values() for name in library.kernels(code)}
    for kernel in wanted:
        if kernel not in known:
            raise UsageError(f"SCANLINE_KERNEL={kernel}: this processor runs {', '.join(known)}, or none")
        library.use(known[kernel], kernel)
    if BFLOAT16 not in {known[kernel] for kernel in wanted}:
        library.leave_out(BFLOAT16)


def load() -> Library | None:
    """The native library, or None. Raises UsageError if the environment asks for what there is not."""
    return _loaded()[0]


def why_absent() -> str:
    """Why `load()` is None, in a few words; empty if it is not."""
    return _loaded()[1]
