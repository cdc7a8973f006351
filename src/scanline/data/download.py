"""Downloads a file from the first mirror that has it: complete and verified, or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scanline.errors import DataError, ScanlineError
from scanline.storage.atomic import sync_folder

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the size of the file in bytes, None if it is unknown."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
# Resume an interrupted transfer from the same mirror a few times before trying the next one.
ATTEMPTS_A_MIRROR = 3
# An interrupted chunk is lost as a whole, so a resumed download may request up to this much again.
_CHUNK_BYTES = 2**14


class _MirrorError(Exception):
    """A mirror failed; the text is a short reason."""


class _BrokeOffError(_MirrorError):
    """The connection ended early: the received bytes are kept, and the rest can be requested."""


def offline() -> bool:
    """Return whether SCANLINE_OFFLINE forbids network access: any value except 0 and the empty one."""
    return os.environ.get("SCANLINE_OFFLINE", "") not in ("", "0")


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    limit_bytes: int,
    check: Callable[[Path], str | None],
    force: bool = False,
    on_progress: Progress | None = None,
) -> Path:
    """Return `target`, after downloading it if it does not exist.

    An interrupted download stays as `<target>.part` and is resumed by the next call, from any mirror. A
    resumed file that fails the check is deleted and downloaded again. Safe to call from several processes at
    once: one downloads, the others wait for it.

    Args:
        urls: Mirrors, tried in order.
        target: Path of the file.
        limit_bytes: The largest size that is accepted.
        check: Called with the path of a complete download; returns None, or a short reason to reject it.
        force: Download even if `target` exists.
        on_progress: Called as data arrive.

    Raises:
        DataError: If no mirror has a valid file, or SCANLINE_OFFLINE is set.
        ScanlineError: If the file cannot be written.
    """
    from filelock import FileLock

    if target.exists() and not force:
        return target
    wanted = f"{target.parent.name}/{target.name}"
    remedy = f"put the file at {target}, or set SCANLINE_DATA to a folder that has {wanted}"
    if offline():
        raise DataError(f"{target.name} was not found and SCANLINE_OFFLINE is set: unset it, {remedy}")
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if target.exists() and not force:  # another process was faster
                return target
            _from_first_mirror(urls, part, limit_bytes, check, on_progress, remedy, target.name)
            # `part` was flushed by `_receive` and checked: the final name only ever refers to a valid file.
            os.replace(part, target)
            sync_folder(target.parent)
    except OSError as error:
        raise ScanlineError(
            f"cannot write {target}: {error.strerror or error}; "
            f"set SCANLINE_CACHE to a folder that can be written"
        ) from error
    return target


def _from_first_mirror(
    urls: Sequence[str],
    part: Path,
    limit_bytes: int,
    check: Callable[[Path], str | None],
    on_progress: Progress | None,
    remedy: str,
    name: str,
) -> None:
    reasons = []
    for url in urls:
        try:
            _from_mirror(url, part, limit_bytes, check, on_progress)
            return
        except _MirrorError as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
    raise DataError(f"cannot download {name}: {'; '.join(reasons) or 'no mirrors'}; {remedy}")


def _from_mirror(
    url: str,
    part: Path,
    limit_bytes: int,
    check: Callable[[Path], str | None],
    on_progress: Progress | None,
) -> None:
    """Complete `part` from `url` and check it. Raises _MirrorError."""
    reason: str | None = None
    for attempt in range(ATTEMPTS_A_MIRROR):
        before = part.stat().st_size if part.exists() else 0
        try:
            resumed = _receive(url, part, limit_bytes, on_progress)
        except _BrokeOffError:
            # Without progress, another attempt would only repeat the failure.
            if attempt + 1 == ATTEMPTS_A_MIRROR or part.stat().st_size <= before:
                raise
            continue
        reason = check(part)
        if reason is None:
            return
        part.unlink()
        # The first piece may be from another mirror or an older version: download the whole file once more.
        if not resumed:
            break
    raise _MirrorError(str(reason))


def _receive(url: str, part: Path, limit_bytes: int, on_progress: Progress | None) -> bool:
    """Append the missing bytes to `part`, or write it from the start. Return whether it was resumed."""
    import requests

    held = part.stat().st_size if part.exists() else 0
    # identity: no transfer compression, so that byte ranges and checksums refer to the stored file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    try:
        response = requests.get(
            url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=True
        )
    except requests.RequestException as error:
        raise _MirrorError(_short(error)) from error
    with response:
        start = _start_of(response)
        # 416, or another range than requested: `part` does not fit this file. Start again without it.
        if held and (response.status_code == 416 or (response.status_code == 206 and start != held)):
            part.unlink()
            return _receive(url, part, limit_bytes, on_progress)
        if response.status_code not in (200, 206) or (response.status_code == 206 and start != held):
            raise _MirrorError(f"{response.status_code} {response.reason}")
        resumed = held > 0 and response.status_code == 206
        received = held if resumed else 0
        length = response.headers.get("Content-Length", "")
        # If the server compresses the body anyway, Content-Length is not the number of bytes written here.
        known = length.isdecimal() and "Content-Encoding" not in response.headers
        total = received + int(length) if known else None
        if total is not None and total > limit_bytes:
            raise _MirrorError(f"expected at most {limit_bytes:,} bytes, got {total:,}")
        with open(part, "ab" if resumed else "wb") as file:
            try:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    received += len(chunk)
                    # The declared length is not trusted: a server may send more, or declare none.
                    if received > limit_bytes:
                        break
                    file.write(chunk)
                    if on_progress is not None:
                        on_progress(received, total)
            except requests.RequestException as error:
                raise _BrokeOffError(f"connection lost after {received:,} bytes") from error
            finally:
                # Also after an error: the bytes in `part` must be durable before a later call resumes from
                # them.
                file.flush()
                os.fsync(file.fileno())
    if received > limit_bytes:
        part.unlink()
        raise _MirrorError(f"sends more than {limit_bytes:,} bytes")
    if total is not None and received < total:  # urllib3 1.26 does not report a body that ends early
        raise _BrokeOffError(f"connection lost after {received:,} bytes")
    return resumed


def _start_of(response: requests.Response) -> int | None:
    match = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _short(error: requests.RequestException) -> str:
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, requests.ReadTimeout):
        return f"no data for {READ_SECONDS:.0f} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "certificate not trusted"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
