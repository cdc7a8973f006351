"""Reads tables in which a cell is a whole sequence: list columns of Parquet, data sets of Hugging Face.

A row is a sequence, a column of lists one feature, and a column of lists of lists several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_look
from scanline.data.dataset import SPLITS
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import Arrays, from_arrays
from scanline.data.readers.column_roles import Columns, assign
from scanline.data.readers.parquet_sizes import arrow_errors, check_unpacked
from scanline.data.readers.row_numbers import NumberFault, to_numbers
from scanline.data.source_info import SourceInfo
from scanline.data.targets import LABEL_SETS
from scanline.errors import DataError, UsageError, join_names, one_line, quoted
from scanline.recipe import DEFAULT_DATA, DataSettings


def has_lists(path: Path) -> bool:
    """Return whether a Parquet file has a column of lists of numbers. Damaged files have none."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False  # as for other files, the reader of tables names the package
    try:
        return any(_is_list(field.type) for field in parquet.read_schema(path))
    except (pyarrow.ArrowException, OSError, UnicodeError):
        return False  # the reader of tables reports what is wrong


def read_list_columns(path: Path, settings: DataSettings, optional: Collection[str] = ()) -> MemorySource:
    """Read a Parquet file whose rows are sequences.

    Args:
        path: The file.
        settings: Roles of its columns.
        optional: Roles of columns that may be absent.

    Raises:
        DataError: Names the row, what was expected and what was found.
        UsageError: If the roles of columns are ambiguous.
    """
    from pyarrow import parquet

    with arrow_errors(path), parquet.ParquetFile(path) as file:
        check_unpacked(path, file.schema)
        table = file.read()
    return _from_table(table, settings, optional, str(path))


def arrays_of(dataset: Any, settings: DataSettings = DEFAULT_DATA, name: str = "dataset") -> Arrays:
    """Return the sequences of a Hugging Face data set, or of a dictionary of its splits, to train on.

    Args:
        dataset: A `datasets.Dataset` or `DatasetDict`, or a `pyarrow.Table` or a dictionary of these.
        settings: Roles of the columns.
        name: Name of the data, for the run directory.

    Raises:
        DataError: If a cell cannot be used; names its row.
        UsageError: If the roles of columns or splits are ambiguous.
    """
    if not isinstance(dataset, Mapping):
        return _as_arrays(_from_dataset(dataset, settings, "the given data set"), name)
    unknown = [split for split in dataset if split not in SPLITS]
    if unknown or "train" not in dataset:
        raise UsageError(
            f"the given data set: expected splits train, validation and test, got {join_names(list(dataset))}"
        )
    sources = {split: _from_dataset(part, settings, f"the {split} split") for split, part in dataset.items()}
    train = _as_arrays(sources.pop("train"), name)
    parts = {split: _as_arrays(part, name) for split, part in sources.items()}
    given = {split: (part.values, part.labels) for split, part in parts.items()}
    return replace(train, test=given.get("test"), validation=given.get("validation"))


def is_dataset(data: Any) -> bool:
    """Return whether `arrays_of` can read `data`."""
    if isinstance(data, Mapping):
        return bool(data) and all(is_dataset(part) for part in data.values())
    return hasattr(data, "column_names") and (hasattr(data, "with_format") or hasattr(data, "to_batches"))


def has_list_cells(data: Any) -> bool:
    """Return whether a data set of Hugging Face or a table of Arrow has lists as cells."""
    first: Any = next(iter(data.values()), None) if isinstance(data, Mapping) else data
    if not is_dataset(first):
        return False
    if hasattr(first, "with_format"):
        first = first.with_format("arrow")[:1]
    return any(_is_list(field.type) for field in first.schema)


def _as_arrays(source: MemorySource, name: str) -> Arrays:
    labels = [source.classes[code] for code in source.targets]
    values = [source.steps_of(index) for index in range(len(source))]
    return Arrays(values, labels, groups=source.groups, name=name)


def _from_dataset(dataset: Any, settings: DataSettings, name: str) -> MemorySource:
    # The format "arrow" honours the selection and the order of a data set, unlike its table.
    table = dataset.with_format("arrow")[:] if hasattr(dataset, "with_format") else dataset
    source = _from_table(table, settings, (), name)
    feature = getattr(dataset, "features", {}) if hasattr(dataset, "with_format") else {}
    column = source.info.settings.label_column if source.info.settings else ""
    # A ClassLabel is stored as the index of its name.
    names = getattr(feature.get(column), "names", None)
    if names:
        source = replace(source, classes=tuple(str(names[int(each)]) for each in source.classes))
    return source


def _from_table(table: Any, settings: DataSettings, optional: Collection[str], name: str) -> MemorySource:
    columns = assign(table.column_names, settings, name, optional)
    if columns.length:
        raise DataError(f"{name}: lists have their own lengths; remove column {one_line(columns.length)}")
    if columns.labels:
        listed = ", ".join(map(one_line, columns.labels))
        raise DataError(f"{name}: expected one label column beside columns of lists, found {listed}")
    sets = settings.targets == LABEL_SETS  # then a label may be a list of names
    for column in ("" if sets else columns.label, columns.id, columns.group, columns.split):
        if column and _is_list(table.schema.field(column).type):
            kind = one_line(table.schema.field(column).type)
            raise DataError(f"{name}: column {one_line(column)}: expected text, found {kind}")
    lists = [each for each in columns.features if _is_list(table.schema.field(each).type)]
    others = [each for each in columns.features if each not in lists]
    if others or not lists:
        raise UsageError(
            f"{name}: expected columns of lists as features, got {join_names(others or columns.features)}, "
            f"which {'has' if len(others) == 1 else 'have'} one value for a row; choose columns with "
            f"--feature-columns{' ' + ','.join(map(one_line, lists)) if lists else ''}"
        )
    if not len(table):
        raise DataError(f"{name}: expected rows, found none")
    values = _sequences(table, columns, name)
    named = {
        role: table.column(column).to_pylist() if (column := getattr(columns, role)) else None
        for role in ("label", "id", "group", "split")
    }
    _check_ids(named["id"], columns.id, name)
    for role in ("id", "group"):
        texts = dict.fromkeys(map(_trimmed, named[role] or []))
        check_look(texts, f"{name}: column {one_line(getattr(columns, role))}")
    source = from_arrays(values, named["label"], groups=named["group"], settings=settings, source=name)
    roles = {f"{role}_column": getattr(columns, role) for role in named}
    kept = settings.model_copy(update={**roles, "feature_columns": columns.features})
    ids = None if named["id"] is None else np.array(list(map(_trimmed, named["id"])), object)
    info = SourceInfo(
        kept,
        lambda index, step=0, /: f"row {index + 1}",
        columns.features if len(columns.features) == source.features else (),
        None if named["split"] is None else _splits(named["split"], columns.split, name),
        (f"{name}: read as {'; '.join(('a sequence in each row', *columns.notes))}", *source.info.notes),
        source.info.full_scale,
        source.info.picture,
    )
    return replace(source, ids=ids, info=info)


def _check_ids(ids: list[Any] | None, column: str, name: str) -> None:
    """Check that each row has an id of its own. Raises DataError naming the first that has not."""
    first: dict[str, int] = {}
    for row, value in enumerate(map(_trimmed, ids or [])):
        if first.setdefault(value, row) != row:
            raise DataError(
                f"{name}: row {row + 1}, column {one_line(column)}: expected a row for each sequence, found "
                f"{quoted(value)} as in row {first[value] + 1}"
            )


def _trimmed(name: Any) -> str:
    return str(name).strip()


def _splits(texts: list[Any], column: str, name: str) -> NDArray[Any]:
    usual = {"training": "train", "valid": "validation", "val": "validation", "testing": "test"}
    named = [usual.get(text := str(each).strip().lower(), text) for each in texts]
    for row, split in enumerate(named):
        if split not in SPLITS:
            raise DataError(
                f"{name}: row {row + 1}, column {one_line(column)}: expected train, validation or test, "
                f"found {quoted(texts[row])}"
            )
    splits: NDArray[Any] = np.array(named, dtype=object)
    return splits


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _sequences(table: Any, columns: Columns, name: str) -> list[NDArray[Any]]:
    """Return an array (T_i, F) for each row. Raises DataError naming the first row that is not one."""
    parts = [_column(table.column(each), each, name) for each in columns.features]
    if columns.time and _is_list(table.schema.field(columns.time).type):
        for row, times in enumerate(_column(table.column(columns.time), columns.time, name)):
            if len(times) != len(parts[0][row]) or not (np.diff(times[:, 0]) > 0).all():
                raise DataError(
                    f"{name}: row {row + 1}, column {one_line(columns.time)}: expected increasing times"
                )
    for row, of_row in enumerate(zip(*parts, strict=True)):
        lengths = [len(part) for part in of_row]
        if min(lengths) != max(lengths) or not lengths[0]:
            odd = next((at for at, length in enumerate(lengths) if length != lengths[0]), 0)
            expected = f"{lengths[0]} values as in {one_line(columns.features[0])}" if odd else "values"
            raise DataError(
                f"{name}: row {row + 1}, column {one_line(columns.features[odd])}: expected {expected}, "
                f"found {lengths[odd]}"
            )
    return [np.concatenate(of_row, axis=1) for of_row in zip(*parts, strict=True)]


def _column(column: Any, title: str, name: str) -> list[NDArray[Any]]:
    """Return the lists of a column as arrays (T_i, k), k = 1 or the length of the lists in them."""
    from pyarrow import compute, types

    array = column.combine_chunks()
    array = getattr(array, "storage", array)
    counts = compute.list_value_length(array).to_numpy(zero_copy_only=False)
    missing = np.flatnonzero(np.isnan(counts.astype(np.float64)))
    where = f"{name}: column {one_line(title)}"
    if missing.size:
        row = int(missing[0]) + 1
        raise DataError(f"{name}: row {row}, column {one_line(title)}: expected a list, found none")
    inner, width = array.flatten(), 1
    if _is_list(inner.type):
        widths = compute.unique(compute.list_value_length(inner)).to_pylist()
        if len(widths) != 1 or not widths[0]:
            raise DataError(f"{where}: expected inner lists of equal lengths, found {join_names(widths)}")
        inner, width = inner.flatten(), int(widths[0])
    if types.is_nested(inner.type) or types.is_temporal(inner.type) or types.is_boolean(inner.type):
        raise DataError(f"{where}: expected numbers, found {one_line(inner.type)}")
    try:
        flat = to_numbers(inner).reshape(-1, width)
    except NumberFault as fault:
        raise DataError(f"{where}: {fault}") from None
    return np.split(flat, np.cumsum(counts.astype(np.int64))[:-1])
