"""Random requests: no JSON, head or picture makes the server fail."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.client import problem
from tests.serving.test_predict import png, stroke

pytestmark = pytest.mark.usefixtures("server_survives")

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
def test_no_head_makes_the_server_fail(hasty, sent):
    with hasty.connect() as connection:
        try:
            connection.send(sent)
            connection.socket.shutdown(1)
            method = sent.partition(b" ")[0].decode("latin-1")
            answer = connection.receive(method)
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
