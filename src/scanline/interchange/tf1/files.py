"""The files of a TensorFlow checkpoint: which ones they are, given one of their names or their folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scanline.data.found import shown
from scanline.errors import ModelError, did_you_mean
from scanline.formats.leveldb import MAGIC
from scanline.interchange.checks import listed

_STATE, _STATE_LIMIT_BYTES = "checkpoint", 2**20


def is_table(path: Path) -> bool:
    """Whether the file at `path` is a table itself: TensorFlow's old format, V1, keeps all in one."""
    with open(path, "rb") as file:
        if file.seek(0, 2) < len(MAGIC):
            return False
        file.seek(-len(MAGIC), 2)
        return file.read() == MAGIC


def refuse_v1(path: Path) -> ModelError:
    """What is to be raised where a V1 checkpoint was found at `path`."""
    return ModelError(
        f"{path} is a TensorFlow checkpoint in the old format (V1), which cannot be read; save it again with "
        "tf.train.Saver(write_version=tf.train.SaverDef.V2), the default since TensorFlow 0.12"
    )


def find_prefix(path: Path) -> Path:
    """What the names of a checkpoint's files begin with; its index is there.

    path: that itself, the index, or the folder.
    Raises ModelError where there is no index, or a checkpoint of the old format.
    """
    if path.is_dir():
        path = _latest(path)
    prefix = path.with_suffix("") if path.suffix == ".index" else path
    index = beside(prefix, ".index")
    if index.is_file():
        return prefix
    for old in (prefix, beside(prefix, "-00000-of-00001")):
        if old.is_file() and is_table(old):
            raise refuse_v1(old)
    near = [each.name for each in prefix.parent.iterdir()] if prefix.parent.is_dir() else []
    raise ModelError(
        f"there is no {index}{did_you_mean(index.name, near)}; expected a TensorFlow checkpoint, "
        "NAME.index beside NAME.data-00000-of-00001"
    )


def _latest(folder: Path) -> Path:
    """The checkpoint that the folder's own file names, or the only one there is."""
    state = folder / _STATE
    if not state.is_file():
        found = sorted(each.name for each in folder.glob("*.index"))
        if len(found) != 1:
            raise ModelError(
                f"{folder}: expected a file `{_STATE}` that names a checkpoint, or one NAME.index, found "
                f"{listed(found) or 'none'}; name the checkpoint itself"
            )
        return folder / found[0]
    with open(state, "rb") as file:
        text = file.read(_STATE_LIMIT_BYTES).decode("utf-8", "replace")
    # CheckpointState as text: the first path is the newest. What moved with its folder keeps its last part.
    named = re.search(r'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"((?:[^"\\\n]|\\.)*)"', text, re.MULTILINE)
    name = re.split(r"[/\\]", _unescaped(named[1]))[-1] if named else ""
    if name in ("", ".", "..") or not name.isprintable():
        raise ModelError(
            f'{state}: expected a line model_checkpoint_path: "NAME", found {shown(text, 80) or "nothing"}; '
            "name the checkpoint itself"
        )
    return folder / name


def _unescaped(text: str) -> str:
    """What protobuf's text form writes as `text`: bytes beyond ASCII stand there as \\ooo, in octal."""
    plain = re.sub(
        rb"\\([0-3][0-7]{2}|.)",
        lambda found: bytes([int(found[1], 8)]) if len(found[1]) == 3 else found[1],
        text.encode(),
    )
    return plain.decode("utf-8", "replace")


def beside(prefix: Path, end: str) -> Path:
    """The file of a checkpoint whose name ends in `end`."""
    return prefix.parent / (prefix.name + end)


@contextmanager
def file_faults(path: Path) -> Iterator[None]:
    """What the file system refuses as a ModelError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ModelError(f"{path} cannot be read ({shown(reason, 200)})") from error
