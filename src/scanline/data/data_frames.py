"""Tables of a Python program, read by the code that reads tables from files.

These are data frames of pandas and polars, tables of Arrow, data sets of Hugging Face, and anything else that
offers Arrow's C stream interface (https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html).
None of these libraries but PyArrow is imported. Cells that are lists are read by
`scanline.data.readers.list_columns`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from scanline import recipe
from scanline.data.dataset import SPLITS
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import Arrays
from scanline.data.readers.arrow_tables import read_arrow_table
from scanline.data.readers.list_columns import arrays_of, has_list_cells, is_dataset
from scanline.data.reading import TO_EVALUATE, by_column
from scanline.errors import DataError, MissingExtraError, UsageError, join_names, one_line
from scanline.recipe import DataSettings

if TYPE_CHECKING:
    import pyarrow

NAME = "the data frame"
_LEVELS = ("sequence", "step")  # names of the levels of an index that have none


@dataclass(frozen=True, eq=False)
class FrameArrays(Arrays):
    """A table of a program, or one for each split, to train on.

    Attributes:
        values: A `Frame`, or a dictionary of them by the name of their split.
        labels: None: a column has them.
    """

    def read(self, settings: DataSettings) -> dict[str, MemorySource]:
        """Return the sequences as `scanline.data.reading.read_sources` does for a file.

        Raises:
            DataError: Names the row, what was expected and what was found.
            UsageError: If the table can be understood in more than one way.
        """
        if isinstance(self.values, Frame):
            return by_column(self.values.read(settings), to_train=True)
        sources: dict[str, MemorySource] = {}
        for split in SPLITS:
            if split in self.values:
                optional = () if split == "train" else TO_EVALUATE
                sources[split] = self.values[split].read(settings, optional, f"the {split} split")
                settings = sources[split].info.settings or settings
        return sources


@dataclass(frozen=True, eq=False)
class Frame:
    """A table in memory, with the roles that its index has.

    Attributes:
        table: The columns; levels of an index come first.
        levels: Names of the two levels of an index, the sequence and the time; empty for other indices.
    """

    table: pyarrow.Table
    levels: tuple[str, ...] = ()

    def read(self, settings: DataSettings, optional: Collection[str] = (), name: str = NAME) -> MemorySource:
        """Return the sequences.

        Args:
            settings: Shape of the table and roles of its columns.
            optional: Roles of columns that may be absent.
            name: Name of the table in messages.

        Raises:
            DataError: As for `read_arrow_table`.
            UsageError: As for `read_arrow_table`.
        """
        roles = dict(zip(("id_column", "time_column"), self.levels, strict=False))
        if self.levels:
            roles |= {"shape": "long"}
        missing = {key: value for key, value in roles.items() if not getattr(settings, key)}
        return read_arrow_table(self.table, settings.model_copy(update=missing), optional, name)


def is_frame(data: Any) -> bool:
    """Return whether `data` is a table with named columns."""
    if isinstance(data, type) or not (hasattr(data, "columns") or hasattr(data, "column_names")):
        return False
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "with_format") or _is_pandas(data)


def to_frame(data: Any) -> Frame:
    """Return a table of a program.

    Args:
        data: What `is_frame` accepts.

    Raises:
        DataError: If a column has values of several kinds.
        UsageError: If columns have no plain names, or an index more than two levels.
        MissingExtraError: If PyArrow is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("reading a data frame", ["pyarrow"], "tables") from None
    levels: tuple[str, ...] = ()
    try:
        if _is_pandas(data):
            plain, levels = _without_index(data)
            return Frame(pyarrow.Table.from_pandas(plain, preserve_index=False), levels)
        if hasattr(data, "with_format"):  # honours the selection and the order of a data set
            return Frame(_with_names(data.with_format("arrow")[:], getattr(data, "features", {})))
        return Frame(pyarrow.table(data))
    except (pyarrow.ArrowException, OverflowError) as error:
        reason = one_line(error, 160)
        raise DataError(f"{NAME}: expected columns with values of one kind each ({reason})") from None


def training_data(data: Any, settings: Mapping[str, Any]) -> str | Arrays | None:
    """Return what a program gives to train on as a name, a path or arrays.

    Args:
        data: A name, a path, arrays, a data frame, or a data set of Hugging Face.
        settings: Changes of the recipe, dotted key to value.

    Raises:
        UsageError: If `data` is nothing to train on.
    """
    if isinstance(data, Arrays | None):
        return data
    if isinstance(data, str | PathLike):
        return fspath(data)
    if not has_list_cells(data) and _is_table(data):
        return frame_arrays(data)
    if is_dataset(data):
        chosen = {key: value for key, value in settings.items() if key.startswith("data.")}
        return arrays_of(data, recipe.load(recipe.DEFAULT, chosen).data)
    raise UsageError(
        "data must be a name, a path, scanline.Arrays(values, labels), a data frame or a data set of Hugging "
        f"Face, got {type(data).__name__}"
    )


def frame_arrays(data: Any) -> FrameArrays:
    """Return tables of a program to train on: one, or a dictionary of them by split.

    Raises:
        UsageError: If the splits are not train, validation and test.
    """
    if not isinstance(data, Mapping):
        return FrameArrays(to_frame(data), None, name="dataframe")
    if "train" not in data or [split for split in data if split not in SPLITS]:
        raise UsageError(f"{NAME}: expected splits train, validation and test, got {join_names(list(data))}")
    return FrameArrays({split: to_frame(part) for split, part in data.items()}, None, name="dataframe")


def read_long(data: Any, settings: DataSettings, optional: Collection[str]) -> MemorySource | None:
    """Return the sequences of a long table of a program; None if `data` is something else.

    Args:
        data: What a program gives to predict.
        settings: Those of the training data.
        optional: Roles of columns that may be absent.
    """
    if settings.shape != "long" or not settings.id_column or not is_frame(data):
        return None
    frame = to_frame(data)
    return frame.read(settings, optional) if settings.id_column in frame.table.column_names else None


def _is_table(data: Any) -> bool:
    """Return whether `data` is a table with named columns, or a dictionary of such by split."""
    if isinstance(data, Mapping):
        return bool(data) and all(is_frame(part) for part in data.values())
    return is_frame(data)


def _is_pandas(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "reset_index")


def _without_index(data: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a frame of pandas whose index is columns, if it has names or levels, and its levels."""
    if getattr(data.columns, "nlevels", 1) > 1:
        raise UsageError(f"{NAME}: expected columns with one name each, got {data.columns.nlevels} levels")
    index = data.index
    if index.nlevels > len(_LEVELS):
        raise UsageError(
            f"{NAME}: expected an index of a sequence and a time, got {index.nlevels} levels; name the "
            "columns after reset_index()"
        )
    levels: tuple[str, ...] = ()
    if index.nlevels > 1:
        levels = tuple(
            str(given) if given is not None else default
            for given, default in zip(index.names, _LEVELS, strict=False)
        )
        data = data.rename_axis(index=list(levels)).reset_index()
    elif index.name is not None and index.name not in data.columns:
        data = data.reset_index()
    return data.rename(columns=str), levels


def _with_names(table: pyarrow.Table, features: Mapping[str, Any]) -> pyarrow.Table:
    """Return a table of Hugging Face with the names of classes, which are stored as their indices."""
    import pyarrow

    for place, column in enumerate(table.column_names):
        names = getattr(features.get(column), "names", None)
        if names:
            texts = [None if code is None else names[code] for code in table.column(column).to_pylist()]
            table = table.set_column(place, column, pyarrow.array(texts, pyarrow.string()))
    return table
