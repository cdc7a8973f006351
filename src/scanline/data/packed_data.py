"""Packed data sets as data sets: by the address of their folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.dataset import ALL, SPLITS, Dataset, Provenance
from scanline.data.file_check import FileCheck
from scanline.data.moments import Moments
from scanline.data.packed.consistency import check_index
from scanline.data.packed.location import Location, is_uri
from scanline.data.packed.manifest import MANIFEST, Manifest, PackedSplit, read_manifest
from scanline.data.packed.row_groups import check_installed, decode_index, read_file
from scanline.data.source import ClassName, Layout, SequenceSource
from scanline.data.source_info import SourceInfo
from scanline.data.stored import RowGroups, StoredSource, loaded, whole_pieces
from scanline.errors import DataError, UsageError
from scanline.recipe import DEFAULT_DATA, DataSettings


def is_packed(address: str | Path) -> bool:
    """Return whether an address is that of a packed data set: a URI, or a folder with a manifest."""
    if isinstance(address, str) and is_uri(address):
        return True
    try:
        return (Path(address) / MANIFEST).is_file()
    except (OSError, ValueError):
        return False


def read_packed(
    address: str,
    settings: DataSettings = DEFAULT_DATA,
    in_memory: bool = False,
    skip: Collection[str] = (),
) -> Dataset:
    """Open a packed data set. Only its manifest and its indices are read, not the sequences.

    Args:
        address: Path or URI of its folder.
        settings: How to read data; what is set must be as it was when the data were packed.
        in_memory: Whether to read all sequences into memory. They are visited in the same order.
        skip: Splits that are not read.

    Raises:
        UsageError: If a setting differs.
        DataError: If it cannot be read, or is damaged.
        MissingExtraError: If PyArrow is not installed.
    """
    location = Location.parse(address)
    check_installed(f"reading {location.uri}")
    manifest = read_manifest(location)
    _check_settings(location, manifest, settings)
    splits: dict[str, SequenceSource] = {}
    for name in (*SPLITS, ALL):
        if name not in skip and (split := manifest.splits.get(name)) is not None:  # type: ignore[call-overload]
            source = _open_split(location, manifest, name, split)
            splits[name] = loaded(source) if in_memory else source
    return Dataset(
        manifest.name,
        splits,
        location.path if location.is_local else None,
        fixed=True,
        provenance={name: Provenance(manifest.splits[name].origin) for name in splits},  # type: ignore[index]
        notes=manifest.notes,
        uri=location.uri,
        unread=frozenset(skip) & manifest.splits.keys(),
    )


def verify_packed(address: str) -> tuple[FileCheck, ...]:
    """Read every file of a packed data set, and compare files and values with the manifest.

    Raises:
        DataError: If the manifest cannot be read.
    """
    location = Location.parse(address)
    check_installed(f"reading {location.uri}")
    manifest = read_manifest(location)
    checks = [FileCheck(location.file(MANIFEST), True, "SHA-256 matches")]
    for name, split in manifest.splits.items():
        index = location.file(split.index.file)
        try:
            source: StoredSource | None = _open_split(location, manifest, name, split)
            checks.append(FileCheck(index, True, "SHA-256 matches"))
        except DataError as error:
            source = None
            checks.append(FileCheck(index, False, str(error)))
        checks += _verify_row_groups(RowGroups(location, manifest, split), source)
    return tuple(checks)


def _verify_row_groups(stored: RowGroups, source: StoredSource | None) -> list[FileCheck]:
    """Check the files of a split, and then its statistics; with the index, if `source` has it."""
    split, checks = stored.split, []
    moments, missing, start = Moments.none(stored.manifest.features), 0, 0
    for number, group in enumerate(split.row_groups):
        where = stored.file(number)
        try:
            rows = stored.read(number)
            if source is not None and not np.array_equal(
                rows.lengths, source.lengths[start : start + group.n]
            ):
                raise DataError(where=where, expected="lengths as in the index", found="others")
            moments = moments.plus(Moments.of(rows.steps))
            missing += 0 if rows.steps.dtype == np.uint8 else int(np.isnan(rows.steps).sum())
            checks.append(FileCheck(where, True, "SHA-256 matches"))
        except DataError as error:
            checks.append(FileCheck(where, False, str(error)))
        start += group.n
    if all(check.ok for check in checks) and not _same_statistics(split, moments, missing):
        place = stored.location.file(MANIFEST)
        note = f"{place}: expected the mean and variance of the values in {stored.file(0)} and following"
        checks.append(FileCheck(place, False, f"{note}, found others; pack the source again"))
    return checks


def _same_statistics(split: PackedSplit, moments: Moments, missing: int) -> bool:
    given = split.statistics
    return (
        split.missing == missing
        and given.count == moments.count.tolist()
        and np.allclose(given.mean, moments.mean, rtol=1e-6, atol=1e-9)
        and np.allclose(given.m2, moments.m2, rtol=1e-6, atol=1e-9)
    )


def _check_settings(location: Location, manifest: Manifest, settings: DataSettings) -> None:
    """Raise UsageError if settings differ from those with which the data were packed."""
    packed = manifest.settings or DEFAULT_DATA
    for key, value in settings:
        if key == "name" or value in (getattr(packed, key), getattr(DEFAULT_DATA, key)):
            continue
        if key in ("test", "validation"):
            raise UsageError(
                f"data.{key} must be empty for {location.uri}, a packed data set with its own splits, "
                f"got {value}; pack the files together to make a split of one"
            )
        raise UsageError(
            f"data.{key} must not be set for {location.uri}, which was packed with {getattr(packed, key)!r}, "
            f"got {value!r}; pack the source again to read it in another way"
        )


def _open_split(location: Location, manifest: Manifest, name: str, split: PackedSplit) -> StoredSource:
    where = location.file(split.index.file)
    content = read_file(location, split.index)
    lengths, targets = decode_index(content, where, manifest.numbers, split.n)
    check_index(manifest, split, lengths, targets, where)
    classes, targets = _classes(manifest, targets)
    statistics = split.statistics
    layout = Layout(
        np.array([group.n for group in split.row_groups], np.int64),
        Moments(np.array(statistics.count), np.array(statistics.mean), np.array(statistics.m2)),
        split.missing,
        split.first_missing,
        tuple(split.groups) or None,
        split.group_count,
    )
    source = StoredSource(
        RowGroups(location, manifest, split),
        whole_pieces(split),
        lengths,
        lengths,
        targets,
        classes,
        location.uri if name == ALL else f"{location.uri} ({name})",
        manifest.features,
        np.dtype(manifest.dtype),
        SourceInfo(
            manifest.settings,
            feature_names=manifest.feature_names,
            notes=manifest.notes,
            full_scale=manifest.full_scale,
            picture=manifest.picture,
        ),
        layout,
    )
    return replace(source, info=replace(source.info, locate=lambda index, step=0: source.describe(index)))


def _classes(manifest: Manifest, targets: NDArray[Any]) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Return the class names, or the distinct numbers, and the (N,) indices into them."""
    if not manifest.numbers:
        return manifest.classes, targets
    numbers, indices = np.unique(targets, return_inverse=True)
    return tuple(numbers.tolist()), indices.reshape(-1).astype(np.int64)
