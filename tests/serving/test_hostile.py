"""Bad input of every kind: the right problem is told, memory is bounded, the server goes on."""

from __future__ import annotations

import gzip
import io
import json
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.model.test_session import made
from tests.serving.asking import head, in_thread, memory_mb, problem, until
from tests.serving.test_predict import form, pictures, png, stroke

GIANT_MB = 150  # more than a server may grow by, whatever it is sent


def zeros() -> list[list[int]]:
    return [[0] * 8 for _ in range(8)]


def changed(value: object) -> list[list[object]]:
    """A picture with one value changed."""
    picture: list[list[object]] = [list(row) for row in zeros()]
    picture[3][5] = value
    return picture


@pytest.fixture(autouse=True)
def _the_server_goes_on(server):
    yield
    server.goes_on()


# --- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b'{"inputs": [[[0]]]} more',
        b'{"inputs": [[[NaN]]]}',
        b'{"inputs": [[[Infinity]]]}',
        b'{"inputs": [[[-Infinity]]]}',
        b"{'inputs': []}",
        b'{"inputs": [[[01]]]}',
        b"\xff\xfe{}",
        b'{"inputs": ["\xff"]}',
        b'{"inputs": ["\\ud800"]}',
        '{"inputs": []}'.encode("utf-16"),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"inputs": ' + b"[" * 100_000,
        b'{"inputs":' * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_malformed(server, body):
    found = problem(server.post(body), "malformed")
    assert found["detail"].startswith("expected JSON: ")


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"inputs"', b"true"])
def test_json_that_is_no_object_is_refused(server, body):
    assert problem(server.post(body), "wrong-values")["detail"].startswith("the body: ")


@pytest.mark.parametrize(
    ("inputs", "detail", "pointers"),
    [
        ([[[0] * 8] * 7], "inputs[0]: expected shape (8, 8), found (7, 8)", ["/inputs/0"]),
        ([[[0] * 9] * 8], "inputs[0]: expected shape (8, 8), found (8, 9)", ["/inputs/0"]),
        ([zeros(), [0] * 64], "inputs[1]: expected shape (8, 8), found (64,)", ["/inputs/1"]),
        ([[[[0]] * 8] * 8], "inputs[0]: expected shape (8, 8), found (8, 8, 1)", ["/inputs/0"]),
        ([[]], "inputs[0]: expected shape (8, 8), found (0,)", ["/inputs/0"]),
        ([[[]] * 8], "inputs[0]: expected shape (8, 8), found (8, 0)", ["/inputs/0"]),
        ([7], "inputs[0]: expected shape (8, 8), found ()", ["/inputs/0"]),
        (
            [[[0] * 8] * 7 + [[0] * 7]],
            "inputs[0]: expected lists of equal length, found different ones",
            ["/inputs/0"],
        ),
        ([changed([0])], "inputs[0]: expected lists of equal length, found different ones", ["/inputs/0"]),
        ([changed(17)], "inputs[0]: expected numbers of 0 to 16, found 0 to 17", ["/inputs/0"]),
        ([changed(-1)], "inputs[0]: expected numbers of 0 to 16, found -1 to 0", ["/inputs/0"]),
        ([changed(None)], "inputs[0]: expected numbers of 0 to 16, found nan to nan", ["/inputs/0"]),
        ([changed("3")], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([changed("")], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([changed(True)], "inputs[0]: expected numbers, found true or false", ["/inputs/0"]),
        ([changed(False)], "inputs[0]: expected numbers, found true or false", ["/inputs/0"]),
        ([changed({})], "inputs[0]: expected numbers, found an object", ["/inputs/0"]),
        ([changed(10**30)], "inputs[0]: expected numbers of 0 to 16, found 0 to 1e+30", ["/inputs/0"]),
        (
            [changed(10**400)],
            "inputs[0]: expected numbers that float32 can hold, found larger ones",
            ["/inputs/0"],
        ),
        (["picture"], "inputs[0]: expected numbers, found text", ["/inputs/0"]),
        ([None], "inputs[0]: expected shape (8, 8), found ()", ["/inputs/0"]),
        ([{}], "inputs[0]: expected numbers, found an object", ["/inputs/0"]),
        (
            [changed(17), zeros(), [], changed("x")],
            "inputs[0]: expected numbers of 0 to 16, found 0 to 17",
            ["/inputs/0", "/inputs/2", "/inputs/3"],
        ),
    ],
    ids=lambda each: str(each)[:50],
)
def test_inputs_that_are_no_pictures_are_refused_each_by_name(server, inputs, detail, pointers):
    found = problem(server.predict(inputs), "wrong-values")
    assert found["detail"] == detail
    assert [each["pointer"] for each in found["errors"]] == pointers


def test_a_number_past_the_range_of_floats_is_refused(server):
    body = json.dumps({"inputs": [changed(0.5)]}).encode().replace(b"0.5", b"1e400")
    answer = server.post(body)
    assert answer.status in (400, 422), answer
    problem(answer, "malformed" if answer.status == 400 else "wrong-values")


def test_ten_faults_are_told_and_no_more(server):
    assert len(problem(server.predict([[]] * 200), "wrong-values")["errors"]) == 10


@pytest.mark.parametrize(
    ("wish", "pointer", "message"),
    [
        ({"lengths": [8]}, "/lengths", "lengths: expected none, as this model reads images"),
        ({"full_scale": 0}, "/full_scale", "full_scale: Input should be greater than 0"),
        ({"full_scale": -1}, "/full_scale", "full_scale: Input should be greater than 0"),
        ({"full_scale": "255"}, "/full_scale", "full_scale: Input should be a valid number"),
        ({"full_scale": True}, "/full_scale", "full_scale: Input should be a valid number"),
        ({"fit": 1}, "/fit", "fit: Input should be a valid boolean"),
        ({"fit": None}, "/fit", "fit: Input should be a valid boolean"),
        ({"trace": "true"}, "/trace", "trace: Input should be a valid boolean"),
        (
            {"what_if": []},
            "/what_if",
            "what_if: Input should be a valid dictionary or instance of WhatIfRequest",
        ),
        (
            {"what_if": {"blank": [0]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be greater than or equal",
        ),
        (
            {"what_if": {"blank": [1.5]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be a valid integer",
        ),
        (
            {"what_if": {"blank": [True]}},
            "/what_if/blank/0",
            "what_if.blank.0: Input should be a valid integer",
        ),
        (
            {"what_if": {"blank": [9]}},
            "/what_if/blank/0",
            "what_if.blank[0] must be a step from 1 to 8, got 9",
        ),
        (
            {"what_if": {"clamp": [{"gate": "g", "value": 0}]}},
            "/what_if/clamp/0/gate",
            "what_if.clamp[0].gate must be one of i, f, o",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 1.5}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp[0].value must be a number from 0 to 1, got 1.5",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": "1"}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp.0.value: Input should be a valid number",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": True}]}},
            "/what_if/clamp/0/value",
            "what_if.clamp.0.value: Input should be a valid number",
        ),
        (
            {"what_if": {"clamp": [{"value": 0}]}},
            "/what_if/clamp/0/gate",
            "what_if.clamp.0.gate: Field required",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 0, "layer": 2}]}},
            "/what_if/clamp/0/layer",
            "what_if.clamp[0].layer must be 1, the network's only layer",
        ),
        (
            {"what_if": {"clamp": [{"gate": "f", "value": 0, "direction": "sideways"}]}},
            "/what_if/clamp/0/direction",
            "what_if.clamp.0.direction: Input should be 'forward' or 'backward'",
        ),
        (
            {"what_if": {"silence": [{"unit": 0, "direction": "backward"}]}},
            "/what_if/silence/0/direction",
            "what_if.silence[0].direction must be forward",
        ),
        (
            {"what_if": {"silence": [{"unit": 100_000}]}},
            "/what_if/silence/0/unit",
            "what_if.silence[0].unit must be a unit from 0 to",
        ),
        (
            {"what_if": {"silence": [{"unit": -1}]}},
            "/what_if/silence/0/unit",
            "what_if.silence.0.unit: Input should be greater than or equal to 0",
        ),
        ({"trase": True}, "/trase", "trase: Extra inputs are not permitted"),
        ({"a/b~c": 1}, "/a~1b~0c", "Extra inputs are not permitted"),
    ],
    ids=str,
)
def test_a_wish_that_cannot_be_granted_is_refused_by_name(server, wish, pointer, message):
    found = problem(server.predict([zeros()], **wish), "wrong-values")
    assert pointer in [each["pointer"] for each in found["errors"]]
    assert message in found["detail"]


def test_a_key_of_any_length_or_look_makes_a_short_line(server):
    found = problem(server.predict([zeros()], **{"a\nb" + "x" * 100_000: 1}), "wrong-values")
    assert "Extra inputs are not permitted" in found["detail"]


def test_all_faults_of_a_what_if_are_told_at_once(server):
    wish = {"blank": [9, 1, 12], "silence": [{"unit": 99_999, "layer": 3}]}
    found = problem(server.predict([zeros()], what_if=wish), "wrong-values")
    assert [each["pointer"] for each in found["errors"]] == [
        "/what_if/blank/0",
        "/what_if/blank/2",
        "/what_if/silence/0/unit",
        "/what_if/silence/0/layer",
    ]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"inputs": []}', b'{"inputs": null}', b'{"inputs": {}}', b'{"inputs": "[[0]]"}']
)
def test_inputs_must_be_there(server, body):
    (error,) = problem(server.post(body), "wrong-values")["errors"]
    assert error["pointer"] == "/inputs"


# --- sequences


@pytest.mark.parametrize(
    ("wish", "name", "detail"),
    [
        ({"inputs": [[[0] * 4]]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (1, 4)"),
        ({"inputs": [[0] * 5]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (5,)"),
        ({"inputs": [[]]}, "wrong-values", "inputs[0]: expected shape (steps, 5), found (0,)"),
        (
            {"inputs": [[[0, 0, None, 0, None]]]},
            "wrong-values",
            "inputs[0]: expected numbers, found 2 null; the model was trained with --missing error",
        ),
        (
            {"inputs": [[[1e39, 0, 0, 0, 0]]]},
            "wrong-values",
            "inputs[0]: expected numbers that float32 can hold, found larger ones",
        ),
        ({"inputs": [[[0] * 5]], "lengths": []}, "wrong-values", "lengths: expected 1 of them, found 0"),
        ({"inputs": [[[0] * 5]], "lengths": [1, 1]}, "wrong-values", "lengths: expected 1 of them, found 2"),
        (
            {"inputs": [[[0] * 5]], "lengths": [2]},
            "wrong-values",
            "inputs[0]: expected a length of at most 1, found 2",
        ),
        (
            {"inputs": [[[0] * 5]], "lengths": [0]},
            "wrong-values",
            "lengths.0: Input should be greater than or equal to 1",
        ),
        (
            {"inputs": [[[0] * 5]], "lengths": [1.0]},
            "wrong-values",
            "lengths.0: Input should be a valid integer",
        ),
        ({"inputs": [[[0] * 5]], "lengths": 1}, "wrong-values", "lengths: Input should be a valid list"),
        ({"inputs": [[[0] * 5]], "fit": True}, "wrong-values", "fit: this model does not read images"),
        (
            {"inputs": [[[0] * 5]], "fit": True, "full_scale": 1},
            "wrong-values",
            "full_scale and fit: this model does not read images",
        ),
        (
            {"inputs": [[[0] * 5] * 10_001]},
            "too-large",
            "expected at most 10,000 steps a sequence, found 10,001",
        ),
        ({"inputs": [[[0] * 5]] * 257}, "too-large", "expected at most 256 inputs, found 257"),
        (
            {"inputs": [[[0] * 5] * 501] * 2, "trace": True},
            "too-large",
            "expected at most 1,000 steps and 4,000,000 numbers to trace, found 1,002 and 102,204; "
            "ask for fewer sequences at a time",
        ),
        (
            {"inputs": [[[0] * 5] * 1_001], "what_if": {"blank": [1]}},
            "too-large",
            "expected at most 1,000 steps and 4,000,000 numbers to trace, found 1,001 and 102,102; "
            "ask for fewer sequences at a time",
        ),
    ],
    ids=lambda each: str(each)[:60],
)
def test_sequences_that_cannot_be_read_are_refused_by_name(sequences, wish, name, detail):
    assert problem(sequences.post(json.dumps(wish).encode()), name)["detail"] == detail


def test_a_million_steps_are_too_many(sequences):
    body = b'{"inputs":[[' + b"[1,2,3,4,5]," * 500_000 + b"[1,2,3,4,5]]]}"
    assert problem(sequences.post(body), "too-large")["detail"].startswith(
        "expected at most 10,000 steps a sequence, found 500,001"
        if len(body) < 8 * 2**20
        else "expected a body of at most 8,388,608 bytes"
    )
    longer = b'{"inputs":[[' + b"[0,0,0,0,0]," * 1_000_000 + b"[0,0,0,0,0]]]}"
    assert "8,388,608 bytes, unpacked" in problem(sequences.post(longer), "too-large")["detail"]
    packed = sequences.post(gzip.compress(longer, 1), headers={"content-encoding": "gzip"})
    problem(packed, "too-large")


def test_a_million_numbers_where_a_few_belong_are_refused(server):
    body = b'{"inputs":[[' + b"0," * 1_000_000 + b"0]]}"
    assert "found (1000001,)" in problem(server.post(body), "wrong-values")["detail"]


def test_a_model_of_sequences_reads_no_pictures(sequences):
    found = problem(sequences.post(png(stroke()), "image/png"), "wrong-type")
    assert found["detail"] == "this model reads sequences, not images: send application/json"


# --- what would take much more memory than it looks


def grows(server, *requests: tuple[bytes, str, dict[str, str]]) -> float:
    before = memory_mb(server.process.pid)
    for body, kind, headers in requests:
        began = time.monotonic()
        answer = server.post(body, kind, headers)
        assert time.monotonic() - began < 10
        assert 400 <= answer.status < 500, answer
    return memory_mb(server.process.pid) - before


def test_a_gzip_bomb_is_not_unpacked(server):
    packer = zlib.compressobj(9, wbits=31)
    zero = bytes(2**20)
    bomb = b"".join(packer.compress(zero) for _ in range(1024)) + packer.flush()
    assert len(bomb) < 2 * 2**20
    before, began = memory_mb(server.process.pid), time.monotonic()
    found = problem(server.post(bomb, headers={"content-encoding": "gzip"}), "too-large")
    assert time.monotonic() - began < 5
    assert found["detail"] == "expected a body of at most 8,388,608 bytes, unpacked, found more"
    assert memory_mb(server.process.pid) - before < GIANT_MB


def test_a_long_text_among_many_numbers_does_not_take_its_length_for_each_of_them(server):
    body = (
        b'{"inputs":[["' + b"x" * 1_000_000 + b'",' + b"1," * 2_000 + b"1]]}"
    )  # 8 GB, as NumPy would have it
    assert grows(server, (body, "application/json", {})) < GIANT_MB


def test_text_that_says_true_takes_no_more(server):
    body = b'{"trace":true,"inputs":[["' + b"x" * 1_000_000 + b'",' + b"1," * 2_000 + b"1]]}"
    assert grows(server, (body, "application/json", {})) < GIANT_MB


def test_a_whole_number_of_millions_of_digits_is_refused_soon(server):
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


def test_text_in_a_picture_does_not_unpack_without_bound(server):
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
def test_what_is_no_picture_that_can_be_read_is_refused(server, content):
    found = problem(server.post(content, "image/png"), "wrong-values")
    assert "the image" in found["detail"]


def test_of_a_picture_that_moves_the_first_frame_is_read(server):
    moving, still = animated("WEBP"), server.post(png(stroke()), "image/png")
    found = server.post(moving, "image/webp")
    assert found.status == 200
    assert found.json()["predictions"][0]["label"] == still.json()["predictions"][0]["label"]


def test_the_text_beside_a_picture_is_no_hindrance(server):
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


# --- types, encodings, forms


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (None, "no Content-Type"),
        ("", "no Content-Type"),
        ("text/plain", "'text/plain'"),
        ("application/xml", "'application/xml'"),
        ("application/jsonp", "'application/jsonp'"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("image", "'image'"),
        ("x" * 1_000, f"'{'x' * 80}'"),
    ],
)
def test_a_type_that_is_not_read_is_refused(server, kind, found):
    detail = problem(server.post(b'{"inputs": []}', kind), "wrong-type")["detail"]
    assert detail == f"expected application/json, image/..., or multipart/form-data, found {found}"


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "x", "\xff"])
def test_an_encoding_that_is_not_read_is_refused(server, encoding):
    found = problem(server.post(zlib.compress(b"{}"), headers={"content-encoding": encoding}), "wrong-type")
    assert found["detail"].startswith("expected the encoding gzip or none, found ")


PACKED = gzip.compress(json.dumps({"inputs": [zeros()]}).encode())


@pytest.mark.parametrize(
    "body",
    [
        PACKED[:-1],
        PACKED[:20],
        b"",
        b"garbage",
        PACKED[:30] + b"\xff" * 10 + PACKED[40:],
        PACKED + PACKED,
        PACKED + b"x",
    ],
    ids=["end", "half", "empty", "garbage", "damaged", "two", "more"],
)
def test_a_body_that_is_not_gzip_as_it_says_is_malformed(server, body):
    found = problem(server.post(body, headers={"content-encoding": "gzip"}), "malformed")
    assert found["detail"].startswith("expected a body packed with gzip, found ")


PICTURE = ('name="a"; filename="a.png"', png(stroke()))


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        (*form(), "wrong-values"),
        (*form(('name="a"', b"text")), "malformed"),
        (*form(PICTURE, ('name="b"', b"text")), "malformed"),
        (*form(('filename="a.png"', png(stroke()))), "malformed"),
        (form(PICTURE)[0], "multipart/form-data", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=other", "malformed"),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=undefined", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=idna", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=line; charset=base64", None),
        (form(PICTURE)[0], "multipart/form-data; boundary=" + "x" * 5_000, "malformed"),
        (form(PICTURE)[0][:-12], form(PICTURE)[1], None),
        (b"--line\r\n\r\n\r\n--line--\r\n", form()[1], "malformed"),
        (b"--line\r\nbroken", form()[1], None),
        (b"garbage", form()[1], "malformed"),
        (b"", form()[1], "wrong-values"),
        (*form(PICTURE, ('name="b"; filename="b.png"', b"no picture")), "wrong-values"),
        (*form(('name="b"; filename="b\x01\x85\u2028.png"', b"no picture")), "wrong-values"),
        (*form(*[('name="b"; filename="b.png"', b"")] * 257), "too-large"),
        (*form(*[('name="b"; filename="b.png"', b"")] * 1_001), "malformed"),
    ],
)
def test_a_form_that_is_broken_is_refused(server, body, kind, name):
    answer = server.post(body, kind)
    if name is not None:
        problem(answer, name)
    else:  # the parser reads what it can; what matters is that it is told
        assert answer.status in (200, 400, 422), answer
        if answer.status > 200:
            problem(answer, answer.json()["type"].rpartition("/")[2])


def test_the_file_of_a_form_that_cannot_be_read_is_named(server):
    body, kind = form(PICTURE, ('name="b"; filename="seven.png"', b"no picture"))
    assert "seven.png" in problem(server.post(body, kind), "wrong-values")["detail"]


@pytest.mark.parametrize("query", ["?trace=yes", "?trace", "?trace=1", "?trace=true&trace=maybe"])
def test_a_query_that_is_neither_true_nor_false_is_refused(server, query):
    found = problem(server.post(png(stroke()), "image/png", query=query), "wrong-values")
    assert found["detail"].startswith("trace: expected true or false, found ")


def test_a_query_of_too_many_parts_is_refused(server):
    query = "?" + "&".join(f"a{number}=1" for number in range(200))
    problem(server.post(png(stroke()), "image/png", query=query), "wrong-values")


# --- sizes and lengths of bodies


def test_a_body_that_is_said_to_be_far_too_large_is_not_waited_for(server):
    with server.line() as line:
        line.say(
            head(
                "POST",
                "/v1/predict",
                {"content-type": "application/json", "content-length": str(2**40)},
                server.port,
            )
        )
        answer = line.hear()
        problem(answer, "too-large")
        assert answer.header("connection") == "close"
        assert line.closed


def test_a_body_too_large_is_refused_before_a_client_that_asks_first_sends_it(server):
    headers = {
        "content-type": "application/json",
        "content-length": str(8 * 2**20 + 1),
        "expect": "100-continue",
    }
    with server.line() as line:
        line.say(head("POST", "/v1/predict", headers, server.port))
        problem(line.hear(), "too-large")


def test_a_client_that_asks_first_is_told_to_go_on(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "expect": "100-continue"}
    with server.line() as line:
        line.say(head("POST", "/v1/predict", headers, server.port))
        assert line.hear().status == 100
        line.say(body)
        assert line.hear().status == 200


def test_a_body_a_little_too_large_is_read_to_its_end_and_the_connection_goes_on(server):
    body = b" " * (8 * 2**20 + 1)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    with server.line() as line:
        line.say(head("POST", "/v1/predict", headers, server.port) + body)
        problem(line.hear(), "too-large")
        line.say(head("GET", "/v2/health/live", {}, server.port))
        assert line.hear().status == 200


def test_the_largest_body_that_is_read_is_one_of_the_limit(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    assert server.post(body + b" " * (8 * 2**20 - len(body))).status == 200


def chunked(server, *pieces: bytes, last: bool = True, **headers: str) -> bytes:
    kept = {"content-type": "application/json", "transfer-encoding": "chunked"} | headers
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head("POST", "/v1/predict", kept, server.port) + body + (b"0\r\n\r\n" if last else b"")


def test_a_body_in_chunks_is_read(server):
    body = json.dumps({"inputs": [zeros()]}).encode()
    with server.line() as line:
        line.say(chunked(server, body[:5], body[5:6], body[6:]))
        answer = line.hear()
    assert answer.body == server.post(body).body


def test_a_body_in_chunks_without_an_end_is_refused_at_a_bound(server):
    before = memory_mb(server.process.pid)
    with server.line() as line:
        try:
            line.say(chunked(server, last=False))
            for _ in range(200):
                line.say(b"100000\r\n" + bytes(2**20) + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("200 MB were taken")
    assert memory_mb(server.process.pid) - before < GIANT_MB


def test_a_chunked_body_over_the_limit_is_refused(server):
    with server.line() as line:
        line.say(chunked(server, *[b" " * 2**20] * 9))
        problem(line.hear(), "too-large")


@pytest.mark.parametrize(
    "lines",
    [
        "content-length: -1",
        "content-length: 1x",
        "content-length: 99999999999999999999999",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: what",
    ],
)
def test_lengths_that_contradict_are_malformed(server, lines):
    with server.line() as line:
        line.say(f"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n".encode() + b"{}")
        problem(line.hear(), "malformed")
        assert line.closed


# --- HTTP


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nho st: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: local\x00host\r\n\r\n",
        b"get / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http://a:b:c/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET ? HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_what_is_not_http_is_malformed(server, said):
    with server.line() as line:
        line.say(said)
        answer = line.hear()
        problem(answer, "malformed")
        assert answer.header("connection") == "close"
        assert line.closed


def test_an_end_in_the_middle_of_a_request_ends_the_connection(server):
    for said in (b"", b"GET / HT", head("POST", "/v1/predict", {"content-length": "9"}, server.port) + b"{"):
        with server.line() as line:
            line.say(said)
            line.socket.shutdown(1)
            assert line.socket.recv(1000) == b"" or True
    server.goes_on()


@pytest.mark.parametrize("size", [40_000, 100_000, 1_000_000])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_too_large_is_refused(server, size, at_once):
    said = head("GET", "/v2/health/live", {"x": "y" * size}, server.port)
    with server.line() as line:
        try:
            if at_once:
                line.say(said)
            else:
                for start in range(0, len(said), 5_000):
                    line.say(said[start : start + 5_000])
                    time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            problem(line.hear(), "head-too-large")
        except ConnectionResetError:  # it closed while we were speaking: all the same
            assert size > 100_000


def test_a_head_of_a_few_thousand_bytes_is_read(server):
    assert server.get("/v2/health/live", {"x": "y" * 20_000}).status == 200


def test_requests_in_a_row_are_answered_in_their_order(server):
    bodies = [json.dumps({"inputs": each[None].tolist()}).encode() for each in pictures(6)]
    said = b""
    for body in bodies:
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        said += head("POST", "/v1/predict", headers, server.port) + body
        said += head("GET", "/v2/health/live", {}, server.port)
    with server.line() as line:
        line.say(said)
        for body in bodies:
            assert line.hear().body == server.post(body).body
            assert line.hear().json() == {"live": True}


def test_a_client_of_http_1_0_is_answered_and_the_connection_ends(server):
    with server.line() as line:
        line.say(b"GET /v2/health/live HTTP/1.0\r\nhost: localhost\r\n\r\n")
        assert line.hear().json() == {"live": True}
        assert line.closed


def test_a_request_may_name_the_server_in_its_target(server):
    answer = server.get(f"http://127.0.0.1:{server.port}/v2/health/live")
    assert answer.json() == {"live": True}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "//",
        "//v1/model",
        "/v1/model/",
        "/v1//model",
        "/V1/model",
        "/v1/predict/",
        "/../v1/model",
        "/assets/../v1/model",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/assets/..%2f..%2fapp.py",
        "/assets/",
        "/assets/app.js/",
        "/assets/app.js%00",
        "/docs",
        "/redoc",
        "/problems/nothing",
        "/problems/%0aline",
        "/v1/%0d%0aset-cookie:%20a=b",
        "/" + "x" * 10_000,
        "/%",
        "/%zz",
        "/%ff",
        "/v1/stream",
        "/v1/models/other/load",
        "/v2/repository/models/x/unload",
        "/shutdown",
    ],
)
def test_there_is_nothing_at_other_paths(server, path):
    found = problem(server.get(path), "unknown-route")
    assert found["detail"].startswith("there is no ")


def test_an_idle_crowd_does_not_stop_answers(server):
    idle = [server.line() for _ in range(500)]
    try:
        given = pictures(1)
        np.testing.assert_array_equal(server.shares(given.tolist()), server.model.predict_proba(given))
    finally:
        for each in idle:
            each.close()


# --- slow clients, and crowds


@pytest.fixture(scope="module")
def hasty():
    with in_thread(
        made(), read_s=0.3, idle_s=2.0, connections=20, deadline_s=5.0, body_bytes=100_000
    ) as found:
        yield found


def test_a_head_that_comes_too_slowly_is_refused(hasty):
    with hasty.line() as line:
        line.say(b"GET /v2/health/live HTTP/1.1\r\nhost: ")
        answer = line.hear()
        assert problem(answer, "too-slow")["detail"] == "expected a request's head within 0.3 s"
        assert answer.header("connection") == "close"
        assert line.closed


def test_a_head_that_drips_is_refused_all_the_same(hasty):
    with hasty.line() as line:
        line.say(b"GET / HTTP/1.1\r\nx: ")
        for _ in range(100):
            try:
                line.say(b"y")
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.02)
        else:
            pytest.fail("two seconds were waited")


def test_the_second_head_of_a_connection_must_not_drip_either(hasty):
    with hasty.line() as line:
        line.say(head("GET", "/v2/health/live", {}, hasty.port))
        assert line.hear().status == 200
        line.say(b"GET")
        problem(line.hear(), "too-slow")


@pytest.mark.parametrize("deadline_s", [0.3, 0.4])
def test_a_body_that_comes_too_slowly_is_refused(deadline_s):
    with in_thread(made(), read_s=0.4, deadline_s=deadline_s) as server, server.line() as line:
        headers = {"content-type": "application/json", "content-length": "100"}
        line.say(head("POST", "/v1/predict", headers, server.port) + b'{"in')
        answer = line.hear()
        detail = f"expected the whole request within {deadline_s} s, found 4 bytes of it"
        assert problem(answer, "too-slow")["detail"] == detail
        assert answer.header("connection") == "close"
        assert line.closed


def test_bodies_that_are_under_way_take_no_more_memory_than_is_set():
    with in_thread(made(), held_bytes=200_000) as server, server.line() as line:
        headers = {"content-type": "application/json", "content-length": "190001"}
        line.say(head("POST", "/v1/predict", headers, server.port) + b" " * 190_000)
        until(lambda: server.given.admission.in_flight == 1, "it does not come in")
        time.sleep(0.1)
        body = json.dumps({"inputs": [[[0] * 5]]}).encode()
        turned = server.post(body + b" " * 100_000)
        assert "hold 190,000 bytes; the limit is 200,000" in problem(turned, "overloaded")["detail"]
        assert turned.header("retry-after") == "1"
        assert server.post(body).status == 200
        line.say(b"x")
        problem(line.hear(), "malformed")
        assert server.post(body + b" " * 100_000).status == 200


def test_a_connection_that_says_nothing_is_closed():
    with in_thread(made(), idle_s=0.3) as server, server.line() as line:
        assert line.closed


def test_connections_past_the_limit_are_told_so_and_those_that_are_there_go_on():
    with in_thread(made(), connections=5) as server:
        kept = [server.line() for _ in range(5)]
        try:
            kept[0].say(head("GET", "/v2/health/live", {}, server.port))
            assert kept[0].hear().status == 200
            with server.line() as line:
                found = problem(line.hear(), "overloaded")
                assert found["detail"] == "5 connections are open, which is the limit"
        finally:
            for each in kept:
                each.close()
        until(lambda: _answers(server), "places were not given back")


def _answers(server) -> bool:
    try:
        return server.get("/v2/health/live").status == 200
    except OSError:
        return False


def test_a_client_that_does_not_take_its_answer_is_let_go():
    given = np.zeros((20, 50, 5)).tolist()
    body = json.dumps({"inputs": given, "trace": True}).encode()
    with in_thread(made(), read_s=0.3) as server, server.line() as line:
        line.socket.setsockopt(1, 8, 4096)  # SO_RCVBUF
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        line.say((head("POST", "/v1/predict", headers, server.port) + body) * 8)
        until(lambda: server.given.admission.in_flight == 0, "it is held")
        server.goes_on()


# --- anything at all

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=25,
)
WISH = st.fixed_dictionaries(
    {"inputs": st.lists(st.lists(st.lists(JSON, min_size=5, max_size=5), max_size=3), max_size=3) | JSON},
    optional={
        "lengths": st.lists(st.integers(0, 4), max_size=3) | JSON,
        "full_scale": JSON,
        "fit": st.booleans() | JSON,
        "trace": st.booleans() | JSON,
        "what_if": st.fixed_dictionaries(
            {},
            optional={
                "blank": st.lists(st.integers(-1, 5), max_size=3) | JSON,
                "clamp": st.lists(
                    st.fixed_dictionaries(
                        {"gate": st.sampled_from("ifogz"), "value": st.floats(-1, 2) | JSON},
                        optional={"layer": st.integers(0, 3), "direction": JSON},
                    ),
                    max_size=2,
                )
                | JSON,
                "silence": st.lists(st.fixed_dictionaries({"unit": st.integers(-1, 20)}), max_size=2) | JSON,
            },
        )
        | JSON,
    },
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(WISH | JSON)
def test_no_json_makes_the_server_fail(sequences, wish):
    answer = sequences.post(json.dumps(wish).encode())
    assert answer.status in (200, 400, 413, 422), answer
    if answer.status > 200:
        problem(answer, answer.json()["type"].rpartition("/")[2])


HEAD = st.builds(
    lambda method, target, version, lines, end: b" ".join((method, target, version)) + b"\r\n" + lines + end,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PATCH"]) | st.binary(max_size=6),
    st.sampled_from([b"/", b"/v1/predict", b"*", b"http://x/", b"//", b"/?%"]) | st.binary(max_size=20),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2"]) | st.binary(max_size=8),
    st.lists(
        st.sampled_from(
            [
                b"host: localhost\r\n", b"Host: localhost\r\n", b"host: localhost\r\n", b"origin: http://[\r\n",
                b"content-length: 0\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n",
                b"connection: upgrade\r\n", b"upgrade: websocket\r\n", b"upgrade: h2c\r\n",
                b"content-type: application/json\r\n", b"content-encoding: gzip\r\n",
                b"expect: 100-continue\r\n",
                b"sec-websocket-version: 13\r\n", b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ]
        )
        | st.binary(max_size=12),
        max_size=6,
    ).map(b"".join),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n{}", b"\r\n\x00\xff", b""]),
)  # fmt: skip


@FUZZ
@given(HEAD)
def test_no_head_makes_the_server_fail(hasty, said):
    with hasty.line() as line:
        try:
            line.say(said)
            line.socket.shutdown(1)
            method = said.partition(b" ")[0].decode("latin-1")
            answer = line.hear(method)
        except ConnectionError:
            return
        assert answer.status < 500, answer
        if answer.status >= 400 and method != "HEAD":
            problem(answer, answer.json()["type"].rpartition("/")[2])


def test_random_bytes_for_a_picture_never_make_the_server_fail(server):
    draw = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"):
        whole = np.frombuffer(png(stroke(), kind), np.uint8)
        for _ in range(15):
            content = whole.copy()
            places = draw.integers(0, len(content), 4)
            content[places] = draw.integers(0, 256, 4)
            answer = server.post(content.tobytes(), f"image/{kind.lower()}")
            assert answer.status in (200, 422), (kind, answer)
