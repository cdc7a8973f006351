"""The labels and groups of the sequences that were read, as codes, and the classes that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.labels import same_names
from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Chunk, Part
from scanline.data.packing.identifiers import Identifiers
from scanline.data.packing.padding_watch import PaddingWatch
from scanline.data.packing.request import same_pictures
from scanline.data.source import ClassName
from scanline.data.source_info import Locate
from scanline.data.targets import encode_labels
from scanline.errors import DataError
from scanline.recipe import DEFAULT_DATA

# Returns the classes, and the index of the class of each label code, given the codes of all sequences.
Encode = Callable[[NDArray[np.int64], Locate], tuple[tuple[ClassName, ...], NDArray[np.int64]]]


class PartBuilder:
    """Collects what is known about a part while it is read.

    Args:
        split: The split that it is, or "all".
        source: Its first sequences.
        name: Where the sequences come from, for messages.

    Attributes:
        part: The part so far.
        padding: What its values say about padding.
        identifiers: Identifiers of its sequences.
        encode: Makes the classes of the labels at the end; None: the labels are class names.
    """

    def __init__(self, split: str, source: MemorySource, name: str) -> None:
        info = replace(source.info, notes=(), assigned_splits=None)
        self.part = Part(split, name, info, source.features, source.dtype)
        self.padding, self.identifiers = PaddingWatch(), Identifiers()
        self.encode: Encode | None = None
        self._given: tuple[ClassName, ...] | None = source.classes  # as long as all files have the same
        self._known: dict[tuple[type, ClassName], int] = {}

    def check_fits(self, source: MemorySource) -> None:
        """Check that sequences have steps like the others. Raises DataError if they do not."""
        part = self.part
        same = source.features == part.features and source.dtype == part.dtype
        if same and same_pictures(source.info.picture, part.picture):
            return
        raise DataError(
            f"{source.name}: expected steps as in {part.name}, of {_about(part.features, part.dtype)}, "
            f"found {_about(source.features, source.dtype)}"
            + (" in pictures of another size" if source.info.picture and part.picture else "")
        )

    def label_codes(self, source: MemorySource) -> NDArray[np.int32]:
        """Return the (n,) codes of the labels of sequences whose targets are indices into their classes."""
        if self._given is not None and not same_names(self._given, source.classes):
            self._given = None
        known = self._known
        codes = [known.setdefault((type(name), name), len(known)) for name in source.classes]
        translation = np.array(codes or [0], np.int32)
        taken: NDArray[np.int32] = translation[source.targets]
        return taken

    def count(self, chunk: Chunk) -> None:
        """Take the sequences of a chunk into account."""
        self.part.count += len(chunk.source)
        self.padding.see(chunk.source, chunk.numbers)
        assert chunk.source.ids is not None
        self.identifiers.add([str(name) for name in chunk.source.ids])

    def add_notes(self, notes: Sequence[str]) -> None:
        """Add notes for the user that are not there yet."""
        self.part.notes += [note for note in dict.fromkeys(notes) if note not in self.part.notes]

    def finish(self, labels: NDArray[np.int64], numbers: NDArray[np.int64]) -> Part:
        """Return the part with its classes.

        Args:
            labels: (N,) code of the label of each sequence, in the order of the source.
            numbers: (N,) number of each sequence.

        Raises:
            DataError: Names the first label that cannot be used.
        """
        part = self.part

        def locate(index: int, step: int = 0, /) -> str:
            return part.place(int(numbers[index]))

        if self.encode is not None:
            part.classes, part.codes = self.encode(labels, locate)
        elif self._given is not None:
            part.classes = self._given
            # Codes are numbered in the order of the classes of the first file.
            part.codes = np.arange(max(1, len(self._given)))
        else:
            names = [name for _, name in self._known]
            settings = part.settings or DEFAULT_DATA
            part.classes, indices = encode_labels(names, labels, part.name, locate, settings, True)
            part.codes = translation(labels, indices)
        note = self.padding.note(part)
        self.add_notes([note] if note else [])
        return part


def translation(codes: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index that each code stands for, given the (N,) codes and indices of sequences."""
    table = np.zeros(int(codes.max()) + 1 if len(codes) else 1, np.int64)
    table[codes] = indices
    return table


def _about(features: int, dtype: Any) -> str:
    return f"{features:,} {'values' if features > 1 else 'value'} ({np.dtype(dtype)})"
