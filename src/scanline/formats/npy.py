"""NumPy's .npy format, without NumPy's own reader, which evaluates a header as a Python expression.

Source: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError

MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES, _MAX_DIMENSIONS = 10_000, 32
_CHUNK_BYTES = 2**22
_DESCR, _ORDER = r"'descr': (?P<descr>'[^'\\]*'|\[.*\]|\(.*\))", r"'fortran_order': (?P<order>True|False)"
_SHAPE = r"'shape': \((?P<shape>(?:\d{1,19}L?, ?)*(?:\d{1,19}L?)?)\)"
_ITEM = re.compile(rf"(?:{_DESCR}|{_ORDER}|{_SHAPE})(?:, *|$)")
# Numbers, booleans and text; V is a structure or void.
_PLAIN_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SU]\d{1,6}|V\d{1,6})")
_TIME_DTYPE = re.compile(r"[<>|=]?[mM]8(?:\[\d{0,6}[a-zA-Z]{1,2}\])?")


@dataclass(frozen=True)
class Header:
    """The header of an array.

    Attributes:
        dtype: Type of the values in the file.
        fortran: Whether the values are in column-major order.
        shape: Shape of the array.
        start: Where the values begin in the file, in bytes.
    """

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Size of the values in bytes."""
        return self.count * self.dtype.itemsize


def read_header(file: IO[bytes], name: str) -> Header:
    """Read the header at the beginning of an open file.

    Args:
        file: The file.
        name: Name of the file for messages.

    Raises:
        FormatError: If there is no header, or the array contains anything but numbers and text.
    """

    def fail() -> NoReturn:
        raise FormatError(file=name, expected="an array written by numpy.save", found="something else")

    head = file.read(len(MAGIC) + 2)
    if len(head) < len(MAGIC) + 2 or head[:-2] != MAGIC or head[-2] not in (1, 2, 3) or head[-1] != 0:
        fail()
    size_bytes = 2 if head[-2] == 1 else 4
    length = int.from_bytes(stored := file.read(size_bytes), "little")
    if len(stored) < size_bytes or length > _MAX_HEADER_BYTES or len(text := file.read(length)) < length:
        fail()
    items = _items(text.decode("latin-1"))
    if items is None:
        fail()
    descr, order, shape = items
    sizes = tuple(int(size.strip(" L")) for size in shape.split(",") if size.strip())
    if len(sizes) > _MAX_DIMENSIONS:
        fail()
    return Header(_dtype(descr, name), order == "True", sizes, len(head) + size_bytes + length)


def _dtype(descr: str, name: str) -> np.dtype[Any]:
    code = descr[1:-1]
    # Object arrays are pickles, and unpickling executes code.
    if "O" in code:
        raise FormatError(
            file=name,
            expected="numbers or text",
            found="Python objects, which are never unpickled",
            remedy="save a plain dtype; pad sequences of different lengths and save their lengths",
        )
    if descr[0] != "'" or not (_PLAIN_DTYPE.fullmatch(code) or _TIME_DTYPE.fullmatch(code)):
        raise FormatError(
            file=name, expected="numbers or text", found=f"{descr[:60]!a}", remedy="save a plain dtype"
        )
    try:
        return np.dtype(code)
    except (TypeError, ValueError):
        raise FormatError(
            file=name, expected="an array written by numpy.save", found="something else"
        ) from None


def _items(text: str) -> tuple[str, str, str] | None:
    """Return (descr, fortran_order, shape) as written in a header, or None if it is not such a header."""
    dictionary = text.rstrip(" \n")
    if not (dictionary.startswith("{") and dictionary.endswith("}")):
        return None
    body, place = dictionary[1:-1].strip(" "), 0
    items: dict[str, str] = {}
    while place < len(body):
        # A strict pattern instead of ast.literal_eval, whose time and memory a hostile header could inflate.
        match = _ITEM.match(body, place)
        if match is None or match.lastgroup is None or match.lastgroup in items:
            return None
        items[match.lastgroup] = match[match.lastgroup]
        place = match.end()
    if items.keys() != {"descr", "order", "shape"}:
        return None
    return items["descr"], items["order"], items["shape"]


def read_values(file: IO[bytes], header: Header, name: str) -> NDArray[Any]:
    """Read the values that follow the header, in the shape and dtype that it declares.

    The caller has compared `header.size` with the size of the file before this takes memory.

    Args:
        file: The file, positioned after the header.
        header: The header.
        name: Name of the file for messages.

    Raises:
        FormatError: If the file has fewer or more bytes.
    """

    def fail(found: str) -> NoReturn:
        raise FormatError(file=name, expected=f"{header.size:,} bytes of values", found=found)

    # Bytes are read into the final buffer and reinterpreted, so that no second copy of the values exists.
    flat = np.empty(header.size, np.uint8)
    filled = 0
    while filled < header.size:
        chunk = file.read(min(_CHUNK_BYTES, header.size - filled))
        if not chunk:
            fail(f"{filled:,}")
        flat[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    # Reading past the end also makes zipfile verify the checksum of a member.
    if file.read(1):
        fail("more")
    if not header.size:
        return np.empty(header.shape, header.dtype)
    array: NDArray[Any] = flat.view(header.dtype)
    if header.fortran:
        # Column-major values are the C-order values of the transposed array; the transpose is a view.
        return array.reshape(header.shape[::-1]).transpose()
    return array.reshape(header.shape)
