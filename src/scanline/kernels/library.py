"""Find and load the native library, and choose its kernels.

A missing library is not an error: `load()` returns None then, and `why_absent()` the reason.

Environment variables, read once:

- SCANLINE_KERNEL: comma-separated kernels that may run ("avx512", "avx2", "neon" or "portable" for float32,
  "avx512-bf16" for bfloat16, which is otherwise computed as float32), or "none" to disable the library.
- SCANLINE_LIBRARY: path of another build of the library.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import scanline.kernels
from scanline.errors import UsageError
from scanline.kernels import openmp
from scanline.kernels.abi import (
    ABI,
    ADAM,
    ADAM_WEIGHTS,
    ALIGNMENT,
    BFLOAT16,
    CELLS,
    FLOAT32,
    OUT_OF_MEMORY,
    PRECISIONS,
    Backward,
    Forward,
    Layer,
    integer,
    pointer,
    size,
)
from scanline.kernels.waiting import spins_for_long

__all__ = [
    "ABI",
    "BFLOAT16",
    "CELLS",
    "FLOAT32",
    "LARGE_BYTES",
    "PRECISIONS",
    "AdamArrays",
    "Backward",
    "Forward",
    "Layer",
    "Library",
    "load",
    "why_absent",
]

NAMES = ("libscanline.so", "libscanline.dylib")
_NUMPY = {torch.float32: np.float32, torch.uint8: np.uint8}
# VML_HA | VML_FTZDAZ_OFF | VML_ERRMODE_IGNORE of mkl_vml_defines.h, as torch calls it.
_ROOTS_MODE = 0x2 | 0x140000 | 0x100
LARGE_BYTES = 1 << 20  # smaller tensors are allocated by torch
# Made once: a class made at every training step would be garbage that only the collector of cycles frees.
_Form = ctypes.c_int64 * 3


class AdamArrays(NamedTuple):
    """One array of trained weights.

    Attributes:
        weight: The weights.
        gradient: Their gradient.
        mean: Running mean of the gradient, torch's `exp_avg`.
        square: Running mean of its square, torch's `exp_avg_sq`.
    """

    weight: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor


class Library:
    """The loaded library.

    Args:
        path: File of the library.

    Attributes:
        path: File of the library.
        forward: The C function scanline_run_forward: takes `Forward` structures, one after the other, and
            their number, 1 or 2; returns a code.
        backward: scanline_run_backward, with `Backward` structures.
        predictor_new, predictor_holds, predictor_free, predict, predict_stream: Functions of predictors,
            called by `kernels.predictor`.
        parallel: Whose threads compute: "torch's OpenMP" or "own".

    Raises:
        OSError: If the file cannot be loaded or has another version of the interface.
        AttributeError: If the file lacks a function.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._off: set[int] = set()
        self._computes: dict[int, bool] = {}  # by precision; cleared when another kernel is chosen
        library = ctypes.CDLL(str(path))
        if library.scanline_abi() != ABI:
            raise OSError(f"expected version {ABI} of the interface, got {library.scanline_abi()}")
        # The default result type of ctypes is a C int, which would truncate addresses.
        self._error = library.scanline_error
        self._error.restype = ctypes.c_char_p
        self._nth_kernel = library.scanline_kernel
        self._nth_kernel.restype = ctypes.c_char_p
        self._in_use = library.scanline_kernel_in_use
        self._in_use.restype = ctypes.c_char_p
        self._use = library.scanline_use_kernel
        self._use.argtypes = (integer, ctypes.c_char_p)
        self._form = library.scanline_reserve_form
        self._packed_bytes = library.scanline_packed_bytes
        self._packed_bytes.restype = ctypes.c_size_t
        self._packed_bytes.argtypes = (integer, integer, size, size, size)
        self._pack = library.scanline_pack
        self._take = library.scanline_take
        self._take.restype = pointer
        self._take.argtypes = (ctypes.c_size_t,)
        self._give = library.scanline_give
        self._give.restype = None
        self._give.argtypes = (pointer,)
        self.predictor_new = library.scanline_predictor_new
        self.predictor_holds = library.scanline_predictor_holds
        self.predictor_free = library.scanline_predictor_free
        self.predictor_free.restype = None
        self.predict = library.scanline_predict
        self.predict_stream = library.scanline_predict_stream
        self._activate = library.scanline_activate
        self._activate.argtypes = (integer, pointer, pointer, size)
        self._adam_update = library.scanline_adam_update
        self._adam_update.argtypes = (ctypes.c_char_p, ctypes.c_char_p, size)
        self._roots = _square_roots_of_torch()
        self._peak = library.scanline_peak
        self._peak.argtypes = (integer, integer, size, ctypes.c_double, pointer)
        self.forward: Callable[[Any, int], int] = library.scanline_run_forward
        self.backward: Callable[[Any, int], int] = library.scanline_run_backward
        # Before the first computation, as the library uses its own threads otherwise. Those wait actively
        # only while no other program needs the core; beside threads of torch that wait actively for
        # milliseconds after each operation, they would lack cores even on a quiet machine.
        library.scanline_use_parallel.argtypes = (pointer,)
        parallel = openmp.parallel_function() if spins_for_long() else None
        if parallel is not None:
            library.scanline_use_parallel(parallel)
        self.parallel = "torch's OpenMP" if parallel is not None else "own"

    def kernels(self, precision: int) -> list[str]:
        """Return the kernels that this processor can run, best first."""
        names: list[str] = []
        while (name := self._nth_kernel(precision, len(names))) is not None:
            names.append(name.decode())
        return names

    def kernel(self, precision: int) -> str | None:
        """Return the kernel in use; None if the processor has none for `precision` or it is turned off."""
        name = None if precision in self._off else self._in_use(precision)
        return None if name is None else name.decode()

    def computes(self, precision: int) -> bool:
        """Return whether a kernel for `precision` is in use."""
        known = self._computes.get(precision)
        if known is None:
            known = self._computes[precision] = self.kernel(precision) is not None
        return known

    def use(self, precision: int, kernel: str | None) -> None:
        """Use `kernel` from now on.

        Args:
            precision: FLOAT32 or BFLOAT16.
            kernel: Name of a kernel; None for the best.

        Raises:
            ValueError: If the processor cannot run it; names the kernels that it can run.
        """
        self._off.discard(precision)
        self._computes.clear()
        if self._use(precision, None if kernel is None else kernel.encode()):
            raise ValueError(
                f"this processor runs {', '.join(self.kernels(precision)) or 'none'}, not {kernel}"
            )

    def leave_out(self, precision: int) -> None:
        """Use no kernel for `precision` until `use` is called."""
        self._off.add(precision)
        self._computes.clear()

    def check(self, code: int) -> None:
        """Raise the error that a function's return code stands for.

        Raises:
            MemoryError: If there was not enough memory.
            RuntimeError: For any other code but 0, with the library's description.
        """
        if code == OUT_OF_MEMORY:
            raise MemoryError("not enough memory for a recurrent layer")
        if code:
            raise RuntimeError(f"native library: {self._error(code).decode()}")

    def reserve_bytes(self, cell: int, precision: int, sequences: Any, steps: Any, units: Any) -> Any:
        """Return the bytes that a forward pass keeps for its backward pass; sizes may be torch's symbols."""
        # Bytes before the first block, units in a block, bytes of a block. Plain arithmetic on them works
        # for symbolic sizes, too, with which the library itself could not compute.
        form = _Form()
        self.check(self._form(cell, precision, form))
        header, width, block = form
        return header + sequences * steps * ((units + width - 1) // width) * block

    def packed_bytes(self, layer: Layer) -> int:
        """Return the size of packed weights of a layer in bytes."""
        sizes = (layer.features, layer.units, layer.projection)
        return int(self._packed_bytes(layer.cell, layer.precision, *sizes))

    def pack(self, layer: Layer) -> ctypes.Array[ctypes.c_char]:
        """Return the weights of `layer` in the order in which the kernel in use reads them.

        Its address is `ctypes.addressof(block)`, a multiple of ALIGNMENT, valid as long as the block is
        referenced.
        """
        length = self.packed_bytes(layer)
        buffer = ctypes.create_string_buffer(length + ALIGNMENT)
        # from_buffer keeps a reference to `buffer`.
        block = (ctypes.c_char * length).from_buffer(buffer, -ctypes.addressof(buffer) % ALIGNMENT)
        self.check(self._pack(ctypes.byref(layer), block))
        return block

    def empty(self, like: Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return an uninitialised tensor in main memory.

        Large ones come from memory that the library keeps and reuses: fresh pages would be cleared by the
        system at every training step.

        Args:
            like: A tensor on the CPU. The library writes to the new one, whose device must not follow torch's
                default; `new_empty` says so in less time than `torch.empty` with a device.
            shape: Its sizes.
            dtype: Its dtype; never torch's default.
        """
        count = 1
        for length in shape:
            count *= length
        length = count * dtype.itemsize
        if length < LARGE_BYTES:
            # Naming a dtype, even the same one, takes as long as the allocation.
            return like.new_empty(*shape) if dtype is like.dtype else like.new_empty(shape, dtype=dtype)
        address = self._take(length)
        if address is None:
            raise MemoryError(f"not enough memory for a recurrent layer: {length:,} bytes")
        # Not a ctypes string buffer: `from_address` neither copies nor clears the memory.
        block = (ctypes.c_char * length).from_address(address)
        # The tensor references the block; when the block is collected, its memory returns to the library.
        # Not at exit, when other threads may still use it.
        weakref.finalize(block, self._give, address).atexit = False
        # By way of NumPy, as `torch.frombuffer(...).view(shape)` were a view, which autograd does not let
        # callers change or detach in place.
        return torch.from_numpy(np.ndarray(shape, _NUMPY[dtype], block))  # type: ignore[arg-type]

    def activate(self, function: str, values: Tensor) -> Tensor:
        """Return sigmoid or tanh of contiguous float32 `values`, as the float32 kernel computes it."""
        result = torch.empty_like(values)
        tanh = int(function == "tanh")
        self.check(self._activate(tanh, values.data_ptr(), result.data_ptr(), values.numel()))
        return result

    def adam_update(self, step: Sequence[float], threads: int, arrays: Sequence[AdamArrays]) -> None:
        """Make one step of Adam, with the bits of `torch.optim.Adam(foreach=True)`.

        Args:
            step: The numbers of the step, in the order of `Adam`.
            threads: The most threads to use.
            arrays: All of float32, contiguous and on the CPU; updated in place.
        """
        fields = [
            field
            for weight, gradient, mean, square in arrays
            for field in (
                weight.data_ptr(), gradient.data_ptr(), mean.data_ptr(), square.data_ptr(), weight.numel()
            )
        ]  # fmt: skip
        packed = struct.pack(ADAM_WEIGHTS * len(arrays), *fields)
        numbers = ADAM.pack(*step, threads, self._roots, _ROOTS_MODE)
        self.check(self._adam_update(numbers, packed, len(arrays)))

    def peak(self, precision: int, threads: int, block_bytes: int = 0, seconds: float = 0.01) -> float:
        """Measure a limit of the processor, which no computation on its vector units exceeds.

        Args:
            precision: FLOAT32 or BFLOAT16; the kernel in use for it computes.
            threads: Number of threads that run at once.
            block_bytes: 0 measures multiply-adds in registers; otherwise each thread loads its own block of
                this size again and again.
            seconds: About how long it takes, above 0 and at most 60.

        Returns:
            Floating-point operations or bytes a second, of all threads together.
        """
        rate = ctypes.c_double()
        self.check(self._peak(precision, threads, block_bytes, seconds, ctypes.addressof(rate)))
        return rate.value


def _square_roots_of_torch() -> int:
    """Return the address of MKL's square root in torch, which torch's Adam calls; 0 if torch has none.

    Its results differ from the correctly rounded ones in the last bit.
    """
    try:
        return ctypes.cast(openmp.torch_library().vmsSqrt, pointer).value or 0
    except (OSError, AttributeError):
        return 0


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
    """Return the library, or None and the reason."""
    # Cached for the process: kernels are chosen once, and every model computes with the same ones.
    requested = os.environ.get("SCANLINE_KERNEL", "")
    if requested == "none":
        return None, "SCANLINE_KERNEL=none"
    # The search comes after the check for "none", so that a broken library can be switched off.
    path = _find()
    if path is None:
        return None, "it was not built when Scanline was installed"
    try:
        library = Library(path)
    except (OSError, AttributeError) as error:
        # A library that was named must work; the installed one may be of another platform.
        if "SCANLINE_LIBRARY" in os.environ:
            raise UsageError(f"SCANLINE_LIBRARY={path} cannot be loaded: {error}") from error
        return None, f"{path} cannot be loaded: {error}"
    if requested:
        _restrict(library, requested.split(","))
    return library, ""


def _restrict(library: Library, requested: list[str]) -> None:
    # Only kernels that this processor can run; an illegal instruction would end the process.
    known = {name: code for code in PRECISIONS.values() for name in library.kernels(code)}
    for kernel in requested:
        if kernel not in known:
            raise UsageError(f"SCANLINE_KERNEL={kernel}: this processor runs {', '.join(known)}, or none")
        library.use(known[kernel], kernel)
    if BFLOAT16 not in {known[kernel] for kernel in requested}:
        library.leave_out(BFLOAT16)


def load() -> Library | None:
    """Return the native library, or None if there is none.

    Raises:
        UsageError: If the environment asks for a library or kernel that cannot be used.
    """
    return _loaded()[0]


def why_absent() -> str:
    """Return why `load()` returns None, in a few words; empty if it does not."""
    return _loaded()[1]
