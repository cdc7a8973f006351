"""Sequences of tokens from texts with labels: the common end of all readers of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.readers.tokens import encode, kind_of
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.errors import DataError
from scanline.recipe import DataSettings

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Texts:
    """Texts as they were read.

    texts: the texts. places: where each is, in words. labels, ids, groups and splits: one for each text, or
    empty.
    """

    name: str
    texts: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


def listed_texts(values: Any) -> list[str] | None:
    """Return what a program gives as a list of texts; None if it is something else.

    Args:
        values: A list, tuple, array or column of a data frame.
    """
    if isinstance(values, str | bytes) or getattr(values, "ndim", 1) != 1 or hasattr(values, "columns"):
        return None
    if hasattr(values, "to_pylist"):  # of Arrow
        values = values.to_pylist() if "string" in str(values.type) else None
    elif isinstance(values, np.ndarray):
        values = values.tolist() if values.dtype.kind in "OU" else None
    elif hasattr(values, "to_list"):  # a column of a data frame
        values = values.to_list()
    if not isinstance(values, list | tuple) or not values:
        return None
    return list(values) if all(isinstance(each, str) for each in values) else None


def text_list(texts: Sequence[str], name: str = "the given texts", first: int = 0) -> Texts:
    """Return texts without labels, for `text_source`; messages number them from `first` on."""
    return Texts(name, list(texts), [f"text {number}" for number in range(first, first + len(texts))])


def text_source(read: Texts, settings: DataSettings, notes: Sequence[str] = ()) -> MemorySource:
    """Return texts as sequences of tokens.

    Args:
        read: The texts.
        settings: How they are read; `tokens` is inferred if it is empty.
        notes: What else was inferred, for the user.

    Raises:
        DataError: If there are none, or one has no tokens; names it.
    """
    if not read.texts:
        raise DataError(where=read.name, expected="texts", found="none")
    tokens = settings.tokens or kind_of(read.texts)
    settings = settings.model_copy(update={"tokens": tokens})
    for place, text in zip(read.places, read.texts, strict=True):
        if not text.isascii():
            check_unicode(text, f"{read.name}: {place}")
    found = encode(read.texts, settings)
    lengths = found.lengths
    empty = np.flatnonzero(lengths == 0)
    if empty.size:
        where = f"{read.name}: {read.places[int(empty[0])]}"
        count = f"none ({empty.size:,} of {len(lengths):,} texts have none)" if empty.size > 1 else "none"
        raise DataError(where=where, expected=f"a text with {tokens}", found=count, remedy="remove its row")
    shown = [f"{read.name}: read as {'; '.join([f'texts in {tokens}', *notes])}"]
    if found.cut:
        cut, longest = f"{found.cut:,} of {len(lengths):,}", f"{settings.maximum_length:,} {tokens}"
        shown.append(f"{read.name}: {cut} texts are longer than {longest} and were cut")
    places = read.places

    def locate(index: int, step: int = 0, /) -> str:
        return places[index]

    classes: tuple[ClassName, ...] = ()
    targets = np.zeros(len(lengths), np.int64)
    if read.labels:
        names = tuple(dict.fromkeys(read.labels))
        numbers = {name: number for number, name in enumerate(names)}
        labels = np.array([numbers[label] for label in read.labels], np.int32)
        classes, targets = encode_labels(names, labels, read.name, locate, settings, False)
    return MemorySource(
        found.codes.astype(np.float32)[:, None],
        lengths,
        targets,
        classes,
        read.name,
        ids=np.array(read.ids, dtype=object) if read.ids else None,
        groups=np.array(read.groups, dtype=object) if read.groups else None,
        info=SourceInfo(
            settings,
            locate,
            feature_names=("text",),
            assigned_splits=np.array(read.splits, dtype=object) if read.splits else None,
            notes=tuple(shown),
            categories=(found.names,),
        ),
    )


def check_unicode(text: str, where: str) -> None:
    """Raise DataError if a text has a lone surrogate, which is no character."""
    if not text.isascii() and _SURROGATE.search(text):
        raise DataError(where=where, expected="Unicode text", found="a lone surrogate")


def decoded(content: bytes, name: str, encoding: str) -> str:
    """Return the text of a file. Raises DataError naming the first byte that is not in its encoding."""
    try:
        return content.decode(encoding or "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            where=f"{name}: line {line}, byte {error.start}",
            expected=f"text in {encoding or 'UTF-8'}",
            found=f"0x{content[error.start]:02x}",
            remedy="name the encoding with --encoding, such as --encoding cp1252",
        ) from None


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if it is a gzip stream."""
    from scanline.formats.gzip_text import open_bytes

    with open_bytes(path) as stream:
        return b"".join(iter(lambda: stream.read(2**24), b""))
