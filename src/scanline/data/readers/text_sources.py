"""Sequences of tokens from texts with labels: the common end of all readers of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scanline.data.memory import MemorySource
from scanline.data.readers.tokens import Tokenizer, kind_of
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo
from scanline.data.targets import encode_labels
from scanline.errors import DataError
from scanline.recipe import DataSettings


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
    tokenizer = Tokenizer.of(settings)
    for place, text in zip(read.places, read.texts, strict=True):
        if any("\ud800" <= letter <= "\udfff" for letter in ("" if text.isascii() else text)):
            raise DataError(where=f"{read.name}: {place}", expected="Unicode text", found="a lone surrogate")
    codes, lengths = tokenizer.encode(read.texts)
    empty = np.flatnonzero(lengths == 0)
    if empty.size:
        where = f"{read.name}: {read.places[int(empty[0])]}"
        found = f"none ({empty.size:,} of {len(lengths):,} texts have none)" if empty.size > 1 else "none"
        raise DataError(where=where, expected=f"a text with {tokens}", found=found, remedy="remove its row")
    shown = [f"{read.name}: read as {'; '.join([f'texts in {tokens}', *notes])}"]
    if tokenizer.cut:
        cut, longest = f"{tokenizer.cut:,} of {len(lengths):,}", f"{settings.maximum_length:,} {tokens}"
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
        codes.astype(np.float32)[:, None],
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
            categories=(tokenizer.names,),
        ),
    )


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
