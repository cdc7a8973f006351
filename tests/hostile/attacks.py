"""Files made to do harm, each written when it is asked for, and what must be said of it."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scanline.storage.json_files import write_sealed_json
from tests.hostile import small

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Attack:
    """A file, or a folder of them.

    kind: who is to load it, a key of `loading.LOADERS`. error: the class of what is to be raised, or empty if
    it does no harm and is read. says: a part of the message. write: puts it into a folder, returns its path.
    """

    name: str
    kind: str
    error: str
    says: str
    write: Callable[[Path], Path]


ATTACKS: list[Attack] = []


def attack(kind: str, error: str, says: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Adds what it decorates to ATTACKS."""

    def add(write: Callable[[Path], Path]) -> Callable[[Path], Path]:
        ATTACKS.append(Attack(write.__name__, kind, error, says, write))
        return write

    return add


def several(kind: str, error: str, made: dict[str, tuple[str, Callable[[Path], Path]]]) -> None:
    """Adds attacks of one kind. made: (what is said, what writes it) by name."""
    for name, (says, write) in made.items():
        ATTACKS.append(Attack(name, kind, error, says, write))


class Evil:
    """Leaves a mark if it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/scanline-was-attacked",)


# --- pieces of files


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
    """The same as a gzip file. A long one has a wrong sum, which is found at its end alone."""
    size = (len(before) + len(block) * times) % 2**32
    right = zlib.crc32(before + block * times) if times < 2 else 0
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(block, times, before) + struct.pack("<II", right, size)


def bomb_member(name: str, head: bytes, said: int | None = None, packed_said: int | None = None) -> bytes:
    """An archive of X of 1 GiB and of y. said, packed_said: the sizes that its directory claims."""
    stream = deflated(bytes(MIB), 1024, head)
    size = said if said is not None else GIB + len(head)
    packed = packed_said if packed_said is not None else len(stream)
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

# --- arrays

several(
    "data",
    "DataError",
    {
        "npy_pickle": (
            "never unpickled",
            put_npy(npy(np.array([Evil(), Evil()], object), allow_pickle=True)),
        ),
        "npy_pickle_labels": ("never unpickled", put_npy(X, npy(np.array([Evil()] * 4), allow_pickle=True))),
        "npy_bare_pickle": ("expected an array written by numpy.save", put_npy(pickle.dumps(Evil()))),
        "npy_object_in_a_structure": ("never unpickled", put_npy(npy_of("[('a', '|O'), ('b', '<f4')]"))),
        "npy_structure": ("expected numbers or text", put_npy(npy_of("[('a', '<f4'), ('b', '<f4')]"))),
        "npy_huge_shape": ("cut off", put_npy(npy_of("'<f4'", "(1000000000, 1000000000)"))),
        "npy_shape_that_overflows": ("cut off", put_npy(npy_of("'<f8'", f"({2**62}, {2**62}, 4)"))),
        "npy_negative_shape": (
            "expected an array written by numpy.save",
            put_npy(npy_of("'<f4'", "(-1, 2)")),
        ),
        "npy_100_dimensions": ("expected an array", put_npy(npy_of("'<f4'", f"({'1, ' * 100})"))),
        "npy_header_of_4_gib": ("expected an array", put_npy(b"\x93NUMPY\x02\0\xff\xff\xff\xff{'descr'")),
        "npy_header_of_9_kb_of_spaces": ("expected an array", put_npy(npy_header("{" + " " * 9_000 + "x"))),
        "npy_header_of_60_kb": ("expected an array", put_npy(npy_of("'<f4'", f"({' ' * 60_000}2, 2)"))),
        "npy_expression_for_a_header": (
            "expected an array",
            put_npy(npy_header("__import__('os').system('touch /tmp/scanline-was-attacked')\n")),
        ),
        "npy_expression_for_a_type": (
            "expected",
            put_npy(npy_of("__import__('os').system('touch /tmp/scanline-was-attacked')")),
        ),
        "npy_expression_for_a_shape": ("expected an array", put_npy(npy_of("'<f4'", "(2**40, 2)"))),
        "npy_10000_brackets": ("expected", put_npy(npy_of("[" * 4000 + "]" * 4000))),
        "npy_raw_bytes": ("expected an array of numbers", put_npy(npy_of("'|V8'"))),
        "npy_complex": ("expected an array of numbers", put_npy(npy_of("'<c8'"))),
        "npy_times": ("expected an array of numbers", put_npy(npy_of("'<M8[ns]'"))),
        "npy_text_of_4_mb_each": ("cut off", put_npy(npy_of("'<U999999'", "(100, 2)"))),
        "npy_unknown_type": ("expected", put_npy(npy_of("'<q7'"))),
        "npy_type_with_commas": ("expected numbers or text", put_npy(npy_of("'f4,f4'"))),
        "npy_longdouble_infinite": (
            "sequence 0, step 0, feature 0",
            put_npy(npy(np.full((4, 3), np.inf, np.longdouble))),
        ),
        "npy_twice_the_same_key": (
            "expected an array",
            put_npy(npy_header("{'descr': '<f4', 'descr': '|O', 'fortran_order': False, 'shape': (2, 2)}\n")),
        ),
        "npz_pickle": (
            "never unpickled",
            put_zip("a.npz", [("X.npy", npy(np.array([Evil()]), allow_pickle=True)), ("y.npy", Y)]),
        ),
        "npz_bare_pickle": (
            "expected an array written by numpy.save",
            put_zip("a.npz", [("X.npy", pickle.dumps(Evil())), ("y.npy", Y)]),
        ),
        "npz_member_without_ending": (
            "expected an array written by numpy.save",
            put_zip("a.npz", [("X", pickle.dumps(Evil())), ("y", Y)]),
        ),
        "npz_huge_shape": (
            "cut off",
            put_zip("a.npz", [("X.npy", npy_of("'<f4'", f"({2**40}, 1)")), ("y.npy", Y)]),
        ),
        "npz_bomb": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE))(f),
        ),
        "npz_bomb_that_says_it_is_small": (
            "cut off|is damaged",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, said=200))(f),
        ),
        "npz_that_says_it_has_a_terabyte": (
            "SCANLINE_LIMIT_UNPACKED_BYTES",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, said=2**40))(f),
        ),
        "npz_that_says_it_is_packed_into_a_terabyte": (
            "overlap",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, said=2**40, packed_said=2**40))(f),
        ),
        "npz_zip_slip": (
            "would leave its folder",
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y), ("../../out.npy", X)]),
        ),
        "npz_zip_slip_absolute": (
            "would leave its folder",
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y), ("/tmp/out.npy", X)]),
        ),
        "npz_zip_slip_of_windows": (
            "would leave its folder",
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y), ("..\\..\\out.npy", X)]),
        ),
        "npz_link": (
            "found a link or a device",
            put_zip("a.npz", [(linked("X.npy"), b"/etc/passwd"), ("y.npy", Y)]),
        ),
        "npz_encrypted": (
            "encrypted",
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y)], lambda whole: _with_flag(whole, 1)),
        ),
        "npz_in_an_npz": (
            "expected an array written by numpy.save",
            lambda f: put_zip("a.npz", [("X.npy", _inner()), ("y.npy", Y)])(f),
        ),
        "npz_two_arrays_of_one_name": (
            "expected one array X, found two",
            put_zip("a.npz", [("X.npy", X), ("X", X), ("y.npy", Y)]),
        ),
        "npz_method_nobody_reads": (
            "method 99 is not supported",
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y)], lambda whole: _with_method(whole, 99)),
        ),
        "npz_not_in_the_end": ("expected an .npz file", put("a.npz", b"PK\x03\x04" + bytes(4096))),
    },
)


def _inner() -> bytes:
    content = io.BytesIO()
    np.savez(content, X=np.zeros((4, 3)))
    return content.getvalue()


def _edited(whole: bytes, local: int, central: int, value: int) -> bytes:
    content = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        content[content.index(mark) + offset] = value
    return bytes(content)


def _with_flag(whole: bytes, flag: int) -> bytes:
    return _edited(whole, 6, 8, flag)


def _with_method(whole: bytes, method: int) -> bytes:
    return _edited(whole, 8, 10, method)


@attack("data", "DataError", "twice")
def npz_two_members_of_one_name(folder: Path) -> Path:
    whole = put_zip("a.npz", [("X.npy", X), ("Z.npy", X), ("y.npy", Y)])(folder)
    whole.write_bytes(whole.read_bytes().replace(b"Z.npy", b"X.npy"))
    return whole


@attack("data", "DataError", "overlap")
def npz_members_that_lie_in_each_other(folder: Path) -> Path:
    """A thousand names of one piece, as David Fifield's better zip bomb."""
    data = deflated(bytes(MIB), 1)
    about = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, 0, len(data), MIB)
    names = [b"%04d.npy" % index for index in range(1000)]
    content = b"PK\x03\x04" + about + struct.pack("<HH", 8, 0) + names[0] + data
    directory = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + about + struct.pack("<HHHHHII", 8, 0, 0, 0, 0, 0, 0) + name
        for name in names
    )
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), len(content), 0)
    return put("a.npz", content + directory + b"PK\x05\x06" + end)(folder)


@attack("data", "DataError", "expected a directory of at most")
def npz_of_200000_members(folder: Path) -> Path:
    about = struct.pack("<HHHHHIIIHHHHHII", 20, 0, 0, 0, 33, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    directory = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + about + b"%08x" % index for index in range(200_000)
    )
    end = struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 0, 0)
    return put("a.npz", directory + b"PK\x05\x06" + end)(folder)


@attack("data", "DataError", "expected a directory of at most")
def npz_that_says_its_directory_has_an_exabyte(folder: Path) -> Path:
    large = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 2**60, 0)
    where = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46, 0, 0)
    return put("a.npz", large + where + end)(folder)


# --- IDX and gzip


def put_idx(images: bytes, end: str = "") -> Callable[[Path], Path]:
    """A folder of four files, with these for the images to train on."""

    def write(folder: Path) -> Path:
        labels, few = bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1]), bytes([0, 0, 8, 3, *[0, 0, 0, 2] * 3]) + bytes(8)
        for name, content in (
            (f"train-images-idx3-ubyte{end}", images),
            ("train-labels-idx1-ubyte", labels),
            ("t10k-images-idx3-ubyte", few),
            ("t10k-labels-idx1-ubyte", labels),
        ):
            put(name, content)(folder)
        return folder

    return write


def idx(*shape: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


several(
    "data",
    "DataError",
    {
        "idx_2_to_the_40_bytes": ("truncated", put_idx(idx(2**20, 2**10, 2**10))),
        "idx_sizes_that_overflow": ("truncated", put_idx(idx(2**32 - 1, 2**32 - 1, 2**32 - 1))),
        "idx_255_dimensions": ("expected 3 dimensions", put_idx(bytes([0, 0, 8, 255]) + bytes(4096))),
        "idx_no_dimensions": ("expected 3 dimensions", put_idx(bytes([0, 0, 8, 0]))),
        "idx_negative": ("truncated", put_idx(idx(2**32 - 1, 2, 2) + bytes(8))),
        "idx_of_size_0": ("expected at least 1", put_idx(idx(0, 2, 2))),
        "idx_unknown_type": ("expected one of the IDX types", put_idx(idx(2, 2, 2, kind=0x55) + bytes(8))),
        "idx_2_to_the_40_bytes_packed": (
            "truncated",
            put_idx(gzipped(b"", 0, idx(2**20, 2**10, 2**10)), ".gz"),
        ),
        "idx_gzip_bomb": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: put_idx(gzipped(bytes(MIB), 1024, idx(2**14, 2**8, 2**8)), ".gz")(f),
        ),
        "idx_gzip_bomb_behind_a_small_header": (
            "expected the end",
            lambda f: put_idx(gzipped(bytes(MIB), 1024, idx(2, 2, 2)), ".gz")(f),
        ),
        "idx_gzip_of_many_members": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: put_idx(gzipped(b"", 0, idx(2**14, 2**8, 2**8)) + gzipped(bytes(MIB), 1) * 1024, ".gz")(
                f
            ),
        ),
        "idx_gzip_cut_off": ("ends early", put_idx(gzipped(bytes(8), 1, idx(2, 2, 2))[:-9], ".gz")),
        "idx_gzip_of_another_sum": ("damaged", put_idx(gzipped(bytes(4), 2, idx(2, 2, 2)), ".gz")),
    },
)


def csv_bomb(before: bytes, block: bytes, times: int) -> Callable[[Path], Path]:
    return lambda folder: put("a.csv.gz", gzipped(block, times, before))(folder)


_ROWS = b"0,1\n1,0\n" * (MIB // 8)

several(
    "data",
    "DataError",
    {
        "csv_gzip_bomb_of_rows": (
            "SCANLINE_LIMIT_EXPANSION",
            csv_bomb(b"a,label\n0,1\n1,0\n", _ROWS, 1024),
        ),
        "csv_gzip_bomb_of_empty_lines": ("10,000 empty lines", csv_bomb(b"", b"\n" * MIB, 1024)),
        "csv_gzip_bomb_of_empty_lines_after_the_names": (
            "expected rows after the header",
            csv_bomb(b"a,label\n", b"\n" * MIB, 1024),
        ),
        "csv_gzip_bomb_of_one_line": ("cannot be read as CSV", csv_bomb(b"a,label\n1,", b"0" * MIB, 1024)),
        "csv_gzip_bomb_of_zeros": ("found other bytes", csv_bomb(b"", bytes(MIB), 1024)),
        "csv_gzip_of_many_members": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: put("a.csv.gz", gzipped(b"", 0, b"a,label\n0,1\n1,0\n") + gzipped(_ROWS, 1) * 1024)(f),
        ),
    },
)


# --- tables and text


def sparse(name: str, before: bytes, size: int) -> Callable[[Path], Path]:
    """A file that begins so and has zeros up to its size, which take no room on the disk."""

    def write(folder: Path) -> Path:
        path = put(name, before)(folder)
        os.truncate(path, size)
        return path

    return write


_TS = b"@problemName x\n@classLabel true a b\n@data\n"

several(
    "data",
    "DataError",
    {
        "csv_a_million_columns": (
            "SCANLINE_LIMIT_FEATURES",
            lambda f: put("a.csv", b",".join(b"c%d" % i for i in range(500_000)) + b"\n1\n")(f),
        ),
        "csv_a_million_columns_on_as_many_lines": (
            "SCANLINE_LIMIT_FEATURES|cannot be read as CSV|expected",
            lambda f: put("a.csv", b"label" + b"".join(b',"c%d\n"' % i for i in range(500_000)) + b"\n1\n")(
                f
            ),
        ),
        "csv_60000_columns_and_no_rows": (
            "expected",
            lambda f: put(
                "a.csv",
                b"label," + b",".join(b"%x" % i for i in range(60_000)) + b"\n1,2\n" + b"\n" * 3 * MIB,
            )(f),
        ),
        "csv_a_line_of_1_gib": ("a row has more than", sparse("a.csv", b"a,label\n1,0\n2,1\n3,", GIB)),
        "csv_a_header_of_1_gib": ("expected", sparse("a.csv", b"a,label", GIB)),
        "csv_a_quote_that_never_closes": (
            "expected|more than|cannot be read",
            lambda f: put("a.csv", b'a,label\n1,0\n"' + b"1,0\n" * 4 * MIB)(f),
        ),
        "csv_8_mib_of_empty_lines": ("10,000 empty lines", put("a.csv", b"\n" * 8 * MIB)),
        "csv_two_columns_of_one_name": ("twice", put("a.csv", b"a,a,label\n1,2,0\n1,2,1\n")),
        "csv_zeros": ("found other bytes", put("a.csv", b"a\0,label\n1,0\n2,1\n")),
        "csv_a_class_that_clears_the_screen": (
            "cannot be printed",
            put("a.csv", b"a,b,label\n1,2,\x1b[2J\x1b]0;evil\x07\n1,2,x\n"),
        ),
        "csv_a_number_of_a_million_digits": (
            "cannot be read as CSV",
            lambda f: put("a.csv", b"a,b,label\n" + b"1" * MIB + b",2,x\n1,2,y\n")(f),
        ),
        "ts_a_million_classes": (
            "SCANLINE_LIMIT_CLASSES",
            lambda f: put(
                "a.ts", b"@classLabel true " + b" ".join(b"%d" % i for i in range(10**6)) + b"\n@data\n1:1\n"
            )(f),
        ),
        "ts_60000_classes_twice": (
            "found 0 twice",
            lambda f: put(
                "a.ts", b"@classLabel true " + b" ".join(b"%d" % (i % 60_000) for i in range(120_000)) + b"\n"
            )(f),
        ),
        "ts_a_class_for_each_line": (
            "SCANLINE_LIMIT_CLASSES",
            lambda f: put(
                "a.ts", b"@classLabel true\n@data\n" + b"".join(b"1:%d\n" % i for i in range(70_000))
            )(f),
        ),
        "ts_a_class_that_clears_the_screen": (
            "printable",
            put("a.ts", b"@classLabel true \x1b[2J b\n@data\n1:b\n2:b\n"),
        ),
        "ts_a_line_of_1_gib": ("SCANLINE_LIMIT_LINE_BYTES", sparse("a.ts", _TS + b"1,2,", GIB)),
        "ts_a_header_of_1_gib": ("SCANLINE_LIMIT_LINE_BYTES", sparse("a.ts", b"@classLabel true ", GIB)),
        "ts_a_million_features": (
            "SCANLINE_LIMIT_FEATURES",
            lambda f: put("a.ts", _TS + b"1:" * 10**6 + b"a\n")(f),
        ),
        "ts_a_billion_features_said": (
            "expected 999999999 features",
            put("a.ts", b"@dimension 999999999\n" + _TS + b"1:a\n"),
        ),
        "ts_numbers_of_python": ("expected a number", put("a.ts", _TS + b"0x10,1_000:a\n")),
        "ts_a_number_of_a_million_digits": (
            "expected",
            lambda f: put("a.ts", _TS + b"1" * MIB + b",:a\n")(f),
        ),
        "ts_infinity": ("expected a finite number", put("a.ts", _TS + b"1,inf:a\n1,2:b\n")),
    },
)


@attack("data", "DataError", "SCANLINE_LIMIT_EXPANSION")
def parquet_bomb(folder: Path) -> Path:
    """Of 200 million rows in a few kilobytes."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"a": pyarrow.array(np.zeros(MIB, np.float32)), "label": np.zeros(MIB, np.int8)})
    with parquet.ParquetWriter(folder / "a.parquet", table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table)
    return folder / "a.parquet"


def parquet_of(rows: int) -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": np.zeros(rows), "label": np.zeros(rows, np.int8)}), content)
    return content.getvalue()


@attack("data", "DataError", "expected|cannot be read")
def parquet_that_says_it_has_an_exabyte(folder: Path) -> Path:
    whole = parquet_of(77_777)
    size = int.from_bytes(whole[-8:-4], "little")
    body, footer = whole[: -8 - size], whole[-8 - size : -8]
    footer = footer.replace(_varint(2 * 77_777), _varint(2 * 2**60))
    return put("a.parquet", body + footer + len(footer).to_bytes(4, "little") + b"PAR1")(folder)


@attack("data", "DataError", "expected|cannot be read")
def parquet_that_says_it_has_less_than_no_rows(folder: Path) -> Path:
    whole = parquet_of(77_777)
    size = int.from_bytes(whole[-8:-4], "little")
    body, footer = whole[: -8 - size], whole[-8 - size : -8]
    footer = footer.replace(_varint(2 * 77_777), _varint(2 * 77_777 - 1))
    return put("a.parquet", body + footer + len(footer).to_bytes(4, "little") + b"PAR1")(folder)


def _varint(value: int) -> bytes:
    found = b""
    while value >= 128:
        found += bytes([value % 128 + 128])
        value //= 128
    return found + bytes([value])


@attack("data", "DataError", "expected numbers|cannot be read|expected")
def parquet_with_a_pickled_type(folder: Path) -> Path:
    """CVE-2023-47248: PyArrow before 14.0.1 unpickled what stood there."""
    import pyarrow
    from pyarrow import parquet

    about = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    fields = [
        pyarrow.field("a", pyarrow.binary(), metadata=about),
        pyarrow.field("label", pyarrow.int8()),
    ]
    table = pyarrow.table([[b"1", b"2"], [0, 1]], schema=pyarrow.schema(fields))
    parquet.write_table(table, folder / "a.parquet")
    return folder / "a.parquet"


several(
    "data",
    "DataError",
    {
        "parquet_cut_off": ("cannot be read", lambda f: put("a.parquet", parquet_of(100)[:-1])(f)),
        "parquet_footer_of_2_gib": (
            "cannot be read",
            put("a.parquet", b"PAR1" + bytes(64) + (2**31 - 1).to_bytes(4, "little") + b"PAR1"),
        ),
        "parquet_nothing": ("cannot be read", put("a.parquet", b"PAR1PAR1")),
        "parquet_zeros": ("cannot be read", put("a.parquet", b"PAR1" + bytes(4096) + b"\0\x10\0\0PAR1")),
    },
)

# --- pictures


def chunk(kind: bytes, content: bytes) -> bytes:
    whole = kind + content
    return len(content).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")


def png(width: int, height: int, *more: bytes, rows: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _zlib(block: bytes, times: int) -> bytes:
    return b"\x78\x9c" + deflated(block, times) + b"\0\0\0\0"


def _ifd(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
    return (
        struct.pack("<H", len(entries))
        + b"".join(struct.pack("<HHII", *e) for e in entries)
        + struct.pack("<I", after)
    )


def tiff(width: int, height: int, after: int = 0) -> bytes:
    entries = ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1))
    entries += ((273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 2**31))
    return b"II*\0\x08\0\0\0" + _ifd(*entries, after=after)


_PIXELS = "expected at most"
several(
    "picture",
    "DataError",
    {
        "png_bomb_of_30000_squared": (
            _PIXELS,
            lambda f: put("a.png", png(30_000, 30_000, rows=_zlib(bytes(MIB), 860)))(f),
        ),
        "png_bomb_of_9000_squared": (
            _PIXELS,
            lambda f: put("a.png", png(9_000, 9_000, rows=_zlib(bytes(MIB), 78)))(f),
        ),
        "png_of_60_megapixels_in_70_bytes": (
            "bytes for 4000000 x 15 pixels",
            put("a.png", png(15, 4_000_000, rows=zlib.compress(b"\0" * 16))),
        ),
        "png_2_to_the_31_squared": (_PIXELS, put("a.png", png(2**31 - 1, 2**31 - 1))),
        "png_of_no_size": ("found", put("a.png", png(0, 0))),
        "png_text_bomb": (
            "found a damaged one",
            lambda f: put("a.png", png(4, 4, chunk(b"zTXt", b"a\0\0" + _zlib(bytes(MIB), 512))))(f),
        ),
        "png_profile_bomb": (
            "found",
            lambda f: put("a.png", png(4, 4, chunk(b"iCCP", b"a\0\0" + _zlib(bytes(MIB), 512))))(f),
        ),
        "png_chunk_of_2_gib": (
            "found a damaged one",
            put("a.png", b"\x89PNG\r\n\x1a\n" + b"\x7f\xff\xff\xffIHDR" + bytes(40)),
        ),
        "png_cut_off": ("found", put("a.png", png(400, 400, rows=b"\x78\x9c")[:-30])),
        "jpeg_65500_squared": (
            _PIXELS,
            put(
                "a.jpg",
                b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xdc\xff\xdc\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0",
            ),
        ),
        "jpeg_of_markers": ("found", lambda f: put("a.jpg", b"\xff\xd8" + b"\xff\xe1\0\x02" * 200_000)(f)),
        "jpeg_broken": ("found", put("a.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(99))),
        "tiff_bomb": (_PIXELS, put("a.tif", tiff(60_000, 60_000))),
        "tiff_2_to_the_32_squared": (_PIXELS, put("a.tif", tiff(2**32 - 1, 2**32 - 1))),
        "tiff_that_leads_to_itself": ("found a damaged one", put("a.tif", tiff(16, 16, after=8))),
        "tiff_of_a_billion_values": (
            "found",
            put("a.tif", b"II*\0\x08\0\0\0" + _ifd((256, 4, 2**30, 8), (257, 4, 2**30, 8))),
        ),
        "webp_bomb": (
            "found|expected at most",
            put(
                "a.webp",
                b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
            ),
        ),
        "webp_lossless_16383_squared": (
            "found|expected at most",
            put("a.webp", b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xfe\xbf\xff\x0f" + bytes(5)),
        ),
        "webp_broken": ("found", put("a.webp", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + bytes(99))),
        "bmp_bomb": (
            _PIXELS,
            put(
                "a.bmp",
                b"BM"
                + struct.pack("<IHHI", 54, 0, 0, 54)
                + struct.pack("<IiiHHIIiiII", 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
            ),
        ),
        "ppm_bomb": (_PIXELS, put("a.ppm", b"P6 999999999 999999999 255\n" + bytes(99))),
        "pgm_of_endless_digits": ("found", put("a.pgm", b"P5 " + b"9" * MIB + b" 1 255\n")),
        "pgm_in_words": ("found", put("a.pgm", b"P2 9000 7000 255\n" + b"1 " * 99)),
        "eps_is_not_read": (
            "found something else",
            put("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ),
        "svg_is_not_read": (
            "found something else",
            put("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ),
        "npy_picture_pickle": (
            "never unpickled",
            put("a.npy", npy(np.array([[Evil()]], object), allow_pickle=True)),
        ),
        "npy_picture_bomb": ("expected at most", put("a.npy", npy_of("'|u1'", "(100000, 100000)"))),
        "npy_picture_cut_off": ("found 108", put("a.npy", npy_of("'|u1'", "(5000, 5000)"))),
        "npy_picture_expression": (
            "expected an array",
            put(
                "a.npy", npy_header("{'descr': __import__('os').system('touch /tmp/scanline-was-attacked')}")
            ),
        ),
        "picture_nothing": ("empty file", put("a.png", b"")),
    },
)


# Rows beyond those that the header promises are not unpacked.
several(
    "picture",
    "",
    {
        "png_rows_bomb_behind_a_small_header": (
            "",
            lambda f: put("a.png", png(4, 4, rows=_zlib(bytes(MIB), 1024)))(f),
        )
    },
)


def picture_folder(folder: Path) -> Path:
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        Image.new("L", (4, 4), 9).save(folder / kind / "1.png")
    return folder


def _beside(make: Callable[[Path], None]) -> Callable[[Path], Path]:
    """A folder of pictures with something among the dogs."""

    def write(folder: Path) -> Path:
        make(picture_folder(folder) / "dog")
        return folder

    return write


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


several(
    "data",
    "DataError",
    {
        "folder_a_link_to_itself": (
            "cannot be read",
            _beside(lambda dog: (dog / "2.png").symlink_to(dog / "2.png")),
        ),
        "folder_a_link_to_a_device": (
            "not a regular file",
            _beside(lambda dog: (dog / "2.png").symlink_to("/dev/zero")),
        ),
        "folder_a_link_to_nothing": (
            "cannot be read",
            _beside(lambda dog: (dog / "2.png").symlink_to("/none")),
        ),
        "folder_a_pipe": ("not a regular file", _beside(lambda dog: os.mkfifo(dog / "2.png"))),
        "folder_a_socket": ("not a regular file", _beside(lambda dog: _socket(dog / "2.png"))),
        "folder_a_bomb": (
            _PIXELS,
            _beside(lambda dog: put("2.png", png(30_000, 30_000, rows=_zlib(bytes(MIB), 9)))(dog) and None),
        ),
        "folder_a_class_that_clears_the_screen": (
            "printable",
            lambda f: (picture_folder(f) / "dog").rename(f / "\x1b[2J") and f,
        ),
    },
)
for _name in ("a.csv", "a.ts", "a.npz", "X.npy", "a.parquet"):

    def _pipe(folder: Path, name: str = _name) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    def _zero(folder: Path, name: str = _name) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    ATTACKS.append(
        Attack(f"pipe_{_name}", "data", "DataError", "not a regular file|expected a regular file", _pipe)
    )
    ATTACKS.append(
        Attack(f"device_{_name}", "data", "DataError", "not a regular file|expected a regular file", _zero)
    )


# --- the description of a model


def described(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    """A bundle whose description was changed and sealed again."""

    def write(folder: Path) -> Path:
        path = small.save_bundle(folder / "model") / "model.json"
        tree = json.loads(path.read_text())
        edit(tree)
        tree.pop("sha256")
        write_sealed_json(path, tree)
        return folder / "model"

    return write


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


_DEEP = b'{"a":' * 10**5 + b"1" + b"}" * 10**5
_LISTS = b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"

several(
    "bundle",
    "ModelError",
    {
        "json_100000_deep": ("not valid JSON", replaced("model.json", _DEEP)),
        "json_lists_100000_deep": ("not valid JSON", replaced("model.json", _LISTS)),
        "json_of_65_mb": ("SCANLINE_LIMIT_JSON_BYTES", lambda f: replaced("model.json", b"[0]," * 2**24)(f)),
        "json_of_empty_lists": (
            "damaged|SCANLINE_LIMIT_JSON_BYTES",
            lambda f: replaced("model.json", b'{"a":[' + b"[]," * (MIB - 9) + b"0]}")(f),
        ),
        "json_a_number_of_100000_digits": (
            "not valid JSON",
            replaced("model.json", b'{"a":' + b"1" * 10**5 + b"}"),
        ),
        "json_nan": (
            "damaged",
            described(lambda t: t.update(temperature=float(1)) or t.update(temperature="NaN")),
        ),
        "json_not_utf8": ("not valid JSON", replaced("model.json", b'{"a":"\xff\xfe"}')),
        "json_utf16": ("not valid JSON", replaced("model.json", '{"a":1}'.encode("utf-16"))),
        "json_a_list": ("expected a JSON object", replaced("model.json", b"[1]")),
        "json_a_million_classes": (
            "SCANLINE_LIMIT_JSON_BYTES|class names|classes",
            lambda f: described(lambda t: t["task"].update(classes=list(range(400_000))))(f),
        ),
        "json_words_that_clear_the_screen": ("printable", described(lambda t: t.update(data="\x1b[2J"))),
        "json_words_that_turn_the_line": (
            "printable",
            described(lambda t: t["provenance"].update(licence="a\u202eb")),
        ),
        "json_a_class_of_half_a_character": (
            "damaged",
            described(lambda t: t["task"].update(classes=["\ud800", "b"])),
        ),
        "json_a_hidden_size_of_a_trillion": (
            "hidden_size",
            described(lambda t: t["architecture"].update(hidden_size=10**12)),
        ),
        "json_a_hidden_size_of_65536": (
            "does not fit its architecture",
            described(lambda t: t["architecture"].update(hidden_size=65_536)),
        ),
        "json_64_layers_of_65536": (
            "does not fit its architecture",
            described(lambda t: t["architecture"].update(hidden_size=65_536, layers=64, bidirectional=True)),
        ),
        "json_65_layers": ("layers", described(lambda t: t["architecture"].update(layers=65))),
        "json_a_module_to_import": (
            "Extra inputs",
            described(lambda t: t.update(module="os", call="system")),
        ),
        "json_a_class_to_make": ("cell", described(lambda t: t["architecture"].update(cell="os.system"))),
        "json_a_picture_of_4096_squared_in_a_model_of_2": (
            "cannot be cut|damaged",
            described(
                lambda t: t["input"].update(
                    picture={"height": 10**6, "width": 2, "box": 2, "levels": 255, "centre": "mass"}
                )
            ),
        ),
        "json_a_pipe": ("is missing", swapped("model.json", os.mkfifo)),
        "json_a_device": ("is missing", swapped("model.json", lambda path: (path).symlink_to("/dev/zero"))),
        "weights_a_pipe": ("is damaged", swapped("model.safetensors", os.mkfifo)),
        "weights_a_device": (
            "is damaged",
            swapped("model.safetensors", lambda path: (path).symlink_to("/dev/zero")),
        ),
        "weights_a_folder": ("is damaged", swapped("model.safetensors", lambda path: path.mkdir())),
        "weights_a_pickle": ("is damaged", replaced("model.safetensors", pickle.dumps(Evil()))),
    },
)

# --- weights


def tensors(header: Any, data: bytes = b"", pad: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file. header: an object, or text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += pad
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


WEIGHTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "header_of_2_to_the_63": ("header", lambda: tensors({"a": one()}, bytes(4), length=2**63)),
    "header_of_2_to_the_64": ("header", lambda: tensors({"a": one()}, bytes(4), length=2**64 - 1)),
    "header_past_the_end": ("header", lambda: tensors({"a": one()}, bytes(4), length=4096)),
    "header_of_100_mb_of_spaces": ("header", lambda: tensors({"a": one()}, bytes(4), pad=b" " * 10**8)),
    "header_100000_deep": ("", lambda: tensors(_DEEP, bytes(4))),
    "header_that_is_a_list": ("", lambda: tensors(b"[1]", bytes(4))),
    "header_not_utf8": ("", lambda: tensors(b'{"\xff": 1}', bytes(4))),
    "header_of_empty_lists": ("", lambda: tensors(b'{"a":[' + b"[]," * 10**6 + b"0]}", bytes(4))),
    "overlap": ("bytes from", lambda: tensors({"a": one(), "b": one(offsets=(2, 6))}, bytes(6))),
    "the_same_bytes_twice": ("bytes from", lambda: tensors({"a": one(), "b": one()}, bytes(4))),
    "gap": ("bytes from", lambda: tensors({"a": one(), "b": one(offsets=(8, 12))}, bytes(12))),
    "gap_at_the_beginning": ("bytes from", lambda: tensors({"a": one(offsets=(4, 8))}, bytes(8))),
    "bytes_at_the_end": ("bytes of values", lambda: tensors({"a": one()}, bytes(8))),
    "offsets_past_the_end": (
        "bytes of values",
        lambda: tensors({"a": one(shape=(9,), offsets=(0, 36))}, bytes(4)),
    ),
    "offsets_backward": ("", lambda: tensors({"a": one(offsets=(4, 0))}, bytes(4))),
    "offsets_negative": ("", lambda: tensors({"a": one(offsets=(-4, 0))}, bytes(4))),
    "offsets_of_2_to_the_64": ("", lambda: tensors({"a": one(offsets=(2**64 - 4, 2**64))}, bytes(4))),
    "offsets_that_are_fractions": ("", lambda: tensors({"a": one(offsets=(0, 4.0))}, bytes(4))),
    "shape_that_overflows": ("", lambda: tensors({"a": one(shape=(2**32, 2**32, 2))}, bytes(4))),
    "shape_that_overflows_to_fit": ("", lambda: tensors({"a": one(shape=(2**62 + 1,))}, bytes(4))),
    "shape_negative": ("", lambda: tensors({"a": one(shape=(-1, -1))}, bytes(4))),
    "shape_true": ("", lambda: tensors({"a": one(shape=(True,))}, bytes(4))),
    "shape_of_100_dimensions": ("", lambda: tensors({"a": one(shape=[1] * 100)}, bytes(4))),
    "type_unknown": ("", lambda: tensors({"a": one("OBJECT")}, bytes(4))),
    "type_of_another_size": ("bytes of values", lambda: tensors({"a": one("F64")}, bytes(4))),
    "name_twice": (
        "twice",
        lambda: tensors(b'{"a":%b,"a":%b}' % ((json.dumps(one()).encode(),) * 2), bytes(4)),
    ),
    "key_twice": (
        "twice",
        lambda: tensors(b'{"a":{"dtype":"I8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    ),
    "a_million_tensors_of_nothing": (
        "",
        lambda: tensors(
            b"{"
            + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(10**6))
            + b"}"
        ),
    ),
    "9000_tensors_of_nothing": (
        "",
        lambda: tensors({str(i): one(shape=(0,), offsets=(0, 0)) for i in range(9000)}),
    ),
    "about_that_is_no_text": ("", lambda: tensors({"__metadata__": {"a": {"b": 1}}, "a": one()}, bytes(4))),
    "more_than_it_may_say": ("", lambda: tensors({"a": one() | {"load": "os.system"}}, bytes(4))),
    "nothing": ("", lambda: b""),
    "eight_zeros": ("", lambda: bytes(8)),
}
for _name, (_says, _make) in WEIGHTS.items():

    def _weights(folder: Path, make: Callable[[], bytes] = _make) -> Path:
        return replaced("model.safetensors", make())(folder)

    def _network(folder: Path, make: Callable[[], bytes] = _make) -> Path:
        return put("a.safetensors", make())(folder)

    ATTACKS.append(
        Attack(f"weights_{_name}", "bundle", "ModelError", f"model.safetensors.*{_says}", _weights)
    )
    ATTACKS.append(Attack(f"import_{_name}", "network", "ModelError", f"a.safetensors.*{_says}", _network))


# --- checkpoints


def checkpointed(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        put(name, content)(small.save_checkpoint(folder / "model"))
        return folder / "model"

    return write


several(
    "checkpoint",
    "ModelError",
    {
        "state_100000_deep": ("not valid JSON", checkpointed("state.json", _DEEP)),
        "state_a_list": ("expected a JSON object", checkpointed("state.json", b"[1]")),
        "state_a_pipe": ("state.json", swapped("state.json", os.mkfifo, small.save_checkpoint)),
        "state_weights_a_pickle": (
            "model.safetensors",
            checkpointed("model.safetensors", pickle.dumps(Evil())),
        ),
        "state_optimizer_a_pickle": (
            "optimizer.safetensors",
            checkpointed("optimizer.safetensors", pickle.dumps(Evil())),
        ),
        "state_optimizer_name_twice": (
            "twice",
            checkpointed("optimizer.safetensors", WEIGHTS["name_twice"][1]()),
        ),
    },
)

# --- networks of others


def keras_zip(*members: tuple[Any, bytes], edit: Any = None) -> Callable[[Path], Path]:
    return put_zip("a.keras", list(members), edit)


_CONFIG, _H5 = ("config.json", b"{}"), ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99))

several(
    "network",
    "ModelError",
    {
        "keras_zip_slip": ("would leave its folder", keras_zip(_CONFIG, _H5, ("../../out", b"x"))),
        "keras_link": ("found a link", keras_zip(_CONFIG, _H5, (linked("assets"), b"/etc"))),
        "keras_bomb": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: keras_zip(_CONFIG, ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(200 * MIB)))(f),
        ),
        "keras_bomb_of_a_description": (
            "SCANLINE_LIMIT_JSON_BYTES",
            lambda f: keras_zip(("config.json", b" " * 64 * MIB), _H5)(f),
        ),
        "keras_description_100000_deep": ("not valid JSON", keras_zip(("config.json", _DEEP), _H5)),
        "keras_lambda": (
            "",
            keras_zip(
                ("config.json", json.dumps({"class_name": "Lambda", "config": {"function": "x"}}).encode()),
                _H5,
            ),
        ),
        "keras_encrypted": ("in the clear", keras_zip(_CONFIG, _H5, edit=lambda whole: _with_flag(whole, 1))),
        "keras_a_pipe": ("expected a (regular )?file", lambda f: os.mkfifo(f / "a.keras") or f / "a.keras"),
        "keras_h5_of_zeros": ("damaged", put("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(4096))),
        "torch_pickle": ("may be pickled", put("a.pt", pickle.dumps(Evil()))),
        "torch_pickle_called_safetensors": ("a.safetensors", put("a.safetensors", pickle.dumps(Evil()))),
        "torch_a_pipe": ("a.safetensors", lambda f: os.mkfifo(f / "a.safetensors") or f / "a.safetensors"),
        "tf1_that_leads_out": (
            "there is no .*/passwd.index",
            lambda f: put("checkpoint", b'model_checkpoint_path: "../../../../etc/passwd"\n')(f).parent,
        ),
        "tf1_that_leads_to_the_root": (
            "there is no .*/shadow.index",
            lambda f: put("checkpoint", b'model_checkpoint_path: "/etc/shadow"\n')(f).parent,
        ),
        "tf1_an_index_of_zeros": ("expected a table", put("m.index", bytes(4096))),
        "tf1_an_index_of_1_gib": ("expected at most", sparse("m.index", b"", GIB)),
        "tf1_a_pipe": ("", lambda f: os.mkfifo(f / "m.index") or f / "m.index"),
    },
)


@attack("network", "ModelError", "expected 1 to 99,999 data files")
def tf1_a_billion_data_files(folder: Path) -> Path:
    from tests.interchange.checkpoints import header, write

    def edit(items: Any) -> Any:
        return [(b"", header(10**9)), *items[1:]]

    write(folder, {"a": np.zeros(2, np.float32)}, edit=edit)
    return folder / "model.ckpt"


# --- recipes, sessions, lines

several(
    "recipe",
    "UsageError",
    {
        "toml_arrays_100000_deep": ("not valid TOML", put("a.toml", b"a = " + b"[" * 10**5 + b"]" * 10**5)),
        "toml_tables_40000_deep": ("not valid TOML", put("a.toml", b"a = " + b"{a = " * 40_000)),
        "toml_a_key_of_100000_parts": ("at most 32 parts", put("a.toml", b"a." * 10**5 + b"a = 1\n")),
        "toml_a_section_of_100000_parts": (
            "at most 32 parts",
            put("a.toml", b"[" + b"a." * 10**5 + b"a]\n"),
        ),
        "toml_a_quoted_key_of_50000_parts": (
            "at most 32 parts",
            put("a.toml", b'"a".' * 50_000 + b"a = 1\n"),
        ),
        "toml_one_word_of_250_kb": ("not valid TOML", put("a.toml", b"a" * 250_000)),
        "toml_of_100_mb": ("SCANLINE_LIMIT_RECIPE_BYTES", sparse("a.toml", b"a = 1\n", 10**8)),
        "toml_a_number_of_5000_digits": ("not valid TOML", put("a.toml", b"seed = " + b"9" * 5000)),
        "toml_30000_unknown_keys": ("more", put("a.toml", b"".join(b"k%d = 1\n" % i for i in range(20_000)))),
        "toml_laughs": (
            "unknown key",
            put(
                "a.toml",
                b'base = "rows"\n' + b"".join(b"[l%d]\nx = [%s]\n" % (i, b'"lol",' * 99) for i in range(300)),
            ),
        ),
        "toml_based_on_a_path": ("base must be one of", put("a.toml", b'base = "../../etc/passwd"\n')),
        "toml_a_name_that_is_a_path": ("name must be", put("a.toml", b'base = "rows"\nname = "../../out"\n')),
        "toml_a_pipe": ("expected a (regular )?file", lambda f: os.mkfifo(f / "a.toml") or f / "a.toml"),
        "toml_a_device": (
            "expected a (regular )?file",
            lambda f: (f / "a.toml").symlink_to("/dev/zero") or f / "a.toml",
        ),
        "toml_not_utf8": ("UTF-8", put("a.toml", b"a = '\xff'")),
        "toml_a_million_units": (
            "model.hidden_size must be <=",
            put("a.toml", b'base = "rows"\n[model]\nhidden_size = 1000000\n'),
        ),
    },
)
several(
    "run",
    "ModelError",
    {
        "run_a_recipe_of_1_gb": (
            "SCANLINE_LIMIT_RECIPE_BYTES",
            lambda f: sparse("recipe.toml", b"a = 1\n", 10**9)(f).parent,
        ),
        "run_a_recipe_with_a_key_of_100000_parts": (
            "at most 32 parts",
            lambda f: put("recipe.toml", b"a." * 10**5 + b"a = 1\n")(f).parent,
        ),
        "run_a_recipe_100000_deep": (
            "not valid TOML",
            lambda f: put("recipe.toml", b"a = " + b"[" * 10**5)(f).parent,
        ),
        "run_a_recipe_whose_data_are_a_number": (
            "names no data",
            lambda f: put("recipe.toml", b"data = 1\n")(f).parent,
        ),
    },
)
several(
    "course",
    "ModelError",
    {"course_of_1_gb": ("SCANLINE_LIMIT_COURSE_BYTES", sparse("metrics.jsonl", b"{}\n", 10**9))},
)
several(
    "course",
    "",
    {
        "course_100000_deep": ("", put("metrics.jsonl", b"[" * 10**5 + b"\n" + b'{"a":' * 10**5)),
        "course_in_no_encoding": ("", put("metrics.jsonl", b"\xff\xfe\n\0\0[\n" * 1000)),
        "course_a_number_of_5000_digits": ("", put("metrics.jsonl", b'{"step": ' + b"9" * 5000 + b"}\n")),
    },
)
several(
    "record",
    "ModelError",
    {
        "record_of_1_gb": ("SCANLINE_LIMIT_RECORD_BYTES", sparse("result.json", b"{}", 10**9)),
        "record_100000_deep": ("not valid JSON", put("result.json", b"[" * 10**5)),
        "record_a_device": (
            "expected a (regular )?file",
            lambda f: (f / "result.json").symlink_to("/dev/zero") or f / "result.json",
        ),
    },
)
several(
    "session",
    "ModelError",
    {
        "session_a_pickle": ("damaged", put("session", pickle.dumps(Evil()))),
        "session_100000_deep": ("damaged", put("session", tensors(_DEEP))),
        "session_name_twice": ("twice", lambda f: put("session", WEIGHTS["name_twice"][1]())(f)),
        "session_description_deep": (
            "damaged",
            lambda f: put(
                "session", tensors({"__metadata__": {"scanline": "[" * 10**5}, "steps": one()}, bytes(4))
            )(f),
        ),
        "session_description_a_number": (
            "damaged",
            put("session", tensors({"__metadata__": {"scanline": "1"}, "steps": one()}, bytes(4))),
        ),
        "session_header_of_2_to_the_63": (
            "damaged",
            lambda f: put("session", WEIGHTS["header_of_2_to_the_63"][1]())(f),
        ),
    },
)
several(
    "lines",
    "DataError",
    {
        "line_100000_deep": ("line 2: not valid JSON", put("steps", b"[1, 2]\n" + b"[" * 10**5 + b"\n")),
        "line_object_100000_deep": ("line 1: not valid JSON", put("steps", b'{"a":' * 10**5 + b"\n")),
        "line_of_2_mb": ("expected at most 1,000,000 characters", put("steps", b"1," * 10**6 + b"\n")),
        "line_number_of_100000_digits": ("line 1: ", put("steps", b"[" + b"1" * 10**5 + b", 2]\n")),
        "line_zeros": ("line 1: ", put("steps", bytes(4096) + b"\n")),
        "line_nested": ("line 1: expected a number", put("steps", b"[[1], [2]]\n")),
    },
)


# --- what is sound, to compare with


def sound(folder: Path) -> Iterator[tuple[str, Path]]:
    """(kind, path) of a sound file of every format."""

    def new(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    yield "data", put_npy(npy(np.zeros((4, 3, 2))))(new("npy"))
    yield "data", put_zip("a.npz", [("X.npy", X), ("y.npy", Y)])(new("npz"))
    images = idx(2, 2, 2) + bytes(8)
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(images, 1)
    packed += struct.pack("<II", zlib.crc32(images), len(images))
    yield "data", put_idx(images)(new("idx"))
    yield "data", put_idx(packed, ".gz")(new("idx.gz"))
    rows = b"a,b,label\n" + b"1,2,x\n3,4,y\n" * 10
    yield "data", put("a.csv", rows)(new("csv"))
    yield "data", put("a.csv", b"id,time,a,label\n1,1,2,x\n1,2,3,x\n2,1,5,y\n2,2,5,y\n" * 1)(new("long"))
    stream = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated(rows, 1)
    yield "data", put("a.csv.gz", stream + struct.pack("<II", zlib.crc32(rows), len(rows)))(new("csv.gz"))
    yield "data", put("a.parquet", _sound_parquet())(new("parquet"))
    yield "data", put("a.ts", _TS + b"1,2:a\n3,4:b\n1,2:a\n3,4:b\n")(new("ts"))
    yield "data", picture_folder(folder / "pictures")
    for end, kind in (
        ("png", "PNG"),
        ("jpg", "JPEG"),
        ("tif", "TIFF"),
        ("webp", "WEBP"),
        ("bmp", "BMP"),
        ("pgm", "PPM"),
    ):
        path = folder / f"a.{end}"
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path, kind)
        yield "picture", path
    yield "picture", put("p.npy", npy(np.eye(4, dtype=np.uint8)))(folder)
    yield "bundle", small.save_bundle(folder / "model")
    small.save_checkpoint(folder / "checkpoints")
    yield "checkpoint", folder / "checkpoints"
    yield "recipe", put("a.toml", b'base = "rows"\nseed = 7\n')(folder)
    yield "run", put("recipe.toml", b'data = {name = "digits"}\n')(new("run")).parent
    yield (
        "course",
        put("metrics.jsonl", b'{"event": "logged", "step": 1, "loss": 1, "accuracy": 1}\n')(folder),
    )
    yield "record", put("result.json", b'{"training": {"seconds": 1.5}}\n')(folder)
    yield "session", put("session", _sound_session())(folder)
    yield "lines", put("steps", b"1,2\n[1, 2]\n")(folder)
    yield "network", _sound_state_dict(folder / "a.safetensors")
    yield "network", _sound_tf1(new("tf1"))


def _sound_parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    table = pyarrow.table({"a": [1.0, 2.0] * 10, "b": [1.0, 2.0] * 10, "label": ["x", "y"] * 10})
    parquet.write_table(table, content)
    return content.getvalue()


def _sound_session() -> bytes:

    return small.bundled().stream().to_bytes()


def _sound_state_dict(path: Path) -> Path:
    import safetensors.torch
    import torch

    recurrent, head = torch.nn.LSTM(2, 2), torch.nn.Linear(2, 2)
    state = {f"lstm.{name}": value for name, value in recurrent.state_dict().items()}
    state |= {f"head.{name}": value for name, value in head.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return path


def _sound_tf1(folder: Path) -> Path:
    from tests.interchange.checkpoints import write

    variables = {
        "rnn/basic_lstm_cell/kernel": np.zeros((4, 8), np.float32),
        "rnn/basic_lstm_cell/bias": np.zeros(8, np.float32),
        "w": np.zeros((2, 2), np.float32),
        "b": np.zeros(2, np.float32),
    }
    return write(folder, variables)
