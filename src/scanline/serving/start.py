"""From the words of a command to a server that runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scanline.device import choose_device
from scanline.errors import MissingExtraError, ScanlineError, UsageError
from scanline.model.artifact import load
from scanline.model.model_files import find_model
from scanline.serving.limits import Limits
from scanline.version import __version__

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYWHERE = ("0.0.0.0", "::", "")
_NEEDED = ("fastapi", "uvicorn", "httptools", "websockets", "prometheus_client", "python_multipart")
_SHORTEST_TOKEN, _LONGEST_TOKEN = 16, 4096


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
    calibrated: bool = False,
    device: str = "cpu",
    say: Callable[[str], None],
) -> None:
    """Serve the run or bundle at `run` until a signal comes.

    token, token_file: what clients must show. hosts, origins: as for `Access`, beside `host`. limits: what
    differs from `Limits`. threads: torch's, for computing. say: told a line where the server is to be found.
    Raises UsageError, ModelError.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("serving", missing, "serve")
    import torch

    from scanline.serving.app import service
    from scanline.serving.guard import Access, host_name
    from scanline.serving.server import listen, serve

    token = _token(token, token_file)
    if host not in LOOPBACK and not token:
        raise UsageError(
            f"--host {host} can be reached from other machines: set SCANLINE_TOKEN or --token-file, "
            "so that only those who know the token may ask"
        )
    torch.set_num_threads(threads)
    model = load(run, choose_device(device), calibrated)
    shown: dict[str, Any] = {"schema": 1, "data": None, "items": []}
    if with_gallery:
        from scanline.serving.gallery import gallery

        try:
            shown = gallery(model, run)
        except ScanlineError as error:
            say(f"no test sequences on the page: {error}")
    listener = listen(host, port)
    port = listener.getsockname()[1]
    names = {*LOOPBACK, *(() if host in _EVERYWHERE else (host,)), *map(host_name, hosts)}
    access = Access(
        frozenset(name.lower() for name in names), frozenset(each.lower() for each in origins), token
    )
    name = find_model(Path(run)).resolve()
    name = name.parent if name.name == "model" else name
    given = service(model, name.name, __version__, access, replace(Limits(), **limits), shown)
    address = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    serve(given, listener, lambda: say(f"serving {run} at http://{address}:{port}/ (Ctrl-C ends)"))


def _token(token: str, file: Path | None) -> str:
    if file is not None:
        try:
            with open(file, "rb") as opened:
                token = opened.read(_LONGEST_TOKEN + 1).decode("ascii", "replace").strip()
        except OSError as error:
            raise UsageError(f"cannot read --token-file {file}: {error.strerror or error}") from None
    wanted = file is not None or token
    if wanted and (
        not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise UsageError(
            f"the token must be {_SHORTEST_TOKEN} to {_LONGEST_TOKEN:,} printable ASCII characters without "
            "blanks; `python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return token
