"""Pieces of files: arrays, archives, compressed streams, weights."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile import small

MIB, GIB = 2**20, 2**30


def npy(array: Any, **options: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array), **options)
    return content.getvalue()


def npy_header(text: str, values: bytes = b"", version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + values


def npy_of(descr: str, shape: str = "(2, 2)", values: bytes = bytes(32)) -> bytes:
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", values)


X, Y = npy(np.zeros((4, 3), np.float32)), npy(np.array([0, 1, 0, 1]))


def put(name: str, content: bytes) -> Callable[[Path], Path]:
    """Writes a file of that name."""

    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return write


def put_npy(x: bytes, y: bytes = Y) -> Callable[[Path], Path]:
    """X.npy and y.npy."""

    def write(folder: Path) -> Path:
        put("y.npy", y)(folder)
        return put("X.npy", x)(folder)

    return write


def put_zip(name: str, members: list[tuple[Any, bytes]], edit: Any = None) -> Callable[[Path], Path]:
    """An archive. edit: changes its bytes."""

    def write(folder: Path) -> Path:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in members:
                archive.writestr(member, data)
        whole = content.getvalue()
        return put(name, edit(whole) if edit else whole)(folder)

    return write


def linked(name: str) -> zipfile.ZipInfo:
    """A member that is a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def deflated(block: bytes, times: int, before: bytes = b"") -> bytes:
    """A deflate stream of `before` and of `block` so many times, made at the price of one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + one * times + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def gzipped(block: bytes, times: int, before: bytes = b"") -> bytes:
    """The same as a gzip file. A long one has a wrong checksum, which can be noticed only at its end."""
    size = (len(before) + len(block) * times) % 2**32
    right = zlib.crc32(before + block * times) if times < 2 else 0
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(block, times, before) + struct.pack("<II", right, size)


def bomb_member(
    name: str, head: bytes, size_claimed: int | None = None, packed_size_claimed: int | None = None
) -> bytes:
    """An archive of X of 1 GiB and of y; the other arguments are sizes that its directory claims."""
    stream = deflated(bytes(MIB), 1024, head)
    size = size_claimed if size_claimed is not None else GIB + len(head)
    packed = packed_size_claimed if packed_size_claimed is not None else len(stream)
    small_member = deflated(Y, 1)
    members = [(name.encode(), stream, size, packed), (b"y.npy", small_member, len(Y), len(small_member))]
    content, directory = b"", b""
    for title, data, unpacked_size, packed_size in members:
        about = struct.pack(
            "<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, min(packed_size, 2**32 - 1), min(unpacked_size, 2**32 - 1),
            len(title), 0,
        )  # fmt: skip
        extra = b""
        if max(unpacked_size, packed_size) >= 2**32 - 1:
            sizes = [value for value in (unpacked_size, packed_size) if value >= 2**32 - 1]
            extra = struct.pack("<HH", 1, 8 * len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        place = len(content)
        content += b"PK\x03\x04" + about + title + data
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 20)
            + about[:-2]
            + struct.pack("<HHHHII", len(extra), 0, 0, 0, 0, place)
            + title
            + extra
        )
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(content), 0)
    return content + directory + b"PK\x05\x06" + end


HUGE = b"\x93NUMPY" + npy_of("'<f4'", "(268435456, 1)", b"")[6:]


def with_flag(whole: bytes, flag: int) -> bytes:
    return edited(whole, 6, 8, flag)


def with_method(whole: bytes, method: int) -> bytes:
    return edited(whole, 8, 10, method)


def sparse(name: str, before: bytes, size: int) -> Callable[[Path], Path]:
    """A file that begins so and has zeros up to its size, which take no room on the disk."""

    def write(folder: Path) -> Path:
        path = put(name, before)(folder)
        os.truncate(path, size)
        return path

    return write


def edited(whole: bytes, local: int, central: int, value: int) -> bytes:
    content = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        content[content.index(mark) + offset] = value
    return bytes(content)


def tensors(header: Any, data: bytes = b"", pad: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file. header: an object, or text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += pad
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def replaced(name: str, content: bytes) -> Callable[[Path], Path]:
    """A bundle of which one file is another."""

    def write(folder: Path) -> Path:
        small.save_bundle(folder / "model")
        put(name, content)(folder / "model")
        return folder / "model"

    return write


def swapped(name: str, make: Callable[[Path], None], save: Any = None) -> Callable[[Path], Path]:
    """A bundle, or a checkpoint, of which one file is none."""

    def write(folder: Path) -> Path:
        home = (save or small.save_bundle)(folder / "model")
        (home / name).unlink()
        make(home / name)
        return folder / "model"

    return write


DEEP = b'{"a":' * 10**5 + b"1" + b"}" * 10**5
NESTED_LISTS = b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"
