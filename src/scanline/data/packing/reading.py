"""Reads what a request names into the stage, in chunks of whole sequences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scanline.data import catalogue
from scanline.data.checks import check_values
from scanline.data.dataset import ALL
from scanline.data.memory import MemorySource
from scanline.data.packing.chunks import Chunk, Part
from scanline.data.packing.intake import Intake
from scanline.data.packing.long_reading import LongReader, is_long
from scanline.data.packing.sources import Item
from scanline.data.readers.picture_folders import picture_pieces
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError


def read_items(intake: Intake, items: list[Item]) -> list[Part]:
    """Read the items, and return the parts.

    Raises:
        DataError: If something is wrong with the data; names the place.
        UsageError: If a setting is needed to read them.
    """
    given = {"test": intake.request.settings.test, "validation": intake.request.settings.validation}
    for (kind, split, optional, is_given), group in itertools.groupby(
        items, lambda item: (item.kind, item.split, item.optional, item.given)
    ):
        run = list(group)
        if is_given and split in intake.builders:
            raise UsageError(
                f"data.{split} must be empty for {items[0].address}, which has a {split} split, "
                f"got {given[split]}"
            )
        if kind == "table" and is_long(run[0].path, intake.settings, optional, intake.request.memory_bytes):
            LongReader(intake, run, split).read()
            continue
        for item in run:
            _read_whole(intake, item)
    return intake.finish()


def _read_whole(intake: Intake, item: Item) -> None:
    """Read an item as a whole; a folder of pictures in pieces."""
    to_train = not item.optional
    pieces: Iterator[tuple[str, MemorySource]]
    if item.kind == "pictures":
        pieces = picture_pieces(item.path, intake.settings, to_train, intake.chunk_bytes)
    elif item.address in catalogue.names():
        data = catalogue.read(item.address, intake.settings)
        intake.origins = {split: provenance.text for split, provenance in data.provenance.items()}
        pieces = iter(data.splits.items())  # type: ignore[arg-type]  # all in memory
    elif catalogue.locate(item.address) is None:
        catalogue.read(item.address, intake.settings)  # raises the error of an unknown name
        return
    else:
        pieces = iter(read_sources(item.path, intake.settings, item.optional).items())
    for split, source in pieces:
        if item.split and split not in (ALL, item.split):
            raise DataError(f"{item.address}: expected the {item.split} split, found a file with splits")
        _take(intake, item.split or split, source)
        intake.settings = source.info.settings or intake.settings


def _take(intake: Intake, split: str, source: MemorySource) -> None:
    """Stage sequences in memory, a chunk at a time."""
    builder = intake.builder(split, source, source.name)
    if builder.encode is not None:
        raise DataError(
            where=source.name, expected=f"a long table, as {builder.part.name}", found="another file"
        )
    builder.add_notes(source.info.notes)
    labels = builder.label_codes(source)
    groups = None if source.groups is None else intake.group_codes([str(name) for name in source.groups])
    intake.check_groups(source.groups is not None, source.name)
    start = intake.numbered(len(source))
    all_numbers = np.arange(start, start + len(source))
    builder.part.places.append((start, source.info.locate))
    if source.ids is None:
        source = replace(source, ids=all_numbers.astype(object))
    if not intake.origins:
        check_values(source, missing=True)
    step_bytes = source.features * source.dtype.itemsize
    borders = np.searchsorted(
        np.cumsum(source.lengths) * step_bytes,
        np.arange(intake.chunk_bytes, source.total_steps * step_bytes, intake.chunk_bytes),
    )
    intake.stage.expect_ordered()
    for first, end in itertools.pairwise(np.unique([0, *borders, len(source)]).tolist()):
        own = slice(first, end)
        of_chunk = None if groups is None else groups[own]
        chunk = Chunk(source.take(own), all_numbers[own], labels[own], of_chunk)
        intake.add(split, chunk)
