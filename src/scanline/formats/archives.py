"""ZIP archives of strangers: their directory is bounded and sound before anything in them is unpacked.

Nothing is ever written where an archive says; a name that would lead out of a folder is refused all the same,
for an archive that has one was made to do harm.
"""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from scanline.limits import exceeded_unpacked, unpacked_limit

_END, _END_BYTES, _COMMENT_BYTES = b"PK\x05\x06", 22, 2**16
_LARGE, _LARGE_BYTES = b"PK\x06\x06", 76  # of archives of more than 4 GiB; with what says where it is
_MOST_DIRECTORY_BYTES = 2**20  # some ten thousand members
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Refused(Exception):
    """An archive that no honest program writes. The text says what is wrong with it."""


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive at `path`.

    Raises OSError and what zipfile raises if it is none, and Refused if two members have one name, one would
    leave its folder, is a link or a device, or the directory is larger than any of ours.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise Refused("expected a file, found something that is none")
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES - _LARGE_BYTES))
        _check_directory(file.read())
    archive = zipfile.ZipFile(path)
    try:
        _check(archive.infolist(), size)
    except Refused:
        archive.close()
        raise
    return archive


def _check_directory(tail: bytes) -> None:
    """Refuses a directory that takes much memory. tail: the end of the archive, where its size stands."""
    sizes = []
    for end in re.finditer(re.escape(_END), tail):  # a comment may look like one; zipfile decides
        sizes.append(int.from_bytes(tail[end.start() + 12 : end.start() + 16], "little"))
        large = tail[max(0, end.start() - _LARGE_BYTES) : end.start()]
        if large.startswith(_LARGE):
            sizes[-1] = int.from_bytes(large[40:48], "little")
    if any(size > _MOST_DIRECTORY_BYTES for size in sizes):
        raise Refused(f"expected a directory of at most {_MOST_DIRECTORY_BYTES:,} bytes, found more")


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    """size: of the archive."""
    if sum(member.compress_size for member in members) > size:
        raise Refused("its members lie in each other")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise Refused(f"expected every name once, found {name[:80]!a} twice")
        seen.add(name)
        ways = PurePosixPath(name), PureWindowsPath(name)
        if any(way.is_absolute() or way.drive or ".." in way.parts for way in ways) or not name:
            raise Refused(f"{name[:80]!a} would leave its folder")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused(f"{name[:80]!a}: expected a file, found a link or a device")


def check_member(member: zipfile.ZipInfo, most: int | None = None) -> None:
    """Raises Refused if unpacking `member` gives more than so many packed bytes may, or than `most`."""
    allowed = unpacked_limit(member.compress_size)
    if member.file_size > allowed:
        raise Refused(exceeded_unpacked(member.compress_size, member.file_size))
    if most is not None and member.file_size > most:
        raise Refused(f"expected at most {most:,} bytes, found {member.file_size:,}")
    if member.compress_type not in _METHODS:
        raise Refused(f"packed by method {member.compress_type}, which is not read")
