"""Requests that would expand to much more memory than they take: memory stays bounded."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.serving.client import memory_mb, problem
from tests.serving.test_predict import png, stroke
from tests.serving.test_values import GIANT_MB

pytestmark = pytest.mark.usefixtures("server_survives")

# --- what would take much more memory than it looks


def grows(server, *requests: tuple[bytes, str, dict[str, str]]) -> float:
    before = memory_mb(server.process.pid)
    for body, kind, headers in requests:
        began = time.monotonic()
        answer = server.post(body, kind, headers)
        assert time.monotonic() - began < 10
        assert 400 <= answer.status < 500, answer
    return memory_mb(server.process.pid) - before


def test_a_gzip_bomb_is_not_decompressed(server):
    packer = zlib.compressobj(9, wbits=31)
    zero = bytes(2**20)
    bomb = b"".join(packer.compress(zero) for _ in range(1024)) + packer.flush()
    assert len(bomb) < 2 * 2**20
    before, began = memory_mb(server.process.pid), time.monotonic()
    found = problem(server.post(bomb, headers={"content-encoding": "gzip"}), "too-large")
    assert time.monotonic() - began < 5
    assert found["detail"] == "expected a body of at most 8,388,608 bytes, unpacked, found more"
    assert memory_mb(server.process.pid) - before < GIANT_MB


def test_a_long_text_among_many_numbers_takes_linear_time(server):
    body = (
        b'{"inputs":[["' + b"x" * 1_000_000 + b'",' + b"1," * 2_000 + b"1]]}"
    )  # 8 GB, as NumPy would have it
    assert grows(server, (body, "application/json", {})) < GIANT_MB


def test_text_that_contains_true_takes_no_longer(server):
    body = b'{"trace":true,"inputs":[["' + b"x" * 1_000_000 + b'",' + b"1," * 2_000 + b"1]]}"
    assert grows(server, (body, "application/json", {})) < GIANT_MB


def test_an_integer_of_millions_of_digits_is_refused_quickly(server):
    body = b'{"inputs":[[[' + b"9" * 4_000_000 + b"]]]}"
    assert grows(server, (body, "application/json", {})) < GIANT_MB


def test_deep_nesting_within_the_parsers_bounds_is_refused(server):
    for depth in (60, 64, 65, 100, 150, 190):
        answer = server.post(b'{"inputs":' + b"[" * depth + b"1" + b"]" * depth + b"}")
        problem(answer, "wrong-values")
        answer = server.post(b'{"trace":true,"inputs":' + b"[" * depth + b"1" + b"]" * depth + b"}")
        problem(answer, "wrong-values")


def bomb_png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A picture whose header says so, with other chunks before its one-byte pixels that are not all there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + b"".join(chunk(*each) for each in chunks)
        + chunk(b"IDAT", zlib.compress(bytes(1_000_000), 9))
        + chunk(b"IEND", b"")
    )


def animated(kind: str) -> bytes:
    frames = [Image.fromarray((stroke() * each).astype(np.uint8)) for each in (1, 0.5)]
    content = io.BytesIO()
    frames[0].save(content, kind, save_all=True, append_images=frames[1:], duration=40)
    return content.getvalue()


def test_a_picture_of_thirty_thousand_squared_is_refused_before_it_is_decoded(server):
    bomb = bomb_png(30_000, 30_000)
    before = memory_mb(server.process.pid)
    found = problem(server.post(bomb, "image/png"), "wrong-values")
    assert "expected at most 16000000 pixels, found more" in found["detail"]
    assert memory_mb(server.process.pid) - before < GIANT_MB


def test_compressed_text_in_a_picture_is_not_decompressed_without_limit(server):
    text = b"Comment\0\0" + zlib.compress(bytes(500 * 2**20), 9)
    before = memory_mb(server.process.pid)
    problem(server.post(bomb_png(20, 20, (b"zTXt", text)), "image/png"), "wrong-values")
    assert memory_mb(server.process.pid) - before < GIANT_MB


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just a text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        png(stroke())[:-30],
        png(stroke())[:40],
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        png(stroke(), "GIF"),
        bomb_png(0, 0),
        bomb_png(2**31 - 1, 2**31 - 1),
        b"\x93NUMPY\x01\x00" + bytes(100),
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        np.zeros((20, 14), np.uint8).tobytes(),
        png(np.zeros((20, 14))),
    ],
    ids=[
        "nothing", "text", "svg", "no end", "no pixels", "no header", "gif", "0 by 0", "2^31", "npy", "pdf",
        "eps", "bytes", "no ink",
    ],
)  # fmt: skip
def test_an_unreadable_picture_is_refused(server, content):
    found = problem(server.post(content, "image/png"), "wrong-values")
    assert "the image" in found["detail"]


def test_the_first_frame_of_an_animation_is_read(server):
    moving, still = animated("WEBP"), server.post(png(stroke()), "image/png")
    found = server.post(moving, "image/webp")
    assert found.status == 200
    assert found.json()["predictions"][0]["label"] == still.json()["predictions"][0]["label"]


def test_text_fields_of_a_form_are_ignored(server):
    plain = png(stroke())
    text = b"Comment\0" + b"x" * 500_000
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    answer = server.post(plain[:33] + chunk + plain[33:], "image/png")
    assert answer.body == server.post(plain, "image/png").body


def test_a_picture_larger_than_the_limit_of_pixels_is_refused(server):
    content = io.BytesIO()
    Image.new("1", (4_001, 4_000)).save(content, "PNG")
    found = problem(server.post(content.getvalue(), "image/png"), "wrong-values")
    assert "expected at most 16000000 pixels, found 4000 x 4001" in found["detail"]


@pytest.mark.parametrize("shape", [(1, 200_000), (200_000, 1), (1, 1), (2, 3)])
def test_a_picture_of_any_proportion_is_fitted_or_refused(server, shape):
    answer = server.predict(
        np.eye(*shape, dtype=int).tolist() and [np.eye(*shape, dtype=int).tolist()], fit=True
    )
    assert answer.status in (200, 422), answer
    if answer.status == 422:
        problem(answer, "wrong-values")
