"""Labels as class names: their types, and which names are the same class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.source import ClassName


class BytesName(str):
    """The name of a class whose labels are bytes, as in NumPy arrays of dtype S: text that knows them."""

    given: bytes

    def __new__(cls, given: bytes) -> BytesName:
        r"""Make a name of bytes; those that are not UTF-8 become escapes such as \xff."""
        name = super().__new__(cls, given.decode(errors="backslashreplace"))
        name.given = given
        return name

    def __reduce__(self) -> tuple[type[BytesName], tuple[bytes]]:
        return BytesName, (self.given,)


def as_class_name(label: Any) -> ClassName:
    """Return a label of a Python program as a class name: a bool, an int, a float, and otherwise text.

    Bytes are a `BytesName`.
    """
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, bytes):
        return BytesName(label)
    if isinstance(label, BytesName):
        return label
    if isinstance(label, bool | int | float | str):
        return str(label) if isinstance(label, str) else label
    whole = integer_of(str(label))  # of a Decimal, for example
    return str(label) if whole is None else whole


def class_array(classes: Sequence[ClassName]) -> NDArray[Any]:
    """Return class names as an array, (K,), in which each keeps its type."""
    labels = [name.given if isinstance(name, BytesName) else name for name in classes]
    return np.array(labels, dtype=object) if len(set(map(type, labels))) > 1 else np.asarray(labels)


def names_before_types(classes: Sequence[ClassName]) -> tuple[ClassName, ...]:
    """Return class names as versions that did not keep the type of labels named these classes."""
    texts = [str(name).strip() for name in classes]
    integers = [integer_of(text) for text in texts]
    return tuple(texts) if None in integers else tuple(number for number in integers if number is not None)


def same_names(one: Sequence[ClassName], other: Sequence[ClassName]) -> bool:
    """Return whether class names are equal in type, text and order; Python compares True and 1 as equal."""
    return list(map(repr, one)) == list(map(repr, other))


def match_names(names: Sequence[ClassName], classes: Sequence[ClassName]) -> list[int]:
    """Return the index of each name in `classes`, -1 if it is not there.

    Names are compared as text. A name that is not there as it is written is compared without blanks and as an
    integer: 3, 3.0, "3" and " 3" are the same.
    """
    exact = {str(name): index for index, name in enumerate(classes)}
    plain: dict[str, int] = {}
    for index, name in enumerate(classes):
        key = plain_name(name)
        plain[key] = -1 if key in plain else index  # two classes that differ in spelling only match exactly
    return [exact.get(str(name), plain.get(plain_name(name), -1)) for name in names]


def plain_name(name: ClassName) -> str:
    """Return a class name without blanks, an integer in its usual form: "3" for 3, 3.0 and " 3"."""
    text = str(name).strip()
    number = integer_of(text)
    return text if number is None else str(number)


def label_number(label: Any, decimal: str) -> float:
    """Return a label as a number; NaN if it is none.

    Args:
        label: A label as it was read.
        decimal: Mark before the decimals, if the label is text.
    """
    if isinstance(label, bool):
        return math.nan
    text = str(label).strip()
    # float() accepts digits grouped by underscores, which no file format does.
    if "_" in text:
        return math.nan
    if isinstance(label, str) and decimal == ",":
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return math.nan


def integer_of(text: str) -> int | None:
    """Return the integer that `text` spells in its usual form, or None."""
    # At most 18 digits, so that the integer fits into int64.
    match = re.fullmatch(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0*)?", text)
    return int(match[1]) if match else None
