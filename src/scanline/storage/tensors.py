"""safetensors files: written with a single copy, and checked before anything in the header is trusted.

The safetensors library makes most of these checks too. It does not refuse a name that occurs twice, a header
that is larger than its tensors need, or any number of tensors.

Layout: the header's size N as a little-endian uint64, N bytes of JSON that give the dtype, the shape and the
range of bytes of every tensor, then the values, without gaps.
Source: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scanline.limits import exceeded, limit_of

_SIZE_BYTES = 8
_ALIGNMENT = 8  # the values begin at a multiple of this: spaces fill up the header
_ENTRY_BYTES = 1024  # of the header for one tensor, at most on average: names of nested modules are long
_MAX_DIMENSIONS = 32
# Bytes of one value. Types of less than a byte are not supported.
_ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1},
}


def read_tensor_file(path: Path) -> bytes:
    """Return the bytes of a safetensors file with a valid header.

    The bytes are a copy: a later change of the file does not bypass the checks.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a valid safetensors file, or too large; the text says why.
    """
    if path.exists() and not path.is_file():
        raise ValueError("expected a regular file, found something else")
    size = path.stat().st_size
    # Checked before reading, so that the file cannot exhaust memory.
    if size > limit_of("MODEL_BYTES"):
        raise ValueError(exceeded("MODEL_BYTES", size))
    with open(path, "rb") as file:
        head = file.read(_SIZE_BYTES)
        length = _header_length(head, size)
        header = file.read(length)
        _check_header(header, size - _SIZE_BYTES - length)
        return b"".join((head, header, file.read(size - _SIZE_BYTES - length)))


def pack_tensors(tensors: dict[str, Tensor]) -> bytes:
    """Return float32 tensors as the bytes of a safetensors file.

    The bytes equal those of `safetensors.torch.save`, which copies the values four times; training waits
    while a checkpoint is packed.

    Raises:
        TypeError: If a tensor is not float32; names it.
    """
    entries: dict[str, Any] = {}
    values, place = [], 0
    # Sorted by name, so that equal tensors give equal bytes and digests.
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name}: expected float32, found {tensor.dtype}")
        end = place + tensor.nbytes
        entries[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, end]}
        values.append(tensor.detach().cpu().contiguous().numpy())
        place = end
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    # The one copy of the values is made by join.
    return b"".join((len(header).to_bytes(_SIZE_BYTES, "little"), header, *(each.data for each in values)))


def check_tensors(content: bytes) -> None:
    """Check that `content` is a safetensors file with a valid header.

    Raises:
        ValueError: If it is not; the text says why.
    """
    length = _header_length(content[:_SIZE_BYTES], len(content))
    _check_header(content[_SIZE_BYTES : _SIZE_BYTES + length], len(content) - _SIZE_BYTES - length)


def _header_length(head: bytes, size: int) -> int:
    length = int.from_bytes(head, "little")
    if len(head) < _SIZE_BYTES or length > size - _SIZE_BYTES:
        raise ValueError(f"expected a header of {length:,} bytes, found {max(0, size - _SIZE_BYTES):,}")
    if length > limit_of("TENSORS") * _ENTRY_BYTES:
        raise ValueError(
            f"expected a header of at most {limit_of('TENSORS') * _ENTRY_BYTES:,} bytes, found more"
        )
    return length


def _check_header(header: bytes, value_bytes: int) -> None:
    """Check the header of a file with `value_bytes` bytes after it."""
    # Counted in the bytes, before the parsed header takes memory.
    if header.count(b'"dtype"') > limit_of("TENSORS"):
        raise ValueError(exceeded("TENSORS", header.count(b'"dtype"')))
    try:
        tree = json.loads(header.decode(), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("expected a header of two levels, found more") from None
    if not isinstance(tree, dict):
        raise ValueError("expected a header that is a JSON object, found something else")
    metadata = tree.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("expected __metadata__ to contain texts, found something else")
    if len(tree) > limit_of("TENSORS"):
        raise ValueError(exceeded("TENSORS", len(tree)))
    # The ranges must cover the values exactly: no overlap, no gap, nothing beyond the end.
    place = 0
    for (begin, end), name in sorted((_byte_range(name, entry), name) for name, entry in tree.items()):
        if begin != place:
            raise ValueError(f"{name[:80]!r}: expected bytes from {place:,} on, found {begin:,}")
        place = end
    if place != value_bytes:
        raise ValueError(f"expected {place:,} bytes of values, found {value_bytes:,}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two equal keys; another reader may keep the first and see other weights.
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("expected different names, found one twice")
    return made


def _byte_range(name: str, entry: Any) -> tuple[int, int]:
    """Return where the bytes of a tensor begin and end, counted from the end of the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name[:80]!r}: expected dtype, shape and data_offsets, found something else")
    shape, offsets, item_bytes = entry["shape"], entry["data_offsets"], None
    if isinstance(entry["dtype"], str):
        item_bytes = _ITEM_BYTES.get(entry["dtype"])
    if item_bytes is None or not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"{name[:80]!r}: expected a known dtype, a shape and two offsets, found others")
    begin, end = offsets
    size = math.prod(shape) * item_bytes
    if size != end - begin:
        raise ValueError(f"{name[:80]!r}: expected {size:,} bytes of values, found {end - begin:,}")
    return begin, end


def _are_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MAX_DIMENSIONS
        # type() instead of isinstance: bool is a subclass of int. Offsets must fit into int64.
        and all(type(each) is int and 0 <= each < 2**63 for each in value)
    )
