"""A library in another process: under an emulator of another processor, or under a checker of memory.

csrc/remote.cpp is that process. Here the C functions that `Library` calls are replaced by ones that send
their arguments there, with the memory that these point to, and put back what the call wrote.
"""

from __future__ import annotations

import ctypes
import shlex
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from scanline.kernels.library import ABI, Backward, Forward, Layer, Library

# In the order in which csrc/remote.cpp numbers them.
LAYOUT, ERROR, KERNEL, IN_USE, USE, FORM, PACKED_BYTES, ACTIVATE, FORWARD, BACKWARD = range(10)
POINTERS = 24  # where a frame's two pointers stand, after three numbers
TEXT_BYTES = 128


class Memory(NamedTuple):
    """What a pointer leads to; its own place is in bytes from the start of the frame."""

    place: int
    address: int
    bytes: int
    sent: bool
    returned: bool


class Remote(Library):
    """Speaks to the process that `command` starts. Raises RuntimeError once that has ended."""

    def __init__(self, command: str) -> None:
        self.path = Path(command)
        self.parallel = "own"
        self._off = set()
        self._process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        theirs = self._filled(LAYOUT, 4)
        ours = (ABI, ctypes.sizeof(Layer), ctypes.sizeof(Forward), ctypes.sizeof(Backward))
        if theirs != ours:
            raise RuntimeError(f"{command} speaks another version of the interface: {theirs}, not {ours}")
        self._error = lambda code: self._text(ERROR, code)
        self._nth_kernel = lambda precision, index: self._text(KERNEL, precision, index)
        self._in_use = lambda precision: self._text(IN_USE, precision)
        self._packed_bytes = lambda *sizes: self._plain(PACKED_BYTES, sizes)
        self.forward = lambda call: self._call(FORWARD, bytes(call._obj), self._of_forward(call._obj))
        self.backward = lambda call: self._call(BACKWARD, bytes(call._obj), self._of_backward(call._obj))

    def close(self) -> None:
        """Lets the process end. Raises RuntimeError if it found fault with itself."""
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
        if code := self._process.wait():
            raise RuntimeError(f"{self.path} ended with exit code {code}")
