"""Packs a source: stages its sequences, divides them into splits, writes row groups and the manifest."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from scanline.data import catalogue
from scanline.data.labels import BytesName
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from scanline.data.packed.row_groups import check_installed
from scanline.data.packing.chunks import Part
from scanline.data.packing.describing import describe_split
from scanline.data.packing.division import Division, Staged, divide
from scanline.data.packing.intake import Intake, Report
from scanline.data.packing.journal import Journal, file_facts, folder_of, opened_journal, remove
from scanline.data.packing.reading import read_items
from scanline.data.packing.request import (
    DEFAULT_MEMORY_BYTES,
    DEFAULT_ROW_GROUP_MB,
    PackRequest,
    parse_bytes,
)
from scanline.data.packing.sources import Item, find_items
from scanline.data.packing.stage import Order, StageWriter, bucket_count, staged_columns
from scanline.data.packing.writing import RowGroupWriter
from scanline.data.picture_format import PictureFormat
from scanline.data.source_info import SourceInfo
from scanline.errors import DataError, ScanlineError, UsageError, one_line
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings, SplitSettings
from scanline.version import __version__

_OURS = re.compile(r"(train|validation|test|all)-([0-9]{6,}|index)\.parquet")
_GROWTH = {".gz": 6, ".parquet": 4, ".npz": 3}  # bytes of values for each byte of a file, about
_MOST_ROW_GROUP_MB = 512
_PICTURE = TypeAdapter(PictureFormat)


@dataclass(frozen=True)
class PackResult:
    """What was packed, and where.

    Attributes:
        manifest: The manifest.
        uri: Address of the packed data set.
        bytes: Size of all its files but the manifest.
        seconds: How long it took.
        resumed: Whether an earlier try was continued.
    """

    manifest: Manifest
    uri: str
    bytes: int
    seconds: float
    resumed: bool

    def to_json(self) -> dict[str, Any]:
        """Return counts, sizes and notes, ready for JSON."""
        splits = {
            name: {"sequences": split.n, "steps": split.steps, "row_groups": len(split.row_groups)}
            for name, split in self.manifest.splits.items()
        }
        return {
            "uri": self.uri,
            "name": self.manifest.name,
            "features": self.manifest.features,
            "dtype": self.manifest.dtype,
            "classes": len(self.manifest.classes),
            "splits": splits,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
            "notes": list(self.manifest.notes),
        }


def pack(
    sources: str | Sequence[str],
    to: str,
    settings: DataSettings = DEFAULT_DATA,
    *,
    test: float = DEFAULT_SPLIT.test,
    validation: float = DEFAULT_SPLIT.validation,
    split_seed: int = DEFAULT_SPLIT.seed,
    split: bool = True,
    labelled: bool = True,
    keep_order: bool = False,
    row_group_mb: int = DEFAULT_ROW_GROUP_MB,
    memory: str | int = DEFAULT_MEMORY_BYTES,
    temp: Path | None = None,
    force: bool = False,
    report: Report | None = None,
) -> PackResult:
    """Pack sources into a packed data set.

    Args:
        sources: Name, path or pattern of a source, or several that are read as one.
        to: Path or URI of the packed data set.
        settings: How to read the sources.
        test: Test split as a fraction of all sequences, if the source has none; 0: none.
        validation: Validation split as a fraction of the sequences not in the test split; 0: none.
        split_seed: Seed of the splits, and of the order of the sequences.
        split: Whether to make splits; otherwise all sequences are one split, to be scored.
        labelled: Whether sequences must have labels; without, they cannot be divided into splits.
        keep_order: Whether sequences stay in the order of the source; otherwise they are shuffled.
        row_group_mb: Size of a row group in MB of step values.
        memory: How much memory may be used, in bytes or such as "2GB".
        temp: Folder for temporary files; None: beside a local target, or that of the system.
        force: Whether to replace a packed data set, or an unfinished one of another request.
        report: As for `pack_request`.

    Raises:
        DataError: If something is wrong with the source; names the place.
        UsageError: If an argument is out of range, the target exists, or a setting is needed.
        ScanlineError: If the target or a temporary file cannot be written.
    """
    for name, fraction in (("test", test), ("validation", validation)):
        if not 0 <= fraction < 1:
            raise UsageError(f"--{name} must be a fraction from 0 to below 1, got {fraction:g}")
    if not labelled and split:
        raise UsageError("--unlabelled requires --no-split: splits are drawn by class")
    for key in ("static_columns", "time_features"):
        if getattr(settings, key):
            what = key.replace("_", " ")
            raise UsageError(
                f"packed data have no {what}: leave data.{key} empty, or train on the table itself"
            )
    if not 1 <= row_group_mb <= _MOST_ROW_GROUP_MB:
        raise UsageError(f"--row-group-mb must be from 1 to {_MOST_ROW_GROUP_MB}, got {row_group_mb}")
    request = PackRequest(
        (sources,) if isinstance(sources, str) else tuple(sources),
        to,
        settings,
        SplitSettings(test=float(test), validation=float(validation), seed=split_seed) if split else None,
        labelled,
        keep_order,
        row_group_mb,
        parse_bytes(str(memory)),
        temp,
        force,
    )
    return pack_request(request, report)


def pack_request(request: PackRequest, report: Report | None = None) -> PackResult:
    """Pack the sources of a request.

    Args:
        request: What to pack, and where.
        report: Called with the progress: what is done ("rows", "read", "write"), how much, and of how much.

    Raises:
        DataError: If something is wrong with the source; names the place.
        UsageError: If the target exists, or a setting is needed.
        ScanlineError: If the target or a temporary file cannot be written.
    """
    began = time.monotonic()
    check_installed("packing data")
    target = Location.parse(request.target)
    request = replace(request, target=target.uri)
    items = find_items(request)
    folder = folder_of(request, target)
    _check_target(target, request.force or Journal(folder).has_begun)
    with opened_journal(folder, request.target) as journal:
        try:
            if request.force:
                journal.clear()
            resumed = journal.has_begun
            _check_content(target, request.force, resumed)
            with _disk_faults(folder):
                journal.begin(request, file_facts(_files(items), target.uri))
            if target.exists(MANIFEST):  # only the removal of the temporary folder was missing
                manifest = read_manifest(target)
                _check_own(target, manifest, journal)
            else:
                manifest = _pack(request, items, target, journal, report or (lambda what, done, total: None))
        finally:
            if not journal.has_begun:
                remove(folder)
    remove(folder)
    size = sum(file.bytes for file in manifest.files)
    return PackResult(manifest, target.uri, size, time.monotonic() - began, resumed)


def _pack(
    request: PackRequest, items: list[Item], target: Location, journal: Journal, report: Report
) -> Manifest:
    with _disk_faults(journal.folder):
        with _cleared_after_faults(journal):
            facts = journal.staged()
            if facts is None:
                parts, facts = _stage(request, items, journal, report)
                division = _divide(request, journal, parts, facts)
                # Recorded when nothing can be wrong with the source any more.
                journal.set_staged(facts)
            else:
                parts = [_load_part(each) for each in facts["parts"]]
                division = _divide(request, journal, parts, facts)
        first = parts[0]
        writer = RowGroupWriter(
            target,
            journal,
            division,
            first.features,
            first.dtype,
            first.info.feature_names,
            facts["groups"],
            request.row_group_mb * 10**6,
        )
        writer.go_on()
        order = Order(None if request.keep_order else request.seed)
        writer.write(journal.folder, facts["buckets"], order, report)
    manifest = _manifest(request, items, parts, division, writer, target, facts["groups"])
    for name in target.unfinished():
        target.remove(name)
    write_manifest(target, manifest)
    return manifest


def _stage(
    request: PackRequest, items: list[Item], journal: Journal, report: Report
) -> tuple[list[Part], dict[str, Any]]:
    """Read all items into the stage, and return the parts, and what is recorded."""
    import pyarrow

    for path in journal.folder.glob("bucket-*"):
        path.unlink()
    sort_folder = journal.folder / "sort"
    shutil.rmtree(sort_folder, ignore_errors=True)
    sort_folder.mkdir()
    order = Order(None if request.keep_order else request.seed)
    stage = StageWriter(journal.folder, order, bucket_count(_expected_bytes(items)))
    intake = Intake(request, stage, sort_folder, report)
    parts = read_items(intake, items)
    stage.finish()
    pyarrow.default_memory_pool().release_unused()
    facts = {
        "parts": [_part_facts(part) for part in parts],
        "groups": list(intake.groups),
        "buckets": stage.used,
        "origins": intake.origins,
    }
    return parts, facts


def _divide(request: PackRequest, journal: Journal, parts: Sequence[Part], facts: dict[str, Any]) -> Division:
    names = ("number", "label", "group", "part", "split")
    numbers, labels, groups, of_parts, splits = staged_columns(journal.folder, facts["buckets"], names)
    staged = Staged(numbers, labels, groups, of_parts, splits, facts["groups"])
    return divide(parts, staged, request, facts["origins"])


def _manifest(
    request: PackRequest,
    items: list[Item],
    parts: Sequence[Part],
    division: Division,
    writer: RowGroupWriter,
    target: Location,
    group_names: list[str],
) -> Manifest:
    first = parts[0]
    numbers = bool(first.info.numeric_targets and division.classes)
    entries = {
        split.name: describe_split(split, origin, division.classes, numbers, target, group_names)
        for split, origin in zip(writer.splits, division.origins, strict=True)
    }
    return Manifest(
        scanline=__version__,
        name=_name_of(request, items),
        features=first.features,
        dtype=str(first.dtype),
        feature_names=first.info.feature_names,
        full_scale=first.info.full_scale,
        classes=() if numbers else division.classes,
        numbers=numbers,
        picture=first.picture,
        settings=first.settings,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        shuffled=not request.keep_order,
        splits=entries,
    )


def _name_of(request: PackRequest, items: list[Item]) -> str:
    """Return the name of what is packed: of the source as it was named, or of the folder of several."""
    named = request.sources[0]
    if len(request.sources) == 1 and not any(mark in named for mark in "*?["):
        return Path(named).resolve().name
    return items[0].path.resolve().parent.name


def _files(items: Sequence[Item]) -> list[Path]:
    """Return the files of the items; of a folder also what is in it, and its sub-folders' sub-folders."""
    paths = [item.path for item in items if item.address not in catalogue.names() and item.path.exists()]
    inside = [each for path in paths if path.is_dir() for each in _shown_in(path)]
    deeper = [each for path in inside if path.is_dir() for each in _shown_in(path) if each.is_dir()]
    return [*paths, *inside, *deeper]


def _shown_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _expected_bytes(items: Sequence[Item]) -> int:
    """Return about how many bytes of steps the items have, which decides the number of buckets."""
    total = 0
    for item in items:
        if item.kind == "pictures":
            total += 2**33  # many small files, which are not counted here
    for path in _files(items):
        if path.is_file():
            total += path.stat().st_size * _GROWTH.get(path.suffix.lower(), 1)
    return total


def _check_target(target: Location, may_exist: bool) -> None:
    if target.is_local and target.path.exists() and not target.path.is_dir():
        raise UsageError(f"{target.uri}: expected a folder to pack to, got a file; give another --to")
    if target.exists(MANIFEST) and not may_exist:
        raise UsageError(
            f"{target.uri} is a packed data set already: give another --to, or --force to replace it"
        )


def _check_own(target: Location, manifest: Manifest, journal: Journal) -> None:
    """Check that a manifest is that of the packing in the journal."""
    there = [group.model_dump() for split in manifest.splits.values() for group in split.row_groups]
    written = [facts["row_group"] for facts in journal.row_groups()]
    if sorted(map(repr, there)) != sorted(map(repr, written)):
        raise UsageError(
            f"{target.uri} is a packed data set already, of another packing than the unfinished one in "
            f"{journal.folder}: give another --to, or --force to replace it"
        )


def _check_content(target: Location, force: bool, resumed: bool) -> None:
    """Check that nothing else is in the target, and remove what an earlier packing has left there."""
    names = target.names()
    foreign = [name for name in names if name != MANIFEST and not _OURS.fullmatch(name)]
    if target.is_local and target.path.is_dir():
        foreign += [each.name for each in target.path.iterdir() if each.is_dir()]
    if foreign:
        raise UsageError(
            f"{target.uri}: expected a new or empty folder to pack to, got one with {len(foreign):,} other "
            f"files or folders, such as {one_line(foreign[0])}; give another --to"
        )
    if resumed or not names:
        return
    if not force:
        raise UsageError(
            f"{target.uri} has files of a packing that did not finish, whose temporary folder is gone: give "
            "--force to start anew"
        )
    # The manifest first: what is left without it is no data set.
    for name in sorted(names, key=lambda name: name != MANIFEST):
        target.remove(name)


@contextlib.contextmanager
def _cleared_after_faults(journal: Journal) -> Iterator[None]:
    """Clear the journal if the source or a setting is wrong, so that another request can begin."""
    try:
        yield
    except (DataError, UsageError):
        journal.clear()
        raise


@contextlib.contextmanager
def _disk_faults(folder: Path) -> Iterator[None]:
    """Turn errors of the system about temporary files into ScanlineError."""
    try:
        yield
    except OSError as error:
        raise ScanlineError(
            f"cannot write temporary files in {folder}: {error.strerror or error}; run the same command "
            "again to go on, or give another folder with --temp"
        ) from error


def _part_facts(part: Part) -> dict[str, Any]:
    """Return a part ready for JSON."""
    info = part.info
    return {
        "split": part.split,
        "name": part.name,
        "features": part.features,
        "dtype": str(part.dtype),
        "classes": [_class_facts(name) for name in part.classes],
        "codes": part.codes.tolist(),
        "notes": part.notes,
        "assigned": part.assigned,
        "count": part.count,
        "settings": info.settings and info.settings.model_dump(mode="json"),
        "feature_names": list(info.feature_names),
        "full_scale": info.full_scale,
        "picture": info.picture and _PICTURE.dump_python(info.picture, mode="json"),
    }


def _class_facts(name: Any) -> list[Any]:
    if isinstance(name, BytesName):
        return ["bytes", name.given.hex()]
    return [type(name).__name__, name]


def _class_of(facts: list[Any]) -> Any:
    kind, value = facts
    return BytesName(bytes.fromhex(value)) if kind == "bytes" else value


def _load_part(facts: dict[str, Any]) -> Part:
    settings = facts["settings"]
    info = SourceInfo(
        None if settings is None else DataSettings.model_validate_json(json.dumps(settings)),
        feature_names=tuple(facts["feature_names"]),
        full_scale=facts["full_scale"],
        picture=None if facts["picture"] is None else _PICTURE.validate_python(facts["picture"]),
    )
    codes: NDArray[np.int64] = np.array(facts["codes"], np.int64)
    return Part(
        facts["split"],
        facts["name"],
        info,
        facts["features"],
        np.dtype(facts["dtype"]),
        tuple(map(_class_of, facts["classes"])),
        codes,
        facts["notes"],
        facts["assigned"],
        [],
        facts["count"],
    )
