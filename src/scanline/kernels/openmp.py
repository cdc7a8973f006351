"""The OpenMP library on whose threads torch computes, if it is GNU's."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")


@functools.cache
def _library() -> ctypes.CDLL | None:
    if sys.platform != "linux" or "OpenMP" not in torch.__config__.parallel_info():
        return None
    folder = Path(torch.__file__).parent
    paths = [*folder.glob("lib/libgomp*.so*"), *folder.parent.glob("torch.libs/libgomp*.so*")]
    for name in (*map(str, paths), "libgomp.so.1"):
        try:  # RTLD_NOLOAD: a library that is not loaded already is not torch's
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            if library.GOMP_parallel and library.omp_set_num_threads and library.omp_get_max_threads:
                return library
        except (OSError, AttributeError):
            continue
    return None


def torch_library() -> ctypes.CDLL:
    """Return torch's own library for the CPU, which MKL is part of. Raises OSError if it is not loaded."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    return ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD)


def parallel_function() -> int | None:
    """Return the address of the function that runs work on torch's own threads, or None."""
    library = _library()
    return None if library is None else ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value


def keep_to_one_thread() -> None:
    """Compute everything that the calling thread starts on that thread alone, for as long as it lives.

    Products of matrices included, whose bits depend on the number of threads. Other threads are not affected,
    but where torch has another OpenMP than GNU's: there the whole process computes on one thread.
    """
    library = _library()
    if library is None:
        torch.set_num_threads(1)
        return
    torch.get_num_threads()  # torch sets its own number at its first call in a thread
    library.omp_set_num_threads(1)
    if torch.backends.mkl.is_available():
        with contextlib.suppress(OSError, AttributeError):
            torch_library().MKL_Set_Num_Threads_Local(1)


def on_one_thread(function: Callable[[], Result]) -> Result:
    """Return what `function` returns, computed on one thread; see `keep_to_one_thread`."""
    with ThreadPoolExecutor(1, initializer=keep_to_one_thread) as pool:
        return pool.submit(function).result()


@contextlib.contextmanager
def one_thread() -> Iterator[Callable[..., None]]:
    """Compute torch's operations on the calling thread alone, but for products of matrices.

    torch divides even operations on a few hundred numbers among its threads, which then wait for each other:
    in the training step of a small batch that takes longer than the operations, and beside another busy
    program many times as long. Not `torch.set_num_threads`, which other threads of the program see, too.

    Yields:
        A function that returns to all threads before the block ends; it takes any arguments and ignores them,
        so that it can be a hook.
    """
    library = _library()
    threads = 1 if library is None else library.omp_get_max_threads()

    def all_threads(*_: object) -> None:
        if library is not None:
            library.omp_set_num_threads(threads)

    if library is not None:
        library.omp_set_num_threads(1)
    try:
        yield all_threads
    finally:
        all_threads()
