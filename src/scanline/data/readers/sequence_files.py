"""Files of a registered format (`scanline.formats`), which store sequences completely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import check_names
from scanline.data.labels import as_class_name
from scanline.data.memory import MemorySource
from scanline.data.source import ClassName
from scanline.data.source_info import SourceInfo, by_number
from scanline.data.targets import encode_labels
from scanline.errors import DataError
from scanline.formats import SequenceFormat
from scanline.formats.registry import TextFormat
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings


def read_sequence_file(
    path: Path, format: SequenceFormat, settings: DataSettings, labelled: bool = True
) -> MemorySource:
    """Read the sequences in `path`.

    Args:
        path: The file.
        format: Its format.
        settings: How data are read, kept with the result.
        labelled: Whether the file must have labels.

    Raises:
        DataError: If the file is damaged, has no labels though it must, or its values do not fit together.
    """
    # Formats may come from other packages, so every array that they return is checked here.
    content = format.read(path, settings.encoding) if isinstance(format, TextFormat) else format.read(path)
    values = [_steps(path, index, each) for index, each in enumerate(content["values"])]
    if not values:
        raise DataError(where=path, expected="sequences", found="none")
    odd = [each.shape[1] for each in values if each.shape[1] != values[0].shape[1]]
    if odd:
        raise DataError(where=path, expected=f"{values[0].shape[1]} features in every sequence", found=odd[0])
    places = _column(path, content.get("places"), "places", len(values))

    def locate(index: int, step: int = 0, /) -> str:
        return by_number(index) if places is None else str(places[index])

    labels = _column(path, content.get("labels"), "labels", len(values))
    if labels is None and labelled:
        raise DataError(where=path, expected="class labels", found="none")
    classes: tuple[ClassName, ...] = ()
    codes = np.zeros(len(values), np.int64)
    if content.get("numeric") and settings.targets != "numbers":
        if labelled:
            raise DataError(
                f"{path}: its labels are numbers (@targetlabel true), not classes: use --task regression"
            )
        labels = None  # a model of classes ignores them
    # A header that names the classes fixes their order, even if some do not occur. Other labels have none.
    if labels is not None and content.get("classes") is not None and settings.targets in ("", "classes"):
        classes, codes = _given_classes(path, content["classes"], labels)
    elif labels is not None:
        named = [as_class_name(label) for label in labels]
        known: dict[tuple[type, ClassName], int] = {}
        first = [known.setdefault((type(name), name), len(known)) for name in named]
        names = [name for _, name in known]
        classes, codes = encode_labels(names, np.array(first), str(path), locate, settings, True)
    ids, groups = (
        None if column is None else np.array([str(name).strip() for name in column], object)
        for column in (_column(path, content.get(name), name, len(values)) for name in ("ids", "groups"))
    )
    notes = tuple(f"{path}: {note}" for note in content.get("notes", ()))
    source = MemorySource.from_list(values, codes, classes, str(path))
    return replace(source, ids=ids, groups=groups, info=SourceInfo(settings, locate, notes=notes))


def _steps(path: Path, index: int, values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # too large a value becomes infinite, which is refused later
        array = np.ascontiguousarray(values, np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            where=f"{path}: sequence {index}", expected="values of shape (steps, features)", found=array.shape
        )
    return array


def _column(path: Path, column: Any, name: str, count: int) -> Sequence[Any] | None:
    if column is not None and len(column) != count:
        raise DataError(where=path, expected=f"{count} {name}, one for each sequence", found=len(column))
    made: Sequence[Any] | None = column
    return made


def _given_classes(
    path: Path, names: Sequence[ClassName], labels: Sequence[Any]
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    classes = tuple(names)
    if len(classes) > limit_of("CLASSES"):
        raise DataError(f"{path}: {exceeded('CLASSES', len(classes))}")
    check_names(classes, str(path))
    index = {name: code for code, name in enumerate(classes)}
    return classes, np.array([index[label] for label in labels], np.int64)
