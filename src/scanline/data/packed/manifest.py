"""The manifest of a packed data set: everything about it but the sequences, sealed and written last."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scanline.data.packed.location import Location
from scanline.data.picture_format import PictureFormat
from scanline.data.source import ClassName
from scanline.errors import DataError, MissingFileError, one_line
from scanline.limits import limit_of
from scanline.recipe import DataSettings
from scanline.storage.json_files import parse_sealed_json, sealed_json

MANIFEST = "manifest.json"
SCHEMA = 1
KIND = "scanline packed data"
MOST_GROUPS = 10_000  # names of groups that a manifest lists for each split
_SHOWN = 4  # faults in a message

Count = Annotated[int, Field(strict=True, ge=0, lt=2**53)]
Size = Annotated[int, Field(strict=True, ge=1, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# Of float32, as the values themselves: larger ones would become infinite where they are used.
_LARGEST = 3.4e38
Mean = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
FileName = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Digest = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
SplitName = Literal["train", "validation", "test", "all"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileDigest(_Entry):
    """A file: its name, size in bytes and SHA-256."""

    file: FileName
    bytes: Size
    sha256: Digest


class RowGroup(FileDigest):
    """A Parquet file of one row group: its number of sequences and the sum of their lengths."""

    n: Size
    steps: Size


class Lengths(_Entry):
    """Lengths of the sequences of a split.

    Attributes:
        min: Shortest.
        median: Median.
        max: Longest.
        histogram: (shortest, longest, number of sequences) of each bin, from the shortest.
    """

    min: Size
    median: Finite
    max: Size
    histogram: list[tuple[Size, Size, Count]]


class Statistics(_Entry):
    """Values of each of the F features over all steps of a split, as they were read.

    Attributes:
        count: Number of values that are present.
        mean: Their mean; 0 if there is none.
        m2: Sum of their squared differences from the mean.
    """

    count: list[Count]
    mean: list[Mean]
    m2: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class TargetRange(_Entry):
    """Range and mean of targets that are numbers."""

    min: Finite
    mean: Finite
    max: Finite


class PackedSplit(_Entry):
    """One split of a packed data set.

    Attributes:
        n: Number of sequences.
        steps: Sum of their lengths.
        origin: Where they come from, in words.
        class_counts: Number of sequences of each class, in the order of the manifest's classes.
        targets: Range and mean of targets that are numbers, otherwise None.
        group_count: Number of groups; None if sequences have no groups.
        groups: Names of the groups, sorted; empty if there are more than `MOST_GROUPS`.
        lengths: Lengths of the sequences.
        missing: Number of missing values.
        first_missing: Where the first missing value is, in words; "" if none is.
        statistics: Values of each feature.
        index: Length and target of each sequence, see `row_groups.encode_index`.
        row_groups: The files with the sequences, in order.
    """

    n: Size
    steps: Size
    origin: str
    class_counts: list[Count]
    targets: TargetRange | None
    group_count: Count | None
    groups: list[str]
    lengths: Lengths
    missing: Count
    first_missing: str
    statistics: Statistics
    index: FileDigest
    row_groups: Annotated[list[RowGroup], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_sums(self) -> Self:
        for name, total in (("n", self.n), ("steps", self.steps)):
            found = sum(getattr(group, name) for group in self.row_groups)
            if found != total:
                raise ValueError(f"expected row groups with {total:,} {name} in all, got {found:,}")
        if not self.lengths.min <= self.lengths.max or not self.n <= self.steps:
            raise ValueError("expected lengths from 1 to the longest")
        bins = self.lengths.histogram
        edges = [edge for first, last, _ in bins for edge in (first, last)]
        if edges != sorted(edges) or any(end >= start for (_, end, _), (start, _, _) in pairwise(bins)):
            raise ValueError("expected bins of lengths in order, none of them twice")
        if sum(count for _, _, count in bins) != self.n:
            raise ValueError(f"expected {self.n:,} sequences in all bins of lengths")
        if bool(self.missing) != bool(self.first_missing):
            raise ValueError("expected the place of the first missing value exactly if one is missing")
        listed = 0 if self.group_count is None or self.group_count > MOST_GROUPS else self.group_count
        if len(self.groups) != listed or self.group_count == 0:
            raise ValueError(f"expected the names of {listed:,} groups, got {len(self.groups):,}")
        return self


class Manifest(_Entry):
    """Content of `manifest.json`.

    Attributes:
        schema_: Version of this schema.
        kind: Says what the file is.
        scanline: Version of Scanline that wrote it.
        name: Name of the data set.
        features: F, the number of values of a step.
        dtype: Type of the values.
        feature_names: As `SourceInfo.feature_names`.
        full_scale: The largest value that the data can have: 255 for bytes, 1 if there is none.
        classes: The K class names, with their types; empty without labels, and if targets are numbers.
        numbers: Whether targets are numbers.
        picture: How a picture file becomes such a sequence; None if the sequences are not pictures.
        settings: How the source was read, with what was inferred; None for a data set of the catalogue.
        notes: What was inferred or repaired when the source was read.
        shuffled: Whether the sequences were packed in random order; otherwise in the order of the source.
        splits: The splits, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    schema_: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["scanline packed data"] = "scanline packed data"
    scanline: str
    name: str
    features: Size
    dtype: Literal["float32", "uint8"]
    feature_names: tuple[str, ...]
    full_scale: Annotated[float, Field(gt=0, le=_LARGEST, allow_inf_nan=False)]
    classes: tuple[Annotated[ClassName, Field(union_mode="smart")], ...]
    numbers: bool
    picture: PictureFormat | None
    settings: DataSettings | None
    notes: tuple[str, ...]
    shuffled: bool
    splits: Annotated[dict[SplitName, PackedSplit], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        for name, split in self.splits.items():
            statistics = split.statistics
            if not len(statistics.count) == len(statistics.mean) == len(statistics.m2) == self.features:
                raise ValueError(f"{name}: expected statistics of {self.features} features")
            if len(split.class_counts) != len(self.classes):
                raise ValueError(f"{name}: expected counts of {len(self.classes)} classes")
            if self.classes and sum(split.class_counts) != split.n:
                raise ValueError(f"{name}: expected {split.n:,} sequences in all classes")
            if self.numbers != (split.targets is not None):
                raise ValueError(f"{name}: expected a range of targets exactly if they are numbers")
            if sum(statistics.count) + split.missing != split.steps * self.features:
                raise ValueError(f"{name}: expected statistics of all values that are not missing")
            if any(m2 > n * _LARGEST**2 for n, m2 in zip(statistics.count, statistics.m2, strict=True)):
                raise ValueError(f"{name}: expected deviations of float32 values")
        named = len(self.feature_names)
        longest = max(split.lengths.max for split in self.splits.values())
        # Names of the features, or of the steps if each has one value.
        if named not in (0, self.features) and (self.features != 1 or named < longest):
            raise ValueError(f"expected names of {self.features} features, got {named}")
        names = [file.file for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("expected each file once")
        if self.picture is not None and self.dtype != "uint8":
            raise ValueError("expected pictures of uint8 values")
        return self

    @property
    def files(self) -> list[FileDigest]:
        """All files of the data set but the manifest."""
        return [file for split in self.splits.values() for file in (split.index, *split.row_groups)]


def read_manifest(location: Location) -> Manifest:
    """Read the manifest of a packed data set.

    Raises:
        DataError: If there is none, it is damaged, or another version has written it; names the file.
    """
    where = location.file(MANIFEST)
    try:
        content = location.read(MANIFEST, limit_of("MANIFEST_BYTES"))
    except MissingFileError as error:
        raise MissingFileError(
            f"{error}: expected a packed data set, which `scanline data pack SOURCE --to URI` makes"
        ) from error
    try:
        tree = parse_sealed_json(content)
    except ValueError as error:
        raise DataError(f"{where} is damaged: {error}") from None
    _check_schema(tree, where)
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        text = "; ".join(
            f"{one_line('.'.join(map(str, each['loc'])) or 'content')}: "
            f"{one_line(each['msg'].removeprefix('Value error, '), 200)}"
            for each in faults[:_SHOWN]
        )
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DataError(f"{where} is damaged: {text}{more}") from None


def _check_schema(tree: dict[str, Any], where: str) -> None:
    if tree.get("kind") != KIND:
        raise DataError(where=where, expected="the manifest of a packed data set", found="another file")
    schema = tree.get("schema")
    if schema == SCHEMA:
        return
    version = one_line(tree.get("scanline", "another version"))
    raise DataError(
        where=where,
        expected=f"schema {SCHEMA}",
        found=f"schema {one_line(schema)}, written by Scanline {version}",
        remedy="read it with that version, or pack the source again",
    )


def write_manifest(location: Location, manifest: Manifest) -> None:
    """Write the manifest, which makes the folder a packed data set.

    Raises:
        ScanlineError: If it cannot be written.
    """
    # Through JSON, so that what is written is what the schema can read.
    tree = json.loads(manifest.model_dump_json(by_alias=True))
    location.write(MANIFEST, sealed_json(tree).encode())
