"""Folders that hold packed data sets and scores: local ones, and those of object stores.

Files are read and written as a whole. Credentials are those that the SDK of each cloud finds in its
environment; they are never part of an address, a message or a file.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scanline.errors import (
    DataError,
    MissingExtraError,
    MissingFileError,
    ScanlineError,
    UsageError,
    one_line,
)
from scanline.storage.atomic import TEMPORARY, write_atomic

SCHEMES = ("s3", "gs", "az")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]*")
_ENDPOINT = re.compile(r"(?:(https?)://)?([^/@?#]+)/*")
_ATTEMPTS = 5  # of a request that fails for another reason than the address or the rights
_PIECE_BYTES = 2**23  # of a file that is uploaded
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_TIMEOUT_S = 20.0  # for a connection, and for an answer
_GS_RETRY_S = 2.0  # in which PyArrow tries a request again by itself, a quarter of an hour by default
# What object stores answer if trying again does not help; compared in lower case.
_REFUSED = ("access_denied", "access denied", "forbidden", "unauthorized", "invalid_access_key", "signature")
_REFUSED_CODES = ("http status 403", "http status 401", "error 403", "error 401")
# Also what a HEAD request gets for a bucket of another region and for expired credentials.
_WRONG_REQUEST = ("http status 301", "http status 307", "http status 400")
_MISSING = ("no_such_bucket", "no_such_key", "resource_not_found", "not found", "does not exist")

# What PyArrow reports for S3: a sentence, the name of the error, the request, and what the server says.
_SDK_MESSAGE = re.compile(
    r"AWS Error (\w+)(?: \((HTTP status \d+)\))? during \w+ operation: (?:curlCode: \d+, )?([^;]*)", re.DOTALL
)
_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AZURE_STORAGE_KEY", "AZURE_CLIENT_SECRET"),
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Location:
    """A folder.

    Attributes:
        uri: Its address: an absolute path, or a URI without a slash at its end.
    """

    uri: str

    @classmethod
    def parse(cls, address: str | os.PathLike[str]) -> Location:
        """Return the folder at a path or URI: `s3://`, `gs://`, `az://` or `file://`.

        Raises:
            UsageError: If the URI has another scheme, no bucket, or contains credentials or options.
        """
        text = os.fspath(address)
        if not text:
            raise UsageError("expected the path or URI of a folder, got none")
        match = _ADDRESS.fullmatch(text)
        if match is None:
            return cls(str(Path(text).resolve()))
        scheme, rest = match[1].lower(), match[2]
        bucket = rest.partition("/")[0]
        # A secret may contain slashes, and a bucket no colon.
        secret = "@" in bucket or ":" in bucket
        visible = "..." if secret or "@" in rest else re.split("[?#]", rest)[0]
        shown = f"{scheme}://{one_line(visible, 200)}"
        if scheme == "file" and rest.startswith("/"):
            return cls(str(Path(rest).resolve()))
        if scheme not in SCHEMES:
            known = ", ".join(f"{each}://" for each in SCHEMES)
            raise UsageError(where=shown, expected=f"a path, or a URI that begins with {known}", found=scheme)
        if secret:
            raise UsageError(
                where=shown,
                expected="a URI without credentials",
                found="some",
                remedy="set them in the environment, as the cloud's own tools have them",
            )
        if "?" in rest or "#" in rest:
            raise UsageError(
                where=shown,
                expected="a URI without ? and #",
                found="one",
                remedy="set endpoint and region in the environment, such as AWS_ENDPOINT_URL and AWS_REGION",
            )
        rest = re.sub("/+", "/", rest).rstrip("/")
        if not _BUCKET.fullmatch(bucket) or ".." in rest.split("/"):
            raise UsageError(where=shown, expected=f"{scheme}://BUCKET/FOLDER", found="another address")
        return cls(f"{scheme}://{rest}")

    @property
    def is_local(self) -> bool:
        """Whether the folder is in the file system of this machine."""
        return "://" not in self.uri

    @property
    def name(self) -> str:
        """The last component of the address."""
        return self.uri.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """The path of a local folder."""
        return Path(self.uri)

    def file(self, name: str) -> str:
        """Return the address of a file in the folder, for messages."""
        return f"{self.uri}/{name}" if not self.is_local else str(self.path / name)

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return the content of a file.

        Args:
            name: Name of the file in the folder.
            most_bytes: Its largest possible size.

        Raises:
            DataError: If it is missing or larger, or cannot be read after several attempts.
        """
        return self._attempt(name, "read", lambda: self._read(name, most_bytes))

    def _read(self, name: str, most_bytes: int) -> bytes:
        if self.is_local:
            path = self.path / name
            status = path.stat()
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
                raise DataError(where=self.file(name), expected="a regular file", found="another kind")
            self._check_size(name, size, most_bytes)
            with path.open("rb") as file:
                content = file.read(size)
        else:
            with _filesystem(self.uri).open_input_file(self._key(name)) as file:
                size = file.size()
                self._check_size(name, size, most_bytes)
                content = file.read(size)
        if len(content) != size:  # the connection was closed early, or the file was cut meanwhile
            raise OSError(f"expected {size:,} bytes, found {len(content):,}")
        return content

    def _check_size(self, name: str, size: int, most_bytes: int) -> None:
        if size > most_bytes:
            raise DataError(
                where=self.file(name), expected=f"at most {most_bytes:,} bytes", found=f"{size:,}"
            )

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole: a reader sees the old content or the new one.

        Raises:
            ScanlineError: If it cannot be written.
        """
        if self.is_local:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ScanlineError(f"cannot write {self.uri}: {error.strerror or error}") from error
            write_atomic(self.path / name, content)
            return

        self._attempt(name, "write", lambda: self._put(name, (content,)))

    def upload(self, name: str, path: Path) -> None:
        """Write a file in an object store as `write` does, with the content of a local file of any size.

        Raises:
            ScanlineError: If it cannot be written.
        """

        def put() -> None:
            with path.open("rb") as file:
                self._put(name, iter(lambda: file.read(_PIECE_BYTES), b""))

        self._attempt(name, "write", put)

    def _put(self, name: str, pieces: Iterable[bytes]) -> None:
        store, key = _filesystem(self.uri), self._key(name)
        # PyArrow completes a file even after a failed write, so only whole files get the name, by a copy.
        temporary = self._key(f".{name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            with store.open_output_stream(temporary) as stream:
                for piece in pieces:
                    stream.write(piece)
            store.copy_file(temporary, key)
        finally:
            with contextlib.suppress(OSError):
                store.delete_file(temporary)

    def exists(self, name: str) -> bool:
        """Return whether the folder has a file of this name.

        Raises:
            DataError: If that cannot be found out.
        """
        if self.is_local:
            try:
                return (self.path / name).is_file()
            except OSError:
                return False
        from pyarrow import fs

        info = self._attempt(name, "read", lambda: _filesystem(self.uri).get_file_info(self._key(name)))
        return bool(info.type == fs.FileType.File)

    def names(self) -> list[str]:
        """Return the names of the files in the folder, sorted; an absent folder has none."""
        return [name for name in self._all_names() if not name.endswith(TEMPORARY)]

    def unfinished(self) -> list[str]:
        """Return the names of incomplete files, which writers that were killed have left."""
        return [name for name in self._all_names() if name.endswith(TEMPORARY)]

    def _all_names(self) -> list[str]:
        if self.is_local:
            try:
                found = [each.name for each in os.scandir(self.path) if each.is_file()]
            except FileNotFoundError:
                return []
            except OSError as error:
                raise DataError(f"{self.uri}: cannot be read ({error.strerror or error})") from error
            return sorted(found)
        from pyarrow import fs

        selector = fs.FileSelector(self._key(""), allow_not_found=True)
        infos = self._attempt("", "read", lambda: _filesystem(self.uri).get_file_info(selector))
        return sorted(info.base_name for info in infos if info.type == fs.FileType.File)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            ScanlineError: If it cannot be removed.
        """

        def delete() -> None:
            if self.is_local:
                (self.path / name).unlink(missing_ok=True)
            elif self.exists(name):
                _filesystem(self.uri).delete_file(self._key(name))

        self._attempt(name, "write", delete)

    def _key(self, name: str) -> str:
        folder = self.uri.partition("://")[2]
        return f"{folder}/{name}" if name else folder

    def _attempt(self, name: str, kind: str, request: Callable[[], _T]) -> _T:
        """Return what `request` returns; object stores are asked several times, with growing pauses."""
        wait = _FIRST_WAIT_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return request()
            except OSError as error:
                if self.is_local or attempt == _ATTEMPTS or _is_final(error):
                    raise self._fault(name, kind, error, attempt) from error
            # Jitter: many processes that lost the same server do not come back at the same instant.
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, _LONGEST_WAIT_S)
        raise AssertionError("unreachable")

    def _fault(self, name: str, kind: str, error: OSError, attempts: int) -> ScanlineError:
        text = _message(error)
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        reason = one_line(_reason(error), 200)
        absent = isinstance(error, FileNotFoundError) or any(word in text for word in _MISSING)
        if absent:
            reason = "no such bucket" if kind == "write" else "no such file or bucket"
            reason = "no such file" if self.is_local else reason
        elif _is_refused(text):
            reason = "access denied; check the credentials in the environment and the rights of the bucket"
        elif any(word in text for word in _WRONG_REQUEST):
            reason = f"{reason}; check the region, the endpoint and whether the credentials have expired"
        place = self.file(name) if name else self.uri
        if kind == "write":
            return ScanlineError(f"cannot write {place}: {reason}{tried}")
        kind_of_error = MissingFileError if absent else DataError
        return kind_of_error(f"{place}: cannot be read ({reason}){tried}")


def is_uri(address: str) -> bool:
    """Return whether an address has a scheme, and is not a path."""
    return _ADDRESS.fullmatch(address) is not None


def _message(error: OSError) -> str:
    """Return the message in lower case, without the names in it: one may be that of a folder `signatures`."""
    return re.sub("'[^']*'", "", str(error)).lower()


def _is_refused(text: str) -> bool:
    return any(word in text for word in (*_REFUSED, *_REFUSED_CODES))


def _is_final(error: OSError) -> bool:
    """Return whether the same request would fail again."""
    text = _message(error)
    final = isinstance(error, FileNotFoundError | PermissionError)
    return final or _is_refused(text) or any(word in text for word in (*_MISSING, *_WRONG_REQUEST))


def _reason(error: OSError) -> str:
    """Return why a request failed, without the credentials that the answer of a server may repeat."""
    text = error.strerror or str(error)
    # Google's client: Status(..., with a last message of PerformWork() - CURL error [7]=... error_info={...})
    text = re.sub(r".*with a last message of (?:PerformWork\(\) - )?", "", text).partition(" error_info=")[0]
    if match := _SDK_MESSAGE.search(text):
        code, status, detail = match[1], match[2], match[3].strip()
        if code == "UNKNOWN" and status and detail.startswith("No response body"):
            detail = status
        detail = detail.removeprefix("Unable to parse ExceptionName: ").replace(" Message:", ":")
        text = detail if code in ("NETWORK_CONNECTION", "UNKNOWN") else f"{code}: {detail}"
        text = text.rstrip(" .:")
    for name in _CREDENTIALS:
        if value := os.environ.get(name):
            text = text.replace(value, "***")
    return text


_filesystems: dict[tuple[str, int], Any] = {}


def _filesystem(uri: str) -> Any:
    """Return the file system of a URI, a `pyarrow.fs.FileSystem`; one for each scheme and process."""
    scheme = uri.partition("://")[0]
    # Connections do not survive a fork.
    key = scheme, os.getpid()
    if key not in _filesystems:
        try:
            _filesystems[key] = _connect(scheme)
        except ImportError as error:
            raise MissingExtraError(f"reading {scheme}:// URIs", ["pyarrow"], "tables") from error
    return _filesystems[key]


def _connect(scheme: str) -> Any:
    from pyarrow import fs

    environment = os.environ
    if scheme == "s3":
        protocol, host = _endpoint("AWS_ENDPOINT_URL_S3")
        if not host:
            protocol, host = _endpoint("AWS_ENDPOINT_URL")
        return fs.S3FileSystem(
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
            scheme=protocol or "https",
            endpoint_override=host or None,
            connect_timeout=_TIMEOUT_S,
            request_timeout=_TIMEOUT_S,
            background_writes=False,
            # Attempts are made by `Location`, which knows whether a whole file has arrived.
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )
    if scheme == "gs":
        from datetime import timedelta

        options: dict[str, Any] = {"retry_time_limit": timedelta(seconds=_GS_RETRY_S)}
        protocol, host = _endpoint("STORAGE_EMULATOR_HOST")
        if host:
            options |= {"anonymous": True, "scheme": protocol or "http", "endpoint_override": host}
        return fs.GcsFileSystem(**options)
    account = environment.get("AZURE_STORAGE_ACCOUNT", "")
    if not account:
        raise UsageError(
            where="az://", expected="the name of the storage account in AZURE_STORAGE_ACCOUNT", found="none"
        )
    return fs.AzureFileSystem(account, account_key=environment.get("AZURE_STORAGE_KEY") or None)


def _endpoint(variable: str) -> tuple[str, str]:
    """Return (scheme, host with port) of the URL in an environment variable, which may lack the scheme."""
    value = os.environ.get(variable, "")
    match = _ENDPOINT.fullmatch(value)
    if match is None and value:
        # Its value is not shown: it may contain a password.
        raise UsageError(where=variable, expected="https://HOST or https://HOST:PORT", found="something else")
    return ("", "") if match is None else (match[1] or "", match[2])
