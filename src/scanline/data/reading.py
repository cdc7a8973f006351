"""Any source of sequences by its path: which reader, which files belong together, which parts they make."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scanline import formats
from scanline.data.found import Found, check_values, with_classes
from scanline.data.memory import MemorySource
from scanline.data.readers.array_files import read_npy, read_npz
from scanline.data.readers.idx_folder import is_idx_folder, read_idx_folder
from scanline.data.readers.pictures import is_picture_folder, read_picture_folder
from scanline.data.readers.sequence_files import read_sequence_file
from scanline.data.readers.shapes import read_sequences
from scanline.data.readers.siblings import named_like, pair_in
from scanline.data.readers.tables import SUFFIXES
from scanline.data.splits import PARTS, Dataset, Origin, hold_out
from scanline.errors import DataError, UsageError
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings, Missing, SplitSettings

KINDS = (
    "a .ts, .csv, .tsv, .parquet or .npz file, X.npy beside y.npy, a folder of IDX files or of pictures, "
    "or the NAME of NAME_TRAIN and NAME_TEST files"
)
# What may be absent from a table that is judged, or predicted, though it was there in training.
TO_JUDGE = ("group", "split")
TO_PREDICT = ("group", "split", "label")


def exists(path: Path) -> bool:
    """Whether `path` exists and can be reached; never raises."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, a folder that may not be entered, a NUL in it
        return False


def has_source(path: Path) -> bool:
    """Whether something lies at `path` that `read_source` would look into."""
    return exists(path) or bool(named_like(path))


def read_source(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> dict[str, Found]:
    """What lies at `path`: {"all": ...} where it has no parts, else "train", "test" and perhaps "validation".

    settings: what was said of tables and pictures. optional: roles of columns that may be absent, see
    `columns.assign`; with "label" among them, nothing need have a label.
    Raises DataError naming the file, the place, what was expected and what was found, UsageError where it
    has to be said what is what.
    """
    try:
        if exists(path) and path.is_dir():
            return _bounded(_read_folder(path, settings, optional))
        if exists(path):
            return _bounded(_read_file(path, settings, optional))
        pair = named_like(path)
        if pair:
            return _bounded(_read_parts(path, pair, settings, optional))
    except OSError as error:  # of looking at what lies there; the readers have their own
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    raise DataError(f"{path}: there is nothing; expected {KINDS}")


def _bounded(found: dict[str, Found]) -> dict[str, Found]:
    """What was read. Raises DataError if sequences are longer, or steps wider, than the limits say."""
    for each in found.values():
        part = each.sequences
        for name, size in (("STEPS", part.max_length), ("FEATURES", part.features)):
            if size > limit_of(name):
                raise DataError(f"{part.name}: {exceeded(name, size)}")
    return found


def _read_file(path: Path, settings: DataSettings, optional: Collection[str]) -> dict[str, Found]:
    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"{path}: expected {KINDS}, found something that is no regular file")
    if (size := path.stat().st_size) > limit_of("FILE_BYTES"):
        raise DataError(f"{path}: {exceeded('FILE_BYTES', size)}")
    if name.endswith(".npz"):
        return read_npz(path, settings, "label" not in optional)
    if name.endswith(".npy"):
        return {"all": read_npy(path, settings, "label" not in optional)}
    if name.endswith(SUFFIXES):
        return _by_column(read_sequences(path, settings, optional), to_train=not optional)
    if (format := formats.for_path(path)) is not None:
        return {"all": read_sequence_file(path, format, settings, "label" not in optional)}
    raise DataError(f"{path}: expected {KINDS}, found a file of another name")


def _by_column(found: Found, to_train: bool) -> dict[str, Found]:
    """A table with a split column in its parts. The classes are those of its training part, if it has one."""
    if found.parts is None:
        return {"all": found}
    parts = {}
    for name in PARTS:
        index = np.flatnonzero(found.parts == name)
        if index.size:
            parts[name] = _take(found, index)
    if "train" in parts:
        parts["train"] = _with_own_classes(parts["train"])
    elif to_train:
        raise DataError(
            f"{found.sequences.name}: column {found.settings.split_column}: expected some sequences that "
            "train, found none"
        )
    return parts


def _with_own_classes(found: Found) -> Found:
    """`found` without the classes that none of its sequences has."""
    part = found.sequences
    used, labels = np.unique(part.targets, return_inverse=True)
    classes = tuple(part.classes[label] for label in used) if part.classes else ()
    return replace(found, sequences=replace(part, targets=labels.reshape(-1), classes=classes))


def _take(found: Found, index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Found:
    def where(chosen: int, step: int = 0) -> str:
        return found.where(int(index[chosen]), step)

    return replace(found, sequences=found.sequences.take(index), where=where, parts=None)


def _read_folder(folder: Path, settings: DataSettings, optional: Collection[str]) -> dict[str, Found]:
    if is_idx_folder(folder):
        return read_idx_folder(folder, settings)
    pair = named_like(folder / folder.resolve().name) or named_like(folder / "X") or pair_in(folder)
    if pair:
        return _read_parts(folder, pair, settings, optional)
    if (folder / "X.npy").is_file():
        return {"all": read_npy(folder / "X.npy", settings, "label" not in optional)}
    if is_picture_folder(folder):
        return read_picture_folder(folder, settings, to_train=not optional)
    raise DataError(
        f"{folder}: expected {KINDS}, found a folder without train-images-idx3-ubyte, sub-folders of "
        "pictures, train and test files, or X.npy"
    )


def _read_parts(
    path: Path, files: Mapping[str, Path], settings: DataSettings, optional: Collection[str]
) -> dict[str, Found]:
    """Files that are a part each. The training file says what is guessed for the others."""
    found = {}
    for part in PARTS:
        if part not in files:
            continue
        own = _read_file(files[part], settings, optional if part == "train" else {*optional, *TO_JUDGE})
        if list(own) not in (["all"], [part]):
            raise DataError(f"{files[part]}: expected the {part} part of {path}, found parts of its own")
        found[part] = own.get("all") or own[part]
        settings = found[part].settings
    return found


# --- a data set out of what was read


@dataclass(frozen=True, eq=False)
class Samples:
    """What was read, before it is split.

    name: the last part of its path, or what the user calls it. path: None if it has none. found: "all" where
    there are no parts, otherwise "train", "test" and perhaps "validation". named: a set of the catalog, whose
    parts are settled; found is then empty.
    """

    name: str
    path: Path | None
    found: Mapping[str, Found]
    named: Dataset | None = None

    @property
    def are_pictures(self) -> bool:
        """Whether each sequence is a picture."""
        if self.named is not None:
            return self.named.picture is not None
        return next(iter(self.found.values())).picture is not None

    def data_set(self, split: SplitSettings, missing: Missing = "error") -> Dataset:
        """The data set: parts that there are not are drawn as `split` says.

        missing: "error", or anything else if values may be missing.
        Raises DataError if a value is missing or infinite, a class or a group cannot be split, or the parts
        do not fit together.
        """
        if self.named is not None:
            return self.named
        return _assemble(self, split, missing)

    def to_judge(self, missing: Missing) -> MemorySource:
        """The test part, or all where there are no parts. Raises DataError if a value is missing."""
        if self.named is not None and self.named.test is not None:
            return self.named.test
        chosen = self.found.get("test") or next(iter(self.found.values()))
        check_values(chosen, missing != "error")
        return chosen.sequences


def read_samples(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> Samples:
    """What lies at `path`, with the parts that `settings` names beside it. optional: as for `read_source`.

    Raises DataError naming what is wrong in the data, UsageError where it has to be said what is what.
    """
    found = read_source(path, settings, optional)
    if not optional and not found.keys() & {"all", "train"}:
        raise DataError(f"{path}: expected sequences that train, found only those of {' and '.join(found)}")
    first = next(iter(found.values()))
    for part, other in (("test", settings.test), ("validation", settings.validation)):
        if not other:
            continue
        if part in found:
            raise UsageError(f"data.{part} must be empty for {path}, which has a {part} part, got {other}")
        own = read_source(Path(other), first.settings, TO_JUDGE)
        if not own.keys() & {"all", part}:
            raise UsageError(
                f"data.{part} must be the path of a {part} part, or of sequences without parts, got {other}, "
                f"which has those of {' and '.join(own)}"
            )
        found[part] = own.get("all") or own[part]
    return Samples(path.resolve().name, path, found)


def _assemble(samples: Samples, split: SplitSettings, missing: Missing) -> Dataset:
    found = samples.found
    rest = found.get("all") or found["train"]
    settings, classes = rest.settings, rest.sequences.classes
    for each in found.values():
        check_values(each, missing != "error")
    parts: dict[str, MemorySource] = {}
    origins: dict[str, Origin] = {}
    for part in ("test", "validation"):
        if part in found:
            own = with_classes(found[part], classes, "the training part")
            _check_alike(rest, own)
            parts[part], origins[part] = own.sequences, Origin(own.sequences.name)
    train, index = rest.sequences, np.arange(len(rest.sequences))
    origins["train"] = Origin(train.name)
    _check_groups({"training": train, **parts})
    for part, share in (("test", split.test), ("validation", split.validation)):
        if part in parts or share == 0:
            continue
        pile = origins["train"].how
        kept, held = hold_out(replace(train, name=pile), share, split.seed)
        by = f"by {settings.group_column or 'group'}" if train.groups is not None else "by class"
        how = f"{share:g} of {pile}, drawn {by} with seed {split.seed}"
        parts[part], origins[part] = train.take(held), Origin(how, index[held])
        train, index = train.take(kept), index[kept]
        origins["train"] = Origin(f"the rest of {rest.sequences.name}", index)
    return Dataset(
        samples.name,
        train,
        parts.get("validation"),
        parts.get("test"),
        scale=rest.scale,
        picture=rest.picture,
        path=samples.path,
        settings=settings,
        origins={part: origins[part] for part in PARTS if part in origins},
        notes=tuple(note for each in found.values() for note in each.notes),
    )


def _check_alike(first: Found, other: Found) -> None:
    """Raises DataError if `other` has steps of another width, or pictures of another size, than `first`."""
    one, two = first.sequences, other.sequences
    if first.picture:
        fits = other.picture is not None and one.shape[1:] == two.shape[1:]
    else:
        fits = other.picture is None and one.features == two.features
    if not fits:
        raise DataError(
            f"{two.name}: expected steps as in {one.name}, of shape {_shape(one)}, found {_shape(two)}"
        )


def _shape(part: MemorySource) -> str:
    steps = f"{part.max_length}" if part.uniform else f"{part.lengths.min()} to {part.max_length}"
    return f"({len(part)}, {steps}, {part.features})"


def _check_groups(parts: Mapping[str, MemorySource]) -> None:
    """Raises DataError if a group stands in two parts that the source made itself."""
    for one, other in itertools.combinations(parts, 2):
        groups = [parts[name].groups for name in (one, other)]
        if groups[0] is None or groups[1] is None:
            continue
        both = sorted(set(map(str, groups[0])) & set(map(str, groups[1])))
        if both:
            raise DataError(
                f"{parts[other].name}: group {both[0]} stands in the {one} part and in the {other} part"
                + (f" ({len(both):,} groups do)" if len(both) > 1 else "")
                + "; split by group, or leave the group column out"
            )
