"""Connects to a Ray cluster, for scoring and for searches."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scanline.errors import MissingExtraError, UsageError, one_line

_CONNECT_S = 10.0  # for a connection to a cluster


def check_reachable(address: str) -> None:
    """Check that there is a Ray cluster, unless this program is connected to one.

    Args:
        address: As for `connected`.

    Raises:
        MissingExtraError: If Ray is not installed.
        UsageError: If there is no cluster.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", ["ray"], "ray") from None
    if address != "local" and not ray.is_initialized():
        _reachable(address)


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to Ray, unless this program is connected already.

    Args:
        address: "local" starts Ray on this machine, "auto" joins the cluster of this machine, "HOST:PORT"
            that of another one.

    Raises:
        UsageError: If there is no cluster at the address.
    """
    # Nothing is sent to the makers of Ray; messages of its native part are in its log folder.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
        return
    if address != "local":
        address = _reachable(address)
    dashboard = False if address == "local" else None
    try:
        with _no_native_messages():
            ray.init(address, include_dashboard=dashboard, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, one_line(error, 200)) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _no_native_messages() -> Iterator[None]:
    """Discard what is written to standard error: Ray's native part reports its log level there."""
    try:
        kept = os.dup(2)
    except OSError:  # closed by the caller
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _reachable(address: str) -> str:
    """Return the address of a cluster whose port is open; Ray would try a closed one for many minutes.

    Args:
        address: "auto" or "HOST:PORT", with or without "ray://".

    Raises:
        UsageError: If there is no cluster at the address.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "") or _address_of_this_machine()
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--address: expected local, auto or HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, one_line(error)) from error
    return address


def _address_of_this_machine() -> str:
    """Return the address that `ray start` has written. Raises UsageError if it was not called."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    try:
        return (folder / "ray_current_cluster").read_text().strip()
    except OSError:
        raise UsageError(
            "--address: expected a Ray cluster on this machine, found none; start one with "
            "`ray start --head`, or use --address local or HOST:PORT"
        ) from None


def _no_cluster(address: str, fault: str) -> UsageError:
    return UsageError(f"--address: cannot join a Ray cluster at {address} ({fault})")
