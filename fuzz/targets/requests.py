"""Targets that read sessions, lines, requests and uploads."""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.mutators import Files
from fuzz.targets.base import _only, refusal_allowed
from fuzz.targets.models import MODELS, make_model
from fuzz.targets.pictures import _pictures


@functools.cache
def _models() -> tuple[Any, ...]:
    return tuple(make_model(**each) for each in MODELS)


def _sessions() -> list[Files]:
    found = []
    for model in (_models()[0], _models()[2]):
        for count in (None, 2):
            session = model.stream(count)
            shape = (3, 3) if count is None else (count, 3, 3)
            session.feed(np.ones(shape, np.float32))
            found.append({"it.session": session.to_bytes()})
    return found


def _seal_session(files: Files, rng: Random) -> Files:
    import safetensors.numpy

    from scanline.model.saved_session import content_digest, model_digest

    content = files["it.session"]
    try:
        arrays = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        described = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["scanline"])
        described.pop("sha256", None)
        if rng.random() < 0.5:
            from fuzz.mutators import changed_value

            described = changed_value(described, rng)
        if rng.random() < 0.8:
            described["model"] = model_digest(
                *(getattr(_models()[rng.choice((0, 2))], k) for k in ("network", "preprocessing"))
            )
        described["sha256"] = content_digest(described, arrays)
        return {"it.session": safetensors.numpy.save(arrays, {"scanline": json.dumps(described)})}
    except Exception:  # noqa: BLE001  there is nothing to seal
        return files


def _read_session(folder: Path) -> None:
    content = _only(folder).read_bytes()
    for model in (_models()[0], _models()[2]):
        with refusal_allowed():
            session = model.resume(content)
            steps = np.ones((2, 3) if np.ndim(session.steps) == 0 else (len(session.steps), 2, 3), np.float32)
            session.feed(steps)
            model.resume(session.to_bytes())


def _lines() -> list[Files]:
    csv = b"x,y,z\n1,2,3\n,5,6\n\n7,8,9\n"
    objects = b'{"x": 1, "y": 2.5, "z": null}\n[1, 2, 3]\n\n{"z": 1, "y": 2, "x": 3}\n'
    return [{"it.csv": csv}, {"it.ndjson": objects}, {"it.csv": b"0.1, 0.2, 0.3\n-1,1e3,4\n"}]


def _read_lines(folder: Path) -> None:
    from scanline.evaluation.predict_lines import predict_lines

    text = _only(folder).read_bytes().decode("utf-8", "replace")  # as standard input is read
    for model in (_models()[0], _models()[2]):
        with refusal_allowed():
            for answer in (each.to_json() for each in predict_lines(model, io.StringIO(text))):
                json.dumps(answer)


def _requests() -> list[Files]:
    steps, picture = [[1, 2, 3], [4, None, 6.5]], np.arange(64).reshape(8, 8).tolist()
    what = {"blank": [1], "clamp": [{"gate": "forget", "value": 1.0, "layer": 1}], "silence": [{"unit": 0}]}
    everything = {"inputs": [steps], "trace": True, "what_if": what | {"blank": []}}
    wishes: tuple[Any, ...] = (
        {"inputs": [steps, steps[:1]], "lengths": [2, 1]},
        {"inputs": [[[1, 2, 3]]], "what_if": what},
        everything,
        {"inputs": [picture]},
        {"inputs": [picture, [[0, 5], [9, 0], [1, 1]]], "fit": True, "full_scale": 10},
        {"steps": [[1, 2, 3], [1, None, 3]]},
        {"save": True},
        {"resume": "AAAA"},
        *({"resume": base64.b64encode(each["it.session"]).decode()} for each in _sessions()),
        {"reset": True},
    )
    return [{"it.json": json.dumps(each).encode()} for each in wishes]


@functools.cache
def _servers() -> list[tuple[Any, Any, Any]]:
    from scanline.serving.limits import Limits
    from scanline.serving.requests import RequestParser
    from scanline.serving.responses import Responder
    from scanline.serving.stream import Stream

    found = []
    for model in (_models()[0], _models()[1], _models()[2]):
        parser, responder = RequestParser(model, Limits(pixels=1_000_000)), Responder(model, "0")
        found.append((parser, responder, Stream(responder, parser)))
    return found


def _read_request(folder: Path) -> None:
    """As the server reads and answers it, without a socket."""
    body = _only(folder).read_bytes()
    for parser, responder, stream in _servers():
        with refusal_allowed():
            request = parser.parse_json(body)
            plain = request.is_plain
            responses = responder.respond_all([request]) if plain else [responder.respond(request)]
            assert all(json.loads(each) for each in responses)
        with refusal_allowed():
            text = body.decode("utf-8", "replace")  # as a WebSocket hands it on
            json.loads(stream.respond(text))


def _uploads() -> list[Files]:
    return [each for each in _pictures() if "it.npy" not in each]


def _read_upload(folder: Path) -> None:
    parser, responder, _ = _servers()[1]
    path = _only(folder)
    responder.respond(parser.parse_files([(path.name, path.read_bytes())], trace=True))


def _posted() -> list[Files]:
    """A request: its body, its headers, and its query."""
    png = _pictures()[0]["it.png"]
    part = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
    part += b"Content-Type: image/png\r\n\r\n%b\r\n"
    form = part % (b"a", b"a.png", png) + part % (b"b", b"\xc3\xa9.png", png) + b"--x--\r\n"
    packed = gzip.compress(_requests()[0]["it.json"], mtime=0)
    kinds = [["content-type", "multipart/form-data; boundary=x"], ["content-length", str(len(form))]]
    gzipped = [["content-encoding", "gzip"], ["content-type", "application/json"], ["expect", "100-continue"]]
    return [
        {"body.preprocessing": form, "headers.json": json.dumps(kinds).encode(), "query.txt": b"trace=true"},
        {"body.json.gz": packed, "headers.json": json.dumps(gzipped).encode(), "query.txt": b"trace=false&x"},
    ]


def _read_posted(folder: Path) -> None:
    """As the server takes a body, and pictures out of a form."""
    from scanline.serving.body import Body, BodyMemory
    from scanline.serving.limits import Limits
    from scanline.serving.uploads import form_files, query_flag

    parser, responder, _ = _servers()[1]
    body = next((path.read_bytes() for path in folder.iterdir() if path.name.startswith("body")), b"")
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    scope = {"type": "http", "headers": _headers(folder / "headers.json"), "query_string": b""}
    if (folder / "query.txt").exists():
        scope["query_string"] = (folder / "query.txt").read_bytes()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def answer() -> None:
        content = await Body(Limits(), BodyMemory(2**26)).read(scope, receive)
        with refusal_allowed():
            parser.parse_json(content)
        with refusal_allowed():
            query_flag(scope, "trace")
        files = await form_files(scope, content)
        responder.respond(parser.parse_files(files, False))

    _loop().run_until_complete(answer())


def _headers(path: Path) -> list[tuple[bytes, bytes]]:
    """What a mutated file still has of them, as the parser of HTTP hands them on."""
    try:
        given = json.loads(path.read_bytes())
        return [
            tuple(str(each).encode("latin-1", "replace") for each in pair) for pair in given if len(pair) == 2
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()
