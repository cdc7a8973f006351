"""safetensors files: written in one copy, and what one says of itself checked before any of it is believed.

The library checks most of this too. What it does not: that no name stands there twice, that a header is no
larger than its tensors need, and how many there are.
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

_HEADER_BYTES = 8
_ALIGNMENT = 8
_ENTRY_BYTES = 1024  # of the header, for a tensor: names of modules in modules are long
# Bytes of a number. Of less than a byte there are none here.
_SIZES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1},
}


def read_tensor_file(path: Path) -> bytes:
    """The bytes of the safetensors file `path`, whose header is sound. They are ours: who changes the file
    later changes nothing that was checked.

    Raises OSError if it cannot be read, ValueError saying what is wrong with it.
    """
    if path.exists() and not path.is_file():
        raise ValueError("expected a file, found something that is none")
    size = path.stat().st_size
    if size > limit_of("MODEL_BYTES"):
        raise ValueError(exceeded("MODEL_BYTES", size))
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
        length = _header_length(head, size)
        header = file.read(length)
        _check(header, size - _HEADER_BYTES - length)
        return b"".join((head, header, file.read(size - _HEADER_BYTES - length)))


def pack_tensors(tensors: dict[str, Tensor]) -> bytes:
    """Float32 tensors as the bytes of a safetensors file, which later changes to them do not touch.

    To the byte what the library's `save` gives, which copies four times what this copies once: training waits
    while a checkpoint is packed.
    """
    header: dict[str, Any] = {}
    values, place = [], 0
    for name, tensor in sorted(tensors.items()):
        if tensor.dtype != torch.float32:
            raise TypeError(f"{name}: expected float32, found {tensor.dtype}")
        end = place + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, end]}
        values.append(tensor.detach().cpu().contiguous().numpy())
        place = end
    said = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    said += b" " * (-len(said) % _ALIGNMENT)
    return b"".join((len(said).to_bytes(_HEADER_BYTES, "little"), said, *(each.data for each in values)))


def check_tensors(content: bytes) -> None:
    """Raises ValueError unless `content` is a safetensors file with a sound header."""
    length = _header_length(content[:_HEADER_BYTES], len(content))
    _check(content[_HEADER_BYTES : _HEADER_BYTES + length], len(content) - _HEADER_BYTES - length)


def _header_length(head: bytes, size: int) -> int:
    length = int.from_bytes(head, "little")
    if len(head) < _HEADER_BYTES or length > size - _HEADER_BYTES:
        raise ValueError(f"expected a header of {length:,} bytes, found {max(0, size - _HEADER_BYTES):,}")
    if length > limit_of("TENSORS") * _ENTRY_BYTES:
        raise ValueError(
            f"expected a header of at most {limit_of('TENSORS') * _ENTRY_BYTES:,} bytes, found more"
        )
    return length


def _check(header: bytes, data: int) -> None:
    """data: how many bytes there are after the header."""
    if header.count(b'"dtype"') > limit_of("TENSORS"):  # before anything is made of it
        raise ValueError(exceeded("TENSORS", header.count(b'"dtype"')))
    try:
        tree = json.loads(header.decode(), object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("expected a header of two levels, found more") from None
    if not isinstance(tree, dict):
        raise ValueError("expected a header that is a JSON object, found something else")
    about = tree.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError("expected __metadata__ to be texts, found something else")
    if len(tree) > limit_of("TENSORS"):
        raise ValueError(exceeded("TENSORS", len(tree)))
    place = 0
    for (begin, end), name in sorted((_place(name, entry), name) for name, entry in tree.items()):
        if begin != place:
            raise ValueError(f"{name[:80]!r}: expected bytes from {place:,} on, found {begin:,}")
        place = end
    if place != data:
        raise ValueError(f"expected {place:,} bytes of values, found {data:,}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("expected every name once, found one twice")
    return found


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where the bytes of a tensor begin and end."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name[:80]!r}: expected dtype, shape and data_offsets, found something else")
    shape, offsets, width = entry["shape"], entry["data_offsets"], None
    if isinstance(entry["dtype"], str):
        width = _SIZES.get(entry["dtype"])
    if width is None or not (_counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise ValueError(f"{name[:80]!r}: expected a type, a shape and two places, found something else")
    begin, end = offsets
    if math.prod(shape) * width != end - begin:
        raise ValueError(
            f"{name[:80]!r}: expected {math.prod(shape) * width:,} bytes of values, found {end - begin:,}"
        )
    return begin, end


def _counts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 32
        and all(type(each) is int and 0 <= each < 2**63 for each in value)
    )
