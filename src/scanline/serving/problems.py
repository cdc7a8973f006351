"""Errors over HTTP, as RFC 9457 wants them: application/problem+json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scanline.errors import ScanlineError

MEDIA_TYPE = "application/problem+json"
_LONGEST_LINE = 500


@dataclass(frozen=True)
class Kind:
    """status: of HTTP. title: the same for every occurrence. meaning: what it is and what to do."""

    status: int
    title: str
    meaning: str


KINDS = {
    "malformed": Kind(400, "The request cannot be read", "It is not HTTP, not JSON, or not a form; mend it."),
    "no-token": Kind(401, "A token is wanted", "Send Authorization: Bearer TOKEN, with this server's token."),
    "foreign-origin": Kind(
        403, "Another site's page asked", "The Origin is not this server's; --allow-origin admits one."
    ),
    "unknown-route": Kind(404, "There is nothing here", "/openapi.json lists what there is."),
    "wrong-method": Kind(405, "This route has other methods", "The header Allow names them."),
    "too-slow": Kind(408, "The request did not arrive in time", "Send it faster, or in smaller parts."),
    "too-large": Kind(
        413, "The request is too large", "/v1/model tells the limits; send less at a time, or raise them."
    ),
    "wrong-type": Kind(
        415,
        "This kind of content is not read",
        "Send application/json, a picture with its type, or multipart/form-data; gzip or no encoding.",
    ),
    "wrong-host": Kind(
        421,
        "This server is called otherwise",
        "The header Host is not one of its names; --allow-host adds one.",
    ),
    "wrong-values": Kind(
        422,
        "The values cannot be read",
        "The request is well-formed, but the model cannot read what it holds.",
    ),
    "head-too-large": Kind(431, "The head of the request is too large", "Send fewer or shorter headers."),
    "failed": Kind(500, "The server failed", "A fault of the server; its log has more."),
    "overloaded": Kind(
        503, "Too much at once", "As many requests are under way as may be; try again after Retry-After."
    ),
    "too-late": Kind(
        503, "It took too long", "The answer was not there before the deadline; try again later."
    ),
    "ending": Kind(503, "The server is ending", "What is under way is finished; ask another server."),
}


class Problem(ScanlineError):
    """A request that is answered with an error.

    name: one of KINDS. detail: this occurrence, in a line. pointers: (JSON pointer into the request, what is
    wrong there). headers: to send with it.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        pointers: tuple[tuple[str, str], ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.name, self.detail, self.pointers, self.headers = name, detail, pointers, headers
        self.status = KINDS[name].status

    def to_json(self) -> dict[str, Any]:
        """The members that RFC 9457 names, and `errors` with a pointer each."""
        found: dict[str, Any] = {
            "type": f"/problems/{self.name}",
            "title": KINDS[self.name].title,
            "status": self.status,
            "detail": _line(self.detail),
        }
        if self.pointers:
            found["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.pointers]
        return found

    def to_bytes(self) -> bytes:
        """The body of the answer."""
        return json.dumps(self.to_json(), ensure_ascii=False).encode()


def _line(text: str) -> str:
    """Without what a client put into it to make it long, or more than a line."""
    return "".join(each if each.isprintable() else " " for each in text[:_LONGEST_LINE])
