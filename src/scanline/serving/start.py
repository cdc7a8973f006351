"""Starts a server from the options of `scanline serve`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scanline.device import choose_device
from scanline.errors import MissingExtraError, ScanlineError, UsageError, join_names
from scanline.model.artifact import TrainedModel
from scanline.model.loading import load
from scanline.model.model_files import find_model
from scanline.serving.access import Access, host_name
from scanline.serving.limits import Limits
from scanline.serving.schema import Gallery
from scanline.version import __version__

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANY_ADDRESS = ("0.0.0.0", "::", "")
_REQUIRED = ("fastapi", "uvicorn", "httptools", "websockets", "prometheus_client", "python_multipart")
_MIN_TOKEN, _MAX_TOKEN = 16, 4096


def start(
    run: str,
    host: str,
    port: int,
    *,
    token: str = "",
    token_file: Path | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    limits: Mapping[str, Any],
    threads: int = 1,
    with_gallery: bool = True,
    data: str | None = None,
    calibrated: bool = False,
    device: str = "cpu",
    reading: Mapping[str, str | int] | None = None,
    say: Callable[[str], None],
) -> None:
    """Serve a model until a signal arrives.

    Args:
        run: Run directory or model folder.
        host: Address to listen at.
        port: Port; 0 for any that is free.
        token: What clients must send.
        token_file: File with the token, instead of `token`.
        hosts: Names of the server beside `host`.
        origins: Origins of other sites whose pages may use it.
        limits: Fields of `Limits` that differ from the defaults.
        threads: Threads that torch computes with.
        with_gallery: Whether to show test sequences on the page.
        data: Dataset that they are from; None for the one that the model was trained on.
        calibrated: Whether to calibrate probabilities.
        device: "cpu", "cuda" or "auto".
        reading: As for `Model.with_reading`; it applies to `data`, `white` to uploaded pictures as well.
        say: Called with a line that names the address.

    Raises:
        UsageError: If an option is not valid, or the address not available.
        ModelError: If the model cannot be loaded.
    """
    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("serving", missing, "serve")
    # Imported after the check, so that a missing package is reported with the name of the extra.
    import torch

    from scanline.serving.app import create_service
    from scanline.serving.server import listen, serve

    token = _token(token, token_file)
    if host not in LOOPBACK and not token:
        raise UsageError(
            f"--host {host} can be reached from other machines: set SCANLINE_TOKEN or --token-file, "
            "so that only clients with the token are served"
        )
    torch.set_num_threads(threads)
    if data is None and (others := [key for key in reading or {} if key != "white"]):
        raise UsageError(f"name the data to read by {join_names(others)} with --data")
    model = load(run, choose_device(device), calibrated).with_reading(**(reading or {}))
    gallery = _gallery(model, run, data, say) if with_gallery else None
    listener = listen(host, port)
    port = listener.getsockname()[1]
    access = _access(host, hosts, origins, token)
    folder = find_model(Path(run)).resolve()
    name = folder.parent.name if folder.name == "model" else folder.name
    service = create_service(model, name, __version__, access, replace(Limits(), **limits), gallery)
    address = "127.0.0.1" if host in _ANY_ADDRESS else f"[{host}]" if ":" in host else host
    serve(service, listener, lambda: say(f"serving {run} at http://{address}:{port}/ (Ctrl-C ends)"))


def _access(host: str, hosts: Sequence[str], origins: Sequence[str], token: str) -> Access:
    # A wildcard address does not name this server, so it is not added.
    names = {*LOOPBACK, *(() if host in _ANY_ADDRESS else (host,)), *map(host_name, hosts)}
    return Access(
        frozenset(name.lower() for name in names), frozenset(each.lower() for each in origins), token
    )


def _gallery(model: TrainedModel, run: str, data: str | None, say: Callable[[str], None]) -> Gallery | None:
    from scanline.serving.gallery import build_gallery

    if data is not None:  # data that the user names must be readable
        return build_gallery(model, run, data)
    try:
        return build_gallery(model, run)
    except ScanlineError as error:
        say(f"no test sequences on the page: {error}")
        return None


def _token(token: str, file: Path | None) -> str:
    if file is not None:
        try:
            with open(file, "rb") as opened:
                # Bounded, in case the option names a device or a huge file; one byte more shows that it is
                # too long.
                token = opened.read(_MAX_TOKEN + 1).decode("ascii", "replace").strip()
        except OSError as error:
            raise UsageError(f"cannot read --token-file {file}: {error.strerror or error}") from None
    if (file is not None or token) and (
        not _MIN_TOKEN <= len(token) <= _MAX_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise UsageError(
            f"the token must be {_MIN_TOKEN} to {_MAX_TOKEN:,} printable ASCII characters without "
            "blanks; `python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return token
