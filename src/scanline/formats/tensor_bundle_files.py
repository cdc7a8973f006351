"""The files of a TensorFlow checkpoint, found from one of their names or from their folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scanline.errors import FormatError, did_you_mean, join_names, one_line
from scanline.formats.leveldb import MAGIC

_STATE, _STATE_LIMIT_BYTES = "checkpoint", 2**20
_LATEST = re.compile(r'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)


def is_table(path: Path) -> bool:
    """Return whether the file is itself a LevelDB table: a checkpoint in TensorFlow's old format, V1.

    Raises:
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        if file.seek(0, 2) < len(MAGIC):
            return False
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def v1_error(path: Path) -> FormatError:
    """Return the error about a checkpoint in the old format."""
    return FormatError(
        "TensorFlow checkpoints in the old format (V1) are not supported",
        file=path,
        remedy="save it again with tf.train.Saver(write_version=tf.train.SaverDef.V2), the default since "
        "TensorFlow 0.12",
    )


def find_prefix(path: Path) -> Path:
    """Return what the names of a checkpoint's files begin with; its index exists.

    Args:
        path: The prefix itself, the index, or the folder.

    Raises:
        FormatError: If there is no index, or the checkpoint has the old format.
    """
    if path.is_dir():
        path = _latest(path)
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    index = beside(prefix, ".index")
    if index.is_file():
        return prefix
    for old in (prefix, beside(prefix, "-00000-of-00001")):
        if old.is_file() and is_table(old):
            raise v1_error(old)
    near = [each.name for each in prefix.parent.iterdir()] if prefix.parent.is_dir() else []
    raise FormatError(
        f"there is no {index}{did_you_mean(index.name, near)}; expected a TensorFlow checkpoint, "
        "NAME.index beside NAME.data-00000-of-00001"
    )


def _latest(folder: Path) -> Path:
    """Return the checkpoint that the folder's state file names, or the only one in the folder."""
    state = folder / _STATE
    if not state.is_file():
        found = sorted(each.name for each in folder.glob("*.index"))
        if len(found) != 1:
            raise FormatError(
                file=folder,
                expected=f"a file `{_STATE}` that names a checkpoint, or one NAME.index",
                found=join_names(found, 8, 120) or "none",
                remedy="name the checkpoint itself",
            )
        return folder / found[0]
    with open(state, "rb") as file:
        text = file.read(_STATE_LIMIT_BYTES).decode("utf-8", "replace")
    # The state is a CheckpointState as text; its first path is the newest checkpoint. Only the last component
    # is used: the folder may have been moved since, and a path must not lead out of it.
    match = _LATEST.search(text)
    name = re.split(r"[/\\]", _unescaped(match[1]))[-1] if match else ""
    if name in ("", ".", "..") or not name.isprintable():
        raise FormatError(
            file=state,
            expected='a line model_checkpoint_path: "NAME"',
            found=one_line(text, 80) or "nothing",
            remedy="name the checkpoint itself",
        )
    return folder / name


def _unescaped(text: str) -> str:
    r"""Return `text` without the escapes of protobuf's text format, which writes non-ASCII bytes as \ooo."""
    plain = re.sub(
        rb"\\([0-3][0-7]{2}|.)",
        lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else match[1],
        text.encode(),
    )
    return plain.decode("utf-8", "replace")


def beside(prefix: Path, end: str) -> Path:
    """Return the file of a checkpoint whose name ends in `end`."""
    return prefix.parent / (prefix.name + end)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into FormatError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise FormatError(f"{path} cannot be read ({one_line(reason, 200)})") from error
