"""Pictures, and files that are not regular files."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.hostile.attacks.base import Attack, Attacks, Evil
from tests.hostile.attacks.pieces import MIB, deflated, npy, npy_header, npy_of, put

ATTACKS = Attacks()


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
ATTACKS.many(
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
ATTACKS.many(
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


ATTACKS.many(
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
