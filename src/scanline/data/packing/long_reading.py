"""Reads long tables into the stage, sorted on disk if the rows of a sequence are not together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import check_values
from scanline.data.dataset import SPLITS
from scanline.data.memory import MemorySource
from scanline.data.packing import sorting
from scanline.data.packing.chunks import Chunk
from scanline.data.packing.identifiers import Identifiers
from scanline.data.packing.intake import Intake
from scanline.data.packing.long_tables import LongTables, first_and_rest, is_contiguous, whole_sequences
from scanline.data.packing.parts import Encode, translation
from scanline.data.packing.sources import Item
from scanline.data.padding import without_padding
from scanline.data.readers.bookkeeping import length_question
from scanline.data.readers.column_roles import Columns, settle
from scanline.data.readers.names import Names
from scanline.data.readers.table_rows import Layout, ReadAgainError, open_rows
from scanline.data.readers.table_sequences import LongRows, find_sequences, split_names
from scanline.data.readers.tables import Table
from scanline.data.readers.text_columns import refuse_categories
from scanline.data.source import ClassName
from scanline.data.source_info import Locate, SourceInfo
from scanline.data.targets import encode_labels
from scanline.errors import DataError, one_line
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow


_SOME_OF = re.compile(r"([0-9,]+) of [0-9,]+ sequences (.*)", re.DOTALL)


class _NotContiguousError(Exception):
    """The rows of a sequence are not together."""


def is_long(path: Path, settings: DataSettings, optional: Collection[str], memory_bytes: int) -> bool:
    """Return whether a table is a long one, as `table_sequences` decides it: whether an id has several rows.

    Args:
        path: The table.
        settings: How to read it.
        optional: As for `column_roles.assign`.
        memory_bytes: Limit for the identifiers.
    """
    table = open_rows(path, settings, optional)
    refuse_categories(table.layout.columns, path)
    columns = table.layout.columns
    if settings.shape or not columns.id:
        return settings.shape == "long" and bool(columns.id)
    while True:
        try:
            return _has_repeats(table.layout, table.batches(), memory_bytes)
        except ReadAgainError:
            continue


def _has_repeats(layout: Layout, batches: Iterator[pyarrow.RecordBatch], memory_bytes: int) -> bool:
    seen = Identifiers()
    rows = 0
    for batch in batches:
        texts = batch.column(layout.columns.id).unique().to_pylist()
        if len(texts) < batch.num_rows:
            return True
        seen.add([str(text).strip() for text in texts])
        if seen.repeated(at_once=False).size:
            return True
        rows += batch.num_rows
        if 16 * rows > memory_bytes // 2:
            break
    return bool(seen.repeated().size)


class LongReader:
    """Reads long tables of one split.

    Args:
        intake: Where the sequences go.
        items: The tables.
        split: The split that they are; "" if they are not one.
    """

    def __init__(self, intake: Intake, items: list[Item], split: str) -> None:
        self._intake, self._given = intake, split
        self._split = split or "all"
        self._settings = intake.settings
        self._tables = LongTables([item.path for item in items], intake.settings, items[0].optional)
        self._first = 0  # number of the first row
        self._sorted = False
        self._kept = self._tables.columns

    def read(self) -> None:
        """Read the tables.

        Raises:
            DataError: If something is wrong with the data; names the place.
            UsageError: If it is in doubt how to read them.
        """
        intake = self._intake
        if self._split in intake.builders:
            before = intake.builders[self._split].part.name
            raise DataError(
                where=self._tables.title, expected=f"files of one kind, as {before}", found="a long table"
            )
        start = intake.stage.mark()
        self._first = intake.numbered(0)
        while True:
            try:
                self._read_rows()
                break
            except ReadAgainError:
                pass
            except _NotContiguousError:
                self._sorted = True
            intake.stage.back_to(start)
            intake.builders.pop(self._split, None)
            self._tables.reset()
        intake.numbered(self._tables.rows)
        intake.settings = settle(self._settings, self._kept, "long")

    def _read_rows(self) -> None:
        tables = self._tables
        first, batches = first_and_rest(tables.batches())
        counted = tables.watch is not None and tables.watch.may_count
        if not self._sorted and not counted and is_contiguous(first):
            self._intake.stage.expect_ordered()
            self._take_all(self._watched(batches), tables.columns, (), "id")
            return
        self._sorted = True
        sorting.check_installed(f"sorting {tables.title}")
        ordered = sorting.sort_rows(
            self._watched(batches),
            tables.schema,
            self._intake.temp,
            int(0.4 * self._intake.request.memory_bytes),
            tables.row_bytes,
            tables.expected_bytes,
        )
        first, ordered = first_and_rest(ordered)
        columns, notes = tables.features()
        self._intake.stage.expect_unordered(self._first, tables.rows)
        self._take_all(ordered, columns, notes, "place")

    def _watched(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
        for batch in batches:
            yield batch
            self._intake.report("rows", self._tables.rows, self._tables.about or None)

    def _take_all(
        self, batches: Iterator[pyarrow.RecordBatch], columns: Columns, notes: tuple[str, ...], key: str
    ) -> None:
        """Stage all rows, of which those of a sequence are together."""
        self._kept = columns
        tables, most = self._tables, limit_of("STEPS")
        row_bytes = tables.row_bytes
        late: list[str] = []
        for held in whole_sequences(batches, key, lambda rows: rows * row_bytes > self._intake.chunk_bytes):
            table, numbers = tables.table(held, columns)
            del held
            late += self._take(table, numbers + self._first, most)
            if key == "id" and self._identifiers.repeated(at_once=False).size:
                raise _NotContiguousError
        if key == "id" and self._identifiers.repeated().size:
            raise _NotContiguousError
        self._check_lengths(columns)
        inferred = [] if self._settings.shape else ["a long table, a row for each step"]
        inferred += [*tables.layout.notes, *tables.columns.notes, *notes]
        if not columns.time:
            inferred.append("rows in order of time")
        builder = self._intake.builders[self._split]
        # One reason, one note: the counts of the chunks are added up.
        read_as = [f"{tables.title}: read as {'; '.join(inferred)}"] if inferred else []
        sorted_ = [f"{tables.title}: rows sorted by {one_line(columns.id)} on disk"] if self._sorted else []
        builder.add_notes([*read_as, *_summed(late, str(tables.title), builder.part.count), *sorted_])
        builder.encode = self._encode()

    @property
    def _identifiers(self) -> Identifiers:
        return self._intake.builders[self._split].identifiers

    def _take(self, table: Table, rows: NDArray[np.int64], most: int) -> tuple[str, ...]:
        """Stage the sequences of a table, and return notes about their order."""
        found = find_sequences(table)
        self._check_files(table, found, rows - self._first)
        if (longest := int(found.lengths.max())) > most:
            raise DataError(f"{table.path}: {exceeded('STEPS', longest)}")
        assert table.id is not None
        settings = settle(self._settings, table.columns, "long")
        if self._tables.watch is not None:
            values = table.values if found.order is None else table.values[found.order]
            self._tables.watch.see_sequences(values, found.lengths)
        source = self._source(table, found, settings)
        builder = self._intake.builder(self._split, source, str(table.path))
        if not builder.part.places:
            builder.part.places.append((self._first, self._tables.place))
            builder.part.assigned = table.split is not None and not self._given
        check_values(source, missing=True)
        source = without_padding(source, settings.pad_value)
        first = found.first
        groups = None
        if table.group is not None:
            used, codes = np.unique(table.group.codes[first], return_inverse=True)
            known = self._intake.group_codes([table.group.texts[code] for code in used])
            groups = known[codes.reshape(-1)]
        self._intake.check_groups(groups is not None, str(table.path))
        labels = np.zeros(len(first), np.int32) if table.label is None else table.label.codes[first]
        # A sequence has its place in the source by its first row in the file, whatever the time of that row.
        ordered = rows if found.order is None else rows[found.order]
        numbers = np.minimum.reduceat(ordered, found.starts)
        chunk = Chunk(source, numbers, labels, groups, self._splits(table, first))
        self._intake.add(self._split, chunk)
        return found.notes

    def _source(self, table: Table, found: LongRows, settings: DataSettings) -> MemorySource:
        assert table.id is not None
        return MemorySource(
            table.values if found.order is None else table.values[found.order],
            found.lengths,
            np.zeros(len(found.lengths), np.int64),
            (),
            str(table.path),
            table.id.at(found.first),
            info=SourceInfo(settings, found.locate(table.place), table.columns.features),
        )

    def _check_files(self, table: Table, found: LongRows, rows: NDArray[np.int64]) -> None:
        """Check that rows of a sequence in several files can be ordered."""
        if len(self._tables.paths) == 1 or table.columns.time:
            return
        ordered = rows if found.order is None else rows[found.order]
        files = self._tables.file_of(ordered)
        starts = np.repeat(found.starts, found.lengths)
        other = np.flatnonzero(files != files[starts])
        if other.size:
            row, start = int(other[0]), int(starts[other[0]])
            at = row if found.order is None else int(found.order[row])
            before = start if found.order is None else int(found.order[start])
            assert table.id is not None
            table.fail(
                at,
                "expected all rows of a sequence in one file, or a time column that orders them, found a row "
                f"of sequence {one_line(table.id.texts[table.id.codes[at]])} in {table.place(before)}, too",
            )

    def _splits(self, table: Table, first: NDArray[np.int64]) -> NDArray[np.int8] | None:
        if table.split is None:
            return None
        names = split_names(table, table.split)
        codes = np.array([SPLITS.index(name) if name in SPLITS else -1 for name in names], np.int8)
        splits = codes[table.split.codes[first]]
        if self._given and (splits != SPLITS.index(self._given)).any():
            raise DataError(f"{table.path}: expected the {self._given} split, found a file with splits")
        return None if self._given else splits

    def _check_lengths(self, columns: Columns) -> None:
        watch = self._tables.watch
        if watch is None or len(columns.features) < 2:
            return
        for index in watch.length_features():
            empty = np.empty((0, len(columns.features)), np.float32)
            table = Table(
                self._tables.title, columns, empty, None, None, None, None, None, 0, None,
                self._tables.place, (),
            )  # fmt: skip
            raise length_question(table, columns.features[index])

    def _encode(self) -> Encode | None:
        tables = self._tables
        collector = tables.named.get("label")
        if collector is None:
            return None
        names = Names(np.zeros(0, np.int32), tuple(collector.known), collector.kind).values
        kind, decimal = collector.kind, tables.layout.decimal
        settings = tables.settings.model_copy(update={"decimal": decimal or tables.settings.decimal})

        def encode(
            labels: NDArray[np.int64], locate: Locate
        ) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
            classes, indices = encode_labels(names, labels, str(tables.title), locate, settings, bool(kind))
            return classes, translation(labels, indices)

        return encode


def _summed(notes: list[str], title: str, total: int) -> list[str]:
    """Return notes about some of the sequences of each chunk as notes about those of all."""
    counts: Counter[str] = Counter()
    for note in notes:
        match = _SOME_OF.fullmatch(note.removeprefix(f"{title}: "))
        assert match is not None
        counts[match[2]] += int(match[1].replace(",", ""))
    return [f"{title}: {count:,} of {total:,} sequences {what}" for what, count in counts.items()]
