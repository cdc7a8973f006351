"""Folders of texts: a sub-folder of .txt files for each class, or a .txt file of lines for each class."""

from __future__ import annotations

from pathlib import Path

from scanline.data.memory import MemorySource
from scanline.data.readers.text_columns import is_text
from scanline.data.readers.text_sources import Texts, decoded, read_bytes, text_source
from scanline.errors import DataError
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings


def is_text_folder(folder: Path) -> bool:
    """Return whether a folder holds texts and no table of numbers."""
    return bool(_class_folders(folder)) or bool(_class_files(folder))


def read_text_folder(folder: Path, settings: DataSettings) -> MemorySource:
    """Read the texts in a folder; the names of its sub-folders, or of its files, are the classes.

    Raises:
        DataError: If a file is too large or not text; names the byte.
    """
    read, settled = Texts(str(folder)), settings.model_copy(update={"text_column": "text"})
    if folders := _class_folders(folder):
        for each in folders:
            for path in sorted(each.glob("*.txt")):
                read.texts.append(decoded(_content(path), str(path), settings.encoding))
                read.places.append(f"{each.name}/{path.name}")
                read.labels.append(each.name)
                read.ids.append(f"{each.name}/{path.name}")
        return text_source(read, settled, [f"a folder for each of {len(folders)} classes"])
    files = _class_files(folder)
    for path in files:
        lines = decoded(_content(path), str(path), settings.encoding).split("\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                read.texts.append(line.removesuffix("\r"))
                read.places.append(f"{path.name}, line {number}")
                read.labels.append(path.stem)
    return text_source(read, settled, [f"a file for each of {len(files)} classes, a text in each line"])


def _content(path: Path) -> bytes:
    if (size := path.stat().st_size) > limit_of("FILE_BYTES"):
        raise DataError(f"{path}: {exceeded('FILE_BYTES', size)}")
    return read_bytes(path)


def _class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of a folder that has at least two, all of them of .txt files."""
    folders = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    texts = [each for each in folders if next(each.glob("*.txt"), None) is not None]
    return texts if len(texts) == len(folders) and len(texts) > 1 else []


def _class_files(folder: Path) -> list[Path]:
    """Return the .txt files of a folder that has at least two, if their first lines are text."""
    files = sorted(each for each in folder.glob("*.txt") if each.is_file())
    if len(files) < 2:
        return []
    for path in files:
        with path.open("rb") as file:
            first = file.readline(2**16).decode(errors="replace").strip()
        if not is_text(first):
            return []
    return files
