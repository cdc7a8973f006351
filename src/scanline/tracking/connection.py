"""Connections to a server: settings of MLflow's client, and whether it can be reached.

Nothing large is imported here.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from urllib.parse import urlsplit

from scanline.errors import ScanlineError, one_line
from scanline.tracking.target import Target


class TrackingError(ScanlineError):
    """The server does not answer, or refuses a request."""


class NoConnection(TrackingError):
    """No connection to the server can be made."""


def configure_client(target: Target, timeout_s: int) -> None:
    """Set the environment of MLflow's client, before it is imported.

    The client must not repeat requests by itself: a request whose answer was lost may have been carried out.

    Args:
        target: The server.
        timeout_s: Seconds to wait for an answer, unless the user has set MLFLOW_HTTP_REQUEST_TIMEOUT.
    """
    os.environ.update(target.secrets)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout_s))
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # a lock file in the working directory is none of ours
    os.environ["MLFLOW_TRACKING_URI"] = target.uri  # where the client looks for stores of files


def check_reachable(target: Target, timeout_s: float) -> None:
    """Raise NoConnection if no connection to an HTTP server can be made.

    This costs nothing, while importing MLflow's client takes one or two seconds of a processor.
    """
    parts = urlsplit(target.uri)
    host = parts.hostname
    if not target.is_http or host is None:
        return
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return  # the proxy makes the connection
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((host, port), timeout_s).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoConnection(unreachable(target, reason)) from error


def unreachable(target: Target, reason: str) -> str:
    """Return the message about a server that does not answer."""
    return f"cannot reach {target.shown} ({one_line(reason, 120)})"
