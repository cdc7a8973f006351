"""The format of NumPy's arrays, read without NumPy's own reader: that one parses a header as Python.

Source: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError

MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES, _MOST_DIMENSIONS = 10_000, 32
_CHUNK_BYTES = 2**22
_DESCR, _ORDER = r"'descr': (?P<descr>'[^'\\]*'|\[.*\]|\(.*\))", r"'fortran_order': (?P<order>True|False)"
_SHAPE = r"'shape': \((?P<shape>(?:\d{1,19}L?, ?)*(?:\d{1,19}L?)?)\)"
_PART = re.compile(rf"(?:{_DESCR}|{_ORDER}|{_SHAPE})(?:, *|$)")
# Numbers, flags and text; a V is a structure or nothing, M and m are times.
_PLAIN = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU]\d{1,6}|V\d{1,6})")
_TIMES = re.compile(r"[<>|=]?[mM]8(?:\[\d{0,6}[a-zA-Z]{1,2}\])?")


@dataclass(frozen=True)
class Header:
    """What an array's header says. start: where the values begin, in bytes."""

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many bytes the values take."""
        return self.count * self.dtype.itemsize


def read_header(file: IO[bytes], name: str) -> Header:
    """The header at the beginning of `file`. name: what messages call it.

    Raises DataError if there is none, or it is of anything but numbers and text.
    """

    def fail() -> NoReturn:
        raise DataError(f"{name}: expected an array of numpy.save, found something else")

    head = file.read(len(MAGIC) + 2)
    if len(head) < len(MAGIC) + 2 or head[:-2] != MAGIC or head[-2] not in (1, 2, 3) or head[-1] != 0:
        fail()
    wide = 2 if head[-2] == 1 else 4
    length = int.from_bytes(said := file.read(wide), "little")
    if len(said) < wide or length > _MOST_HEADER_BYTES or len(text := file.read(length)) < length:
        fail()
    found = _parts(text.decode("latin-1"))
    if found is None:
        fail()
    descr, order, shape = found
    sizes = tuple(int(size.strip(" L")) for size in shape.split(",") if size.strip())
    if len(sizes) > _MOST_DIMENSIONS:
        fail()
    kind = descr[1:-1]
    if "O" in kind:
        raise DataError(
            f"{name}: expected numbers or text, found Python objects, which are never unpickled; "
            "save it with a plain dtype, sequences of different lengths padded, with their lengths"
        )
    if descr[0] != "'" or not (_PLAIN.fullmatch(kind) or _TIMES.fullmatch(kind)):
        raise DataError(f"{name}: expected numbers or text, found {descr[:60]!a}; save it with a plain dtype")
    try:
        dtype = np.dtype(kind)
    except (TypeError, ValueError):
        fail()
    return Header(dtype, order == "True", sizes, len(head) + wide + length)


def _parts(text: str) -> tuple[str, str, str] | None:
    """(descr, fortran_order, shape) as they stand in the header, or None if it is no such header."""
    whole = text.rstrip(" \n")
    if not (whole.startswith("{") and whole.endswith("}")):
        return None
    body, place = whole[1:-1].strip(" "), 0
    found: dict[str, str] = {}
    while place < len(body):
        part = _PART.match(body, place)
        if part is None or part.lastgroup is None or part.lastgroup in found:
            return None
        found[part.lastgroup] = part[part.lastgroup]
        place = part.end()
    if found.keys() != {"descr", "order", "shape"}:
        return None
    return found["descr"], found["order"], found["shape"]


def read_values(file: IO[bytes], header: Header, fail: Callable[[str], NoReturn]) -> NDArray[Any]:
    """The values that follow the header, whose size is known to be there. fail: raises what is wrong."""
    flat = np.empty(header.size, np.uint8)
    filled = 0
    while filled < header.size:
        piece = file.read(min(_CHUNK_BYTES, header.size - filled))
        if not piece:
            fail(f"is damaged (expected {header.size:,} bytes of values, found {filled:,})")
        flat[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if file.read(1):  # also what makes zipfile check the sum of all bytes
        fail(f"is damaged (expected the end after {header.size:,} bytes of values, found more)")
    if not header.size:
        return np.empty(header.shape, header.dtype)
    array: NDArray[Any] = flat.view(header.dtype)
    if header.fortran:
        return array.reshape(header.shape[::-1]).transpose()
    return array.reshape(header.shape)
