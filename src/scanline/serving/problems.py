"""Errors over HTTP as RFC 9457 defines them (application/problem+json), all built here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from scanline.errors import ScanlineError
from scanline.serving.schema import ProblemDocument, ProblemLocation

MEDIA_TYPE = "application/problem+json"
MAX_FAULTS = 10
_MAX_DETAIL = 500
_MAX_KEY = 100  # of a key that the client sent, in a pointer to it


@dataclass(frozen=True)
class ProblemKind:
    """What is the same for every occurrence of a problem.

    Attributes:
        status: HTTP status code.
        title: Short summary.
        meaning: What it means and what to do about it.
    """

    status: int
    title: str
    meaning: str


KINDS = {
    "malformed": ProblemKind(
        400, "The request cannot be parsed", "The request is not valid HTTP, JSON or form data. Correct it."
    ),
    "no-token": ProblemKind(
        401, "A token is required", "Send the header Authorization: Bearer TOKEN with this server's token."
    ),
    "foreign-origin": ProblemKind(
        403,
        "The request comes from another site's page",
        "The header Origin names another site. Start the server with --allow-origin to admit it.",
    ),
    "unknown-route": ProblemKind(404, "There is no such route", "See /openapi.json for the routes."),
    "wrong-method": ProblemKind(
        405, "This route does not support the method", "The header Allow lists the supported methods."
    ),
    "too-slow": ProblemKind(
        408, "The request did not arrive in time", "Send it faster, or in smaller parts."
    ),
    "too-large": ProblemKind(
        413,
        "The request is too large",
        "Send less at a time; /v1/model lists the limits. Whoever runs the server can raise them.",
    ),
    "wrong-type": ProblemKind(
        415,
        "The content type is not supported",
        "Send application/json, an image with its type, or multipart/form-data; gzip is the only encoding.",
    ),
    "wrong-host": ProblemKind(
        421,
        "The server does not have this name",
        "The header Host names another server. Start the server with --allow-host to add a name.",
    ),
    "wrong-values": ProblemKind(
        422, "The values are not valid", "The request is well-formed, but this model cannot read its values."
    ),
    "no-websocket": ProblemKind(
        426, "This route is for WebSockets", "Open a WebSocket at this path instead of sending a request."
    ),
    "head-too-large": ProblemKind(431, "The request's head is too large", "Send fewer or shorter headers."),
    "failed": ProblemKind(500, "The server failed", "This is an error of the server; see its log."),
    "overloaded": ProblemKind(
        503, "The server is overloaded", "Try again after the time that the header Retry-After gives."
    ),
    "too-late": ProblemKind(
        503, "The response was not ready in time", "The deadline passed. Try again later."
    ),
    "ending": ProblemKind(
        503, "The server is shutting down", "It finishes the requests in flight. Use another server."
    ),
}


class Problem(ScanlineError):
    """A request that gets an error as its response.

    Args:
        name: A key of `KINDS`.
        detail: What is wrong with this request, in one line.
        faults: For each fault a JSON pointer into the request and what is wrong there.
        headers: Headers to send with the response.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        faults: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.name, self.detail = name, detail
        self.faults, self.headers = tuple(faults), tuple(headers)
        self.status = KINDS[name].status

    @property
    def document(self) -> ProblemDocument:
        """The members that RFC 9457 defines, and `errors` with a pointer each."""
        return ProblemDocument(
            type=f"/problems/{self.name}",
            title=KINDS[self.name].title,
            status=self.status,
            detail=_line(self.detail),
            errors=[ProblemLocation(pointer=pointer, detail=text) for pointer, text in self.faults] or None,
        )

    def to_bytes(self) -> bytes:
        """Return the body of the response."""
        return json.dumps(self.document.model_dump(exclude_none=True), ensure_ascii=False).encode()


def validation_problem(error: ValidationError) -> Problem:
    """Return the problem of a request that does not have the form of its Pydantic model."""
    faults = []
    # `include_input=False`: the response must not echo values of any size that the client sent.
    for each in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]:
        # Escapes of RFC 6901; "~" first, because the second replacement inserts a "~".
        parts = (str(part)[:_MAX_KEY].replace("~", "~0").replace("/", "~1") for part in each["loc"])
        faults.append(("".join(f"/{part}" for part in parts), each["msg"]))
    pointer, text = faults[0]
    return Problem("wrong-values", f"{pointer[1:].replace('/', '.') or 'the body'}: {text}", faults)


def _line(text: str) -> str:
    """Return `text` as one line of bounded length; it may contain text from a client."""
    return "".join(each if each.isprintable() else " " for each in text[:_MAX_DETAIL])
