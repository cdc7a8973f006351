"""Which files a request names, in order, and which split each of them is."""

from __future__ import annotations

import glob as patterns
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanline.data import catalogue
from scanline.data.packed.location import is_uri
from scanline.data.packed_data import is_packed
from scanline.data.packing.request import PackRequest
from scanline.data.readers.audio_folders import is_audio_folder
from scanline.data.readers.idx_files import is_idx_folder
from scanline.data.readers.list_columns import has_lists
from scanline.data.readers.picture_folders import is_picture_folder, natural_order
from scanline.data.readers.recordings import is_recording
from scanline.data.readers.split_files import named_like
from scanline.data.readers.spreadsheets import is_spreadsheet
from scanline.data.readers.tables import is_table
from scanline.data.reading import TO_EVALUATE, TO_PREDICT, exists, split_files_in
from scanline.errors import DataError, UsageError

Kind = Literal["table", "pictures", "other"]
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class Item:
    """A file or folder that is read as one.

    Attributes:
        address: Its path, or a name of the catalogue.
        kind: "table" if it may be a long table, "pictures" for a folder of pictures.
        split: The split that it is; "" if that is for its content to say.
        optional: Roles of columns that may be absent, see `column_roles.assign`.
        given: Whether the settings name it as this split.
    """

    address: str
    kind: Kind
    split: str = ""
    optional: tuple[str, ...] = ()
    given: bool = False

    @property
    def path(self) -> Path:
        """Its path."""
        return Path(self.address)


def find_items(request: PackRequest) -> list[Item]:
    """Return what a request names, in the order in which it is read.

    Raises:
        DataError: If there is no such file.
        UsageError: If a source cannot be packed.
    """
    optional = () if request.labelled else TO_PREDICT
    addresses = _expanded(request.sources)
    items: list[Item] = []
    for address in addresses:
        items += _items_at(address, optional)
    for split, other in (("test", request.settings.test), ("validation", request.settings.validation)):
        if other and request.split is None:
            raise UsageError(f"--{split} must not be a path with --no-split, got {other}")
        if other:
            found = _expanded((other,))
            items += [
                Item(item.address, item.kind, item.split or split, TO_EVALUATE, True)
                for address in found
                for item in _items_at(address, TO_EVALUATE)
            ]
    return items


def _expanded(sources: Sequence[str]) -> list[str]:
    """Return the addresses that patterns such as data/*.csv stand for, in natural order."""
    found = []
    for source in sources:
        if not _PATTERN & set(source) or exists(Path(source)):
            found.append(source)
            continue
        matches = sorted(map(Path, patterns.glob(source, recursive=True)), key=natural_order)  # noqa: PTH207
        if not matches:
            raise DataError(f"{source}: expected files that match the pattern, found none")
        found += map(str, matches)
    return found


def _items_at(address: str, optional: Collection[str]) -> list[Item]:
    optional = tuple(optional)
    if address in catalogue.names():
        return [Item(address, "other", optional=optional)]
    if is_uri(address):
        raise UsageError(
            f"{address}: expected a path on this machine or a name, got a URI; copy the data first"
        )
    path = catalogue.locate(address)
    if path is None:
        return [Item(address, "other", optional=optional)]  # its reader names what is wrong
    if is_recording(path) or (exists(path) and path.is_dir() and _is_audio(path)):
        raise UsageError(f"{path}: expected data to pack, got WAV files; train on them as they are")
    if exists(path) and path.is_dir():
        if is_packed(path):
            raise UsageError(f"{path} is a packed data set already; give the source that it was packed from")
        files = {} if is_idx_folder(path) else split_files_in(path)
        pictures = not files and not is_idx_folder(path) and not (path / "X.npy").is_file()
        if pictures and is_picture_folder(path):
            return [Item(str(path), "pictures", optional=optional)]
    else:
        files = {} if exists(path) else named_like(path)
    if not files:
        return [Item(str(path), _kind_of(path), optional=optional)]
    # Test and validation files may lack group and split columns, as `reading` has it.
    return [
        Item(
            str(files[split]),
            _kind_of(files[split]),
            split,
            optional if split == "train" else tuple(sorted({*optional, *TO_EVALUATE})),
        )
        for split in ("train", "validation", "test")
        if split in files
    ]


def _is_audio(folder: Path) -> bool:
    known = is_idx_folder(folder) or split_files_in(folder) or (folder / "X.npy").is_file()
    return not known and not is_packed(folder) and not is_picture_folder(folder) and is_audio_folder(folder)


def _kind_of(path: Path) -> Kind:
    if not path.is_file() or not is_table(path) or is_spreadsheet(path):
        return "other"
    return "other" if path.suffix.lower() == ".parquet" and has_lists(path) else "table"
