"""Images and recordings that are uploaded instead of JSON: their type, their query, the files of a form."""

from __future__ import annotations

import contextlib
from urllib.parse import parse_qs

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from scanline.serving.asgi import Message, Scope
from scanline.serving.problems import Problem

_MAX_QUERY_FIELDS = 100


def content_type(scope: Scope) -> bytes:
    """Return the media type of a request, without parameters; empty if there is none."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type: bytes = value.partition(b";")[0].strip().lower()
            return media_type
    return b""


def query_flag(scope: Scope, name: str) -> bool:
    """Return a flag of the query, false if it is absent.

    Raises:
        Problem: `wrong-values`.
    """
    query = scope["query_string"].decode("latin-1")
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        raise Problem("wrong-values", f"expected at most {_MAX_QUERY_FIELDS} fields in the query") from None
    value: str = fields.get(name, ["false"])[-1]
    if value not in ("true", "false"):
        raise Problem("wrong-values", f"{name}: expected true or false, found {value[:40]!r}")
    return value == "true"


async def uploaded_files(scope: Scope, media_type: bytes, body: bytes) -> list[tuple[str, bytes]]:
    """Return the images or recordings of a request as (name, content), in its order.

    Raises:
        Problem: `wrong-type` or `malformed`.
    """
    if media_type.startswith(b"image/"):
        return [("the image", body)]
    if media_type.startswith(b"audio/"):
        return [("the recording", body)]
    if media_type == b"multipart/form-data":
        return await form_files(scope, body)
    given = repr(media_type[:80].decode("latin-1")) if media_type else "no Content-Type"
    raise Problem(
        "wrong-type",
        f"expected application/json, image/..., audio/..., or multipart/form-data, found {given}",
    )


async def form_files(scope: Scope, body: bytes) -> list[tuple[str, bytes]]:
    """Return the files of a form as (name, content)."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    # Without the application in its scope, Starlette raises its own errors instead of making responses of
    # them.
    plain = {name: scope[name] for name in ("type", "headers")}
    try:
        # `max_fields=0` admits files only.
        form = await Request(plain, receive).form(max_fields=0)
    except (MultiPartException, HTTPException, KeyError, ValueError) as error:  # e.g. an unknown charset
        raise Problem("malformed", f"expected a form with files: {error}") from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        return [
            (each.filename or name, await each.read())
            for name, each in form.multi_items()
            if isinstance(each, UploadFile)
        ]
