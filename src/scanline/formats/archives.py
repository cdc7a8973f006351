"""ZIP archives from untrusted sources: the directory is checked before any member is unpacked.

Members are never written to the paths that an archive gives. Names that lead out of a folder are refused
all the same: no program writes them except to attack.
"""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from scanline.errors import FormatError
from scanline.limits import excess_unpacked, unpacked_limit

# The record at the end of an archive, which gives the directory's size; up to 64 KiB of comment may follow
# it.
_END, _END_BYTES, _COMMENT_BYTES = b"PK\x05\x06", 22, 2**16
# Its counterpart in archives of more than 4 GiB, with the 20 bytes that point to it.
_END_64, _END_64_BYTES = b"PK\x06\x06", 76
_MAX_DIRECTORY_BYTES = 2**20  # about ten thousand members
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open the ZIP archive at `path` for reading.

    Raises:
        OSError: If the file cannot be read. zipfile raises more kinds of errors for damaged archives.
        FormatError: If two members have the same name, one would leave its folder or is a link or a device,
            or the directory is larger than that of any archive Scanline reads.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FormatError(expected="a regular file", found="something else")
    # zipfile parses the whole directory on opening, so its size is checked first, on the raw bytes.
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES - _END_64_BYTES))
        _check_directory_size(file.read())
    archive = zipfile.ZipFile(path)
    try:
        _check_members(archive.infolist(), size)
    except FormatError:
        archive.close()
        raise
    return archive


def _check_directory_size(tail: bytes) -> None:
    """Refuse a large directory, of which zipfile would make objects. `tail` is the end of the archive."""
    sizes = []
    # A comment may contain the signature. All candidates are checked, as zipfile decides which one counts.
    for match in re.finditer(re.escape(_END), tail):
        sizes.append(int.from_bytes(tail[match.start() + 12 : match.start() + 16], "little"))
        end_64 = tail[max(0, match.start() - _END_64_BYTES) : match.start()]
        if end_64.startswith(_END_64):
            sizes[-1] = int.from_bytes(end_64[40:48], "little")
    if any(size > _MAX_DIRECTORY_BYTES for size in sizes):
        raise FormatError(expected=f"a directory of at most {_MAX_DIRECTORY_BYTES:,} bytes", found="more")


def _check_members(members: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    # Members that share compressed bytes are a zip bomb: https://www.bamsoftware.com/hacks/zipbomb/.
    if sum(member.compress_size for member in members) > archive_bytes:
        raise FormatError("its members overlap")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if name in seen:
            raise FormatError(expected="members of different names", found=f"{name[:80]!a} twice")
        seen.add(name)
        # Both path styles are checked on every system: an archive may be shared between them.
        paths = PurePosixPath(name), PureWindowsPath(name)
        if any(path.is_absolute() or path.drive or ".." in path.parts for path in paths) or not name:
            raise FormatError(f"{name[:80]!a} would leave its folder")
        # The upper 16 bits are the Unix file mode, 0 in archives of other systems.
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise FormatError(place=f"{name[:80]!a}", expected="a file", found="a link or a device")


def check_member(member: zipfile.ZipInfo, limit: int | None = None) -> None:
    """Check that a member can be unpacked.

    Args:
        member: The member.
        limit: The largest size that it may unpack to, in bytes, beside the limits on all packed files.

    Raises:
        FormatError: If it unpacks to too many bytes, or its compression method is not supported.
    """
    # The declared size is enough: zipfile never returns more bytes than the directory declares.
    if member.file_size > unpacked_limit(member.compress_size):
        raise FormatError(**excess_unpacked(member.compress_size, member.file_size))
    if limit is not None and member.file_size > limit:
        raise FormatError(expected=f"at most {limit:,} bytes", found=f"{member.file_size:,}")
    if member.compress_type not in _METHODS:
        raise FormatError(f"compression method {member.compress_type} is not supported")
