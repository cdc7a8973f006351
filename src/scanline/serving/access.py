"""Who may use the server: names of the server, origins of pages, the token."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from scanline.serving.asgi import Scope
from scanline.serving.problems import Problem

_OPEN = ("/assets/", "/v2/health/", "/problems")  # served without a token: no model data


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        hosts: Names of the server, in lower case, without port.
        origins: Origins of other sites whose pages may use it, in lower case.
        token: What clients must send; empty if none is required.
    """

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    token: str = ""

    def check(self, scope: Scope) -> None:
        """Check the headers of a request.

        Raises:
            Problem: `wrong-host`, `foreign-origin` or `no-token`.
        """
        headers = scope["headers"]
        # Host is checked against DNS rebinding, Origin against requests sent by pages of other sites.
        # More than one Host is refused (RFC 9112, section 3.2): a proxy might read another one than we do.
        hosts = [value for name, value in headers if name == b"host"]
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if host_name(host) not in self.hosts:
            given = repr(host[:100]) if len(hosts) == 1 else f"{len(hosts)} of them"
            raise Problem("wrong-host", f"expected the header Host to name this server, found {given}")
        for name, value in headers:
            if name == b"origin":
                origin = value.decode("latin-1").lower()
                # Same origin means the same host and port as in Host; the scheme is not compared, because a
                # proxy in front may terminate TLS.
                if origin.partition("://")[2] != host and origin not in self.origins:
                    raise Problem(
                        "foreign-origin", f"expected a page of {host}, found one of {origin[:100]!r}"
                    )
        if self.token and not _is_open(scope["path"]):
            self._check_token([value for name, value in headers if name == b"authorization"])

    def _check_token(self, values: list[bytes]) -> None:
        # compare_digest takes the same time wherever the values differ, so the token cannot be guessed byte
        # by byte from response times.
        if len(values) == 1 and hmac.compare_digest(values[0], b"Bearer " + self.token.encode()):
            return
        given = "another" if values else "none"
        detail = f"expected Authorization: Bearer and this server's token, found {given}"
        raise Problem("no-token", detail, headers=[("www-authenticate", "Bearer")])


def host_name(host: str) -> str:
    """Return the name in "name:port", "[::1]:port", or either without a port."""
    # An IPv6 address contains colons itself, so only the brackets delimit it.
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _is_open(path: str) -> bool:
    return path == "/" or path.startswith(_OPEN)
