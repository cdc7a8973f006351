"""Row groups of a packed data set: sequences to the bytes of a Parquet file, and back.

A file has one row group, so that one request reads it, and its SHA-256 covers all of its bytes. A row is a
sequence: id, label, group, length, and steps, its T * F values step by step.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from scanline.data.memory import MemorySource
from scanline.data.packed.declared_sizes import check_declared, without_dictionaries
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import FileDigest
from scanline.data.source import ClassName
from scanline.errors import DataError, MissingExtraError, one_line
from scanline.storage.digest import sha256 as digest_of

if TYPE_CHECKING:
    import pyarrow

# Levels of zstd above 1 take longer and save little of measured values.
_COMPRESSION = {"compression": "zstd", "compression_level": 1}
_MOST_VALUES = 2**31 - 1  # offsets of a list column are 32-bit integers


@dataclass(frozen=True, eq=False)
class Rows:
    """The sequences of a row group.

    Attributes:
        ids: (n,) identifiers, an Arrow array of text.
        labels: (n,) labels as text, null if unknown.
        groups: (n,) groups, null if there are none.
        lengths: (n,) int64 number of steps.
        steps: (S, F) uint8 or float32, the steps of all sequences one after another.
    """

    ids: pyarrow.Array
    labels: pyarrow.Array
    groups: pyarrow.Array
    lengths: NDArray[np.int64]
    steps: NDArray[Any]


def encode_row_group(source: MemorySource) -> bytes:
    """Return sequences as the bytes of a Parquet file of one row group.

    Args:
        source: The sequences. Those without an identifier get their index.

    Raises:
        DataError: If they have more values than a row group can have.
    """
    import pyarrow

    n = len(source)
    ids = range(n) if source.ids is None else source.ids
    labels: Sequence[str | None] = [None] * n
    if source.classes:
        names = [label_text(name) for name in source.classes]
        labels = [names[target] for target in source.targets]
    rows = Rows(
        pyarrow.array([str(name) for name in ids], pyarrow.string()),
        pyarrow.array(labels, pyarrow.string()),
        pyarrow.array(
            [None] * n if source.groups is None else list(map(str, source.groups)), pyarrow.string()
        ),
        source.lengths,
        source.concatenated,
    )
    return encode_rows(rows, source.name)


def encode_rows(rows: Rows, name: str) -> bytes:
    """Return rows as the bytes of a Parquet file of one row group; errors as for `encode_row_group`."""
    import pyarrow
    from pyarrow import parquet

    steps = rows.steps
    if steps.size > _MOST_VALUES:
        raise DataError(
            where=name, expected=f"at most {_MOST_VALUES:,} values in a row group", found=f"{steps.size:,}"
        )
    ends = np.zeros(len(rows.lengths) + 1, np.int32)
    np.cumsum(rows.lengths * steps.shape[1], out=ends[1:])
    values = pyarrow.array(np.ascontiguousarray(steps).reshape(-1))
    table = pyarrow.table(
        {
            "id": rows.ids,
            "label": rows.labels,
            "group": rows.groups,
            "length": pyarrow.array(rows.lengths.astype(np.int32)),
            "steps": pyarrow.ListArray.from_arrays(pyarrow.array(ends), values),
        }
    )
    # The bytes of floats of similar size compress better side by side.
    split = {"steps.list.element": "BYTE_STREAM_SPLIT"} if steps.dtype == np.float32 else None
    stream = io.BytesIO()
    parquet.write_table(
        table,
        stream,
        row_group_size=max(1, len(rows.lengths)),
        use_dictionary=["label", "group"],
        column_encoding=split,
        **_COMPRESSION,
    )
    return stream.getvalue()


def decode_row_group(content: bytes, where: str, features: int, dtype: str, n: int, steps: int) -> Rows:
    """Return the sequences in the bytes of a row group, whose digest was checked.

    Args:
        content: The bytes.
        where: The file, for messages.
        features: F, the number of values of a step.
        dtype: Type of the values, "float32" or "uint8".
        n: Number of sequences, as in the manifest.
        steps: Sum of their lengths, as in the manifest.

    Raises:
        DataError: If the columns are not those of a row group; names what is wrong.
    """
    import pyarrow

    table = read_row_group(content, where, n, steps * features, np.dtype(dtype))
    del content  # callers pass it on without keeping it
    rows = rows_of(table, where, features, dtype)
    del table
    rows = replace(rows, steps=_copied(rows.steps))
    # What decoding needed goes back to the system, so that memory has room for row groups.
    pyarrow.default_memory_pool().release_unused()
    return rows


def read_row_group(content: bytes, where: str, n: int, values: int, dtype: np.dtype[Any]) -> pyarrow.Table:
    """Return the Arrow table in the bytes of a row group of `n` sequences with so many values in all.

    Raises:
        DataError: If it is damaged, or would be larger than that.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
            if file.num_row_groups != 1:
                raise DataError(where=where, expected="one row group", found=f"{file.num_row_groups:,}")
            shared = check_declared(content, file.schema, where, n, values, dtype)
        with parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=shared) as file:
            return without_dictionaries(file.read_row_group(0, use_threads=False), where)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{where}: cannot be read ({one_line(error, 200)})") from error


def _copied(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy in memory pages of its own, which go back to the system as soon as it is dropped.

    Blocks of this size from `malloc` are cut from a heap that grows by the largest number of row groups that
    were ever there at once.
    """
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    copy: NDArray[Any] = np.frombuffer(mmap.mmap(-1, values.nbytes, **private), values.dtype)
    copy = copy.reshape(values.shape)
    copy[:] = values
    return copy


def rows_of(table: Any, where: str, features: int, dtype: str) -> Rows:
    """Return the rows of an Arrow table with the columns of a row group; see `decode_row_group`."""
    import pyarrow

    value = pyarrow.float32() if dtype == "float32" else pyarrow.uint8()
    expected = {"id": pyarrow.string(), "label": pyarrow.string(), "group": pyarrow.string()}
    expected |= {"length": pyarrow.int32(), "steps": pyarrow.list_(value)}
    for name, kind in expected.items():
        # Not `field(name)`, which fails if there are two.
        found = table.schema.field(name).type if table.schema.names.count(name) == 1 else None
        if found != kind and not (name == "steps" and _is_list_of(found, value)):
            raise DataError(
                where=where, expected=f"a column {name} of {kind}", found=one_line(found or "none")
            )
    columns = {name: _single_chunk(table.column(name)) for name in expected}
    steps = columns["steps"]
    for name in ("id", "label", "group"):
        try:  # Arrow does not check text when it is read
            columns[name].validate(full=True)
        except pyarrow.ArrowInvalid as error:
            fault = one_line(error, 200)
            raise DataError(where=f"{where}: column {name}", expected="UTF-8 text", found=fault) from error
    if columns["id"].null_count:
        raise DataError(where=where, expected="an identifier in each row", found="a row without")
    if columns["length"].null_count or steps.null_count or steps.flatten().null_count:
        raise DataError(where=where, expected="a length and steps in each row", found="a row without")
    lengths = _numbers(columns["length"], np.int32).astype(np.int64)
    counts = np.diff(_numbers(steps.offsets, np.int32))
    if (lengths < 1).any():
        raise DataError(where=where, expected="lengths of at least 1", found=int(lengths.min()))
    wrong = np.flatnonzero(counts != lengths * features)
    if wrong.size:
        row = int(wrong[0])
        raise DataError(
            where=f"{where}: row {row + 1}",
            expected=f"{lengths[row]:,} steps of {features:,} values",
            found=f"{counts[row]:,} values",
        )
    values = _numbers(steps.flatten(), np.dtype(dtype)).reshape(-1, features)
    return Rows(columns["id"], columns["label"], columns["group"], lengths, values)


def _numbers(array: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return an Arrow array of numbers without nulls as a view."""
    # `to_numpy` imports pandas, if it is installed, which takes 30 MB.
    buffer = array.buffers()[1]
    if len(array) == 0 or buffer is None:
        return np.empty(0, dtype)
    return np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array)]


def _is_list_of(kind: Any, value: Any) -> bool:
    from pyarrow import types

    return kind is not None and types.is_list(kind) and kind.value_type == value


def _single_chunk(column: Any) -> Any:
    """Return a column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def label_text(name: ClassName) -> str:
    """Return a class name as the text of its label in a row group; floats keep all digits."""
    return repr(name) if isinstance(name, float) else str(name)


def encode_index(lengths: NDArray[np.int64], targets: NDArray[Any]) -> bytes:
    """Return the lengths and targets of all sequences of a split as the bytes of a Parquet file.

    Args:
        lengths: (N,) number of steps of each sequence.
        targets: (N,) indices of class names, integers; or targets that are numbers, floats.
    """
    import pyarrow
    from pyarrow import parquet

    kind = np.float64 if targets.dtype.kind == "f" else np.int32
    table = pyarrow.table(
        {"length": pyarrow.array(lengths.astype(np.int32)), "target": pyarrow.array(targets.astype(kind))}
    )
    stream = io.BytesIO()
    parquet.write_table(table, stream, **_COMPRESSION)
    return stream.getvalue()


def decode_index(content: bytes, where: str, numbers: bool, n: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the (N,) lengths and (N,) targets of an index of `n` sequences; see `encode_index`.

    Raises:
        DataError: If it cannot be read, or lacks a column.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        # Not `read_table`, which imports pandas, if it is installed.
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
            if (rows := file.metadata.num_rows) != n:  # before they are in memory
                raise DataError(where=where, expected=f"{n:,} rows, as in the manifest", found=f"{rows:,}")
            table = file.read(use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{where}: cannot be read ({one_line(error, 200)})") from error
    expected = {"length": pyarrow.int32(), "target": pyarrow.float64() if numbers else pyarrow.int32()}
    for name, kind in expected.items():
        found = table.schema.field(name).type if name in table.schema.names else None
        if found != kind:
            raise DataError(
                where=where, expected=f"a column {name} of {kind}", found=one_line(found or "none")
            )
    columns = {name: _single_chunk(table.column(name)) for name in expected}
    if any(column.null_count for column in columns.values()):
        raise DataError(where=where, expected="a length and a target in each row", found="a row without")
    lengths = _numbers(columns["length"], np.int32).astype(np.int64)
    targets = _numbers(columns["target"], np.float64 if numbers else np.int32)
    targets = targets.astype(np.float64 if numbers else np.int64)
    del table, columns
    pyarrow.default_memory_pool().release_unused()
    return lengths, targets


def check_digest(content: bytes, size: int, sha256: str, where: str) -> None:
    """Check that bytes are those that a manifest describes.

    Raises:
        DataError: If they are not.
    """
    if len(content) != size or digest_of(content) != sha256:
        raise DataError(
            where=where,
            expected="the content that the manifest describes",
            found="other bytes",
            remedy="the file is damaged or was replaced: copy it again, or pack the source again",
        )


def read_file(location: Location, entry: FileDigest) -> bytes:
    """Return the content of a file that a manifest describes.

    Raises:
        DataError: If it cannot be read, or is another one.
    """
    content = location.read(entry.file, entry.bytes)
    check_digest(content, entry.bytes, entry.sha256, location.file(entry.file))
    return content


def check_installed(task: str) -> None:
    """Check that PyArrow is installed.

    Args:
        task: What needs it, as a noun phrase: "reading PATH".

    Raises:
        MissingExtraError: If it is not.
    """
    # PyArrow's allocator keeps freed memory for some time, which for row groups is much. It reads this when
    # it is loaded.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "0")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(task, ["pyarrow"], "tables") from None
