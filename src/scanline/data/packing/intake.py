"""Where readers put chunks of whole sequences: the stage, and what is known about all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_look
from scanline.data.dataset import ALL
from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Chunk, Part
from scanline.data.packing.identifiers import find_pair
from scanline.data.packing.parts import PartBuilder
from scanline.data.packing.request import PackRequest
from scanline.data.packing.stage import StageWriter, staged_columns, staged_identifiers
from scanline.data.readers.table_rows import cell_of
from scanline.errors import DataError, quoted

Report = Callable[[str, int, int | None], None]  # what is done, how much of it, and of how much


class Intake:
    """Takes the sequences of all items of a request.

    Args:
        request: The request.
        stage: Where the sequences go.
        temp: Folder for temporary files of the sort.
        report: Called with the progress.

    Attributes:
        builders: The parts, by split.
        groups: Code of each group.
        origins: Where each split comes from, in words, if the splits belong to the data set's definition.
        settings: How the next item is read.
    """

    def __init__(self, request: PackRequest, stage: StageWriter, temp: Path, report: Report) -> None:
        self.request, self.stage, self.temp, self.report = request, stage, temp, report
        self.builders: dict[str, PartBuilder] = {}
        self.groups: dict[str, int] = {}
        self.origins: dict[str, str] = {}
        self.settings = request.settings.model_copy(update={"test": "", "validation": ""})
        self._next = 0  # number of the next sequence
        self._with_groups: bool | None = None

    @property
    def chunk_bytes(self) -> int:
        """Size of the steps of a chunk."""
        return self.request.memory_bytes // 32

    def builder(self, split: str, source: MemorySource, name: str) -> PartBuilder:
        """Return the builder of a part, which begins with `source` if it is new.

        Raises:
            DataError: If the steps of `source` differ from those of the other sequences.
        """
        if split not in self.builders:
            self.builders[split] = PartBuilder(split, source, name)
        next(iter(self.builders.values())).check_fits(source)
        return self.builders[split]

    def add(self, split: str, chunk: Chunk) -> None:
        """Stage a chunk."""
        builder = self.builders[split]
        builder.count(chunk)
        self.stage.add(list(self.builders).index(split), chunk)
        self.report("read", sum(each.part.count for each in self.builders.values()), None)

    def numbered(self, count: int) -> int:
        """Reserve `count` numbers of sequences, and return the first."""
        first = self._next
        self._next += count
        return first

    def group_codes(self, names: list[str]) -> NDArray[np.int32]:
        """Return the codes of groups."""
        known = self.groups
        return np.fromiter((known.setdefault(name, len(known)) for name in names), np.int32, len(names))

    def check_groups(self, present: bool, name: str) -> None:
        """Check that all training sequences have groups, or none has."""
        if self._with_groups is None:
            self._with_groups = present
        if self._with_groups and not present and ALL in self.builders:
            raise DataError(where=name, expected="groups, as the files before have them", found="none")

    def finish(self) -> list[Part]:
        """Return the parts, with their classes."""
        self._check_identifiers()
        numbers, labels, parts = staged_columns(
            self.stage.folder, self.stage.used, ("number", "label", "part")
        )
        made = []
        for index, builder in enumerate(self.builders.values()):
            own = np.flatnonzero(parts == index)
            own = own[np.argsort(numbers[own], kind="stable")]
            if self.request.split is not None:
                builder.padding.check(builder.part)
            made.append(builder.finish(labels[own].astype(np.int64), numbers[own]))
        return made

    def _check_identifiers(self) -> None:
        """Check that all sequences of a split have different identifiers. Raises DataError."""
        builders = list(self.builders.values())
        scopes = [[index] for index in range(len(builders))]
        if self.request.split is None:
            scopes = [list(range(len(builders)))]
        for scope in scopes:
            found = builders[scope[0]].identifiers
            for index in scope[1:]:
                found.join(builders[index].identifiers)
            repeated = found.repeated()
            if not repeated.size:
                continue
            try:
                one, other = find_pair(
                    repeated, staged_identifiers(self.stage.folder, self.stage.used, scope)
                )
            except LookupError:
                continue
            part = builders[scope[0]].part
            column = part.settings.id_column if part.settings else ""
            where = f"{part.name}{cell_of(column)}"
            check_look([one[0], other[0]], where)
            raise DataError(
                where=where,
                expected="another identifier for each sequence",
                found=f"{quoted(one[0])} for several sequences",
                remedy="make the identifiers different, or remove the column",
            )
