"""IDX files and gzip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile.attacks.base import Attacks
from tests.hostile.attacks.pieces import MIB, gzipped, put

ATTACKS = Attacks()


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


ATTACKS.many(
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

ATTACKS.many(
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
        "csv_gzip_bomb_of_one_line": ("SCANLINE_LIMIT_EXPANSION", csv_bomb(b"a,label\n1,", b"0" * MIB, 1024)),
        "csv_gzip_bomb_of_zeros": ("found other bytes", csv_bomb(b"", bytes(MIB), 1024)),
        "csv_gzip_of_many_members": (
            "SCANLINE_LIMIT_EXPANSION",
            lambda f: put("a.csv.gz", gzipped(b"", 0, b"a,label\n0,1\n1,0\n") + gzipped(_ROWS, 1) * 1024)(f),
        ),
    },
)
