""".npy and .npz files."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import numpy as np

from tests.hostile.attacks.base import Attacks, Evil
from tests.hostile.attacks.pieces import (
    HUGE,
    MIB,
    X,
    Y,
    bomb_member,
    deflated,
    linked,
    npy,
    npy_header,
    npy_of,
    put,
    put_npy,
    put_zip,
    with_flag,
    with_method,
)

ATTACKS = Attacks()

ATTACKS.many(
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
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, size_claimed=200))(f),
        ),
        "npz_that_says_it_has_a_terabyte": (
            "SCANLINE_LIMIT_UNPACKED_BYTES",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, size_claimed=2**40))(f),
        ),
        "npz_that_says_it_is_packed_into_a_terabyte": (
            "overlap",
            lambda f: put("a.npz", bomb_member("X.npy", HUGE, size_claimed=2**40, packed_size_claimed=2**40))(
                f
            ),
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
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y)], lambda whole: with_flag(whole, 1)),
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
            put_zip("a.npz", [("X.npy", X), ("y.npy", Y)], lambda whole: with_method(whole, 99)),
        ),
        "npz_not_in_the_end": ("expected an .npz file", put("a.npz", b"PK\x03\x04" + bytes(4096))),
    },
)


def _inner() -> bytes:
    content = io.BytesIO()
    np.savez(content, X=np.zeros((4, 3)))
    return content.getvalue()


@ATTACKS.one("data", "DataError", "twice")
def npz_two_members_of_one_name(folder: Path) -> Path:
    whole = put_zip("a.npz", [("X.npy", X), ("Z.npy", X), ("y.npy", Y)])(folder)
    whole.write_bytes(whole.read_bytes().replace(b"Z.npy", b"X.npy"))
    return whole


@ATTACKS.one("data", "DataError", "overlap")
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


@ATTACKS.one("data", "DataError", "expected a directory of at most")
def npz_of_200000_members(folder: Path) -> Path:
    about = struct.pack("<HHHHHIIIHHHHHII", 20, 0, 0, 0, 33, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    directory = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + about + b"%08x" % index for index in range(200_000)
    )
    end = struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 0, 0)
    return put("a.npz", directory + b"PK\x05\x06" + end)(folder)


@ATTACKS.one("data", "DataError", "expected a directory of at most")
def npz_that_says_its_directory_has_an_exabyte(folder: Path) -> Path:
    large = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, 2**60, 0)
    where = b"PK\x06\x07" + struct.pack("<IQI", 0, 0, 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46, 0, 0)
    return put("a.npz", large + where + end)(folder)
