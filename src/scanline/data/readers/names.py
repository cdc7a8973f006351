"""Columns of names in a table: labels, ids, groups and splits, as codes and the texts they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import MAX_NAME_CHARACTERS, name_too_long
from scanline.errors import UNPRINTABLE, one_line


@dataclass(frozen=True, eq=False)
class Names:
    """A column of names, without the blanks around them.

    Attributes:
        codes: (R,) which of the texts a row has.
        texts: The different texts, in order of first appearance.
        kind: "text", "boolean" or "float" if the file stores them as such; otherwise "": CSV files have no
            types, and integers are recognised.
    """

    codes: NDArray[np.int32]
    texts: tuple[str, ...]
    kind: str = ""

    @property
    def values(self) -> tuple[bool | float | str, ...]:
        """The different texts; booleans or floats if the file stores such."""
        if self.kind == "boolean":
            return tuple(text == "True" if text else text for text in self.texts)
        if self.kind == "float":
            return tuple(float(text) if text else text for text in self.texts)
        return self.texts

    def at(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the names in `rows`, as an array of text objects."""
        texts: NDArray[Any] = np.array(self.texts, dtype=object)[self.codes[rows]]
        return texts


class NamesCollector:
    """Collects a column of names batch by batch.

    Attributes:
        codes: Codes of the batches so far.
        known: Code of each text.
        kind: As for `Names`.
    """

    def __init__(self) -> None:
        self.codes: list[NDArray[np.int32]] = []
        self.known: dict[str, int] = {}
        self.kind = ""

    def add(self, column: Any, typed: bool) -> tuple[int, str] | None:
        """Add a batch. Return the row of its first invalid name and the fault, or None.

        Args:
            column: The batch.
            typed: Whether text is a type that the file has, and not the only one that it can have.
        """
        import pyarrow
        from pyarrow import compute

        stored = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
        if typed and (pyarrow.types.is_string(stored) or pyarrow.types.is_large_string(stored)):
            self.kind = "text"
        if pyarrow.types.is_floating(stored):
            self.kind = "float"
        if pyarrow.types.is_boolean(column.type):  # as Python writes it
            self.kind = "boolean"
            column = compute.if_else(column, "True", "False")
        if pyarrow.types.is_floating(column.type):
            column = compute.if_else(compute.is_nan(column), None, column)
        if not pyarrow.types.is_dictionary(column.type):
            column = column.cast(pyarrow.string())
            if (row := _first_long(column)) is not None:  # before it is copied
                return row, name_too_long(column[row].as_py())
            column = column.dictionary_encode()
        # The dictionary may have names that no row uses, and in another order.
        appeared = column.indices.unique()
        used = column.dictionary.take(appeared)
        if pyarrow.types.is_binary(used.type) or pyarrow.types.is_large_binary(used.type):
            used = used.cast(pyarrow.string())
        if (place := _first_long(used)) is not None:
            row = compute.index(column.indices, appeared[place]).as_py()
            return row, name_too_long(used[place].as_py())
        texts = ["" if text is None else str(text).strip() for text in used.to_pylist()]
        known, null = self.known, len(column.dictionary)
        # Code in this batch -> code in the table. The last entry stands for null, whose text is "".
        translate = np.empty(null + 1, np.int32)
        translate[_filled(appeared, null)] = [known.setdefault(text, len(known)) for text in texts]
        codes = translate[_filled(column.indices, null)]
        self.codes.append(codes)
        long = [known[text] for text in texts if len(text.splitlines()) > 1 or UNPRINTABLE.search(text)]
        if not long:
            return None
        row = int(np.flatnonzero(np.isin(codes, long))[0])
        text = list(known)[codes[row]]
        more = len(text.splitlines()) > 1
        what = f"characters that cannot be printed in {one_line(text)!r}"
        return row, f"expected text of one line, found {'more' if more else what}"

    def names(self) -> Names:
        """Return the column that was collected."""
        return Names(np.concatenate(self.codes), tuple(self.known), self.kind)


def _first_long(texts: Any) -> int | None:
    """Return the index of the first of `texts` that is too long for a name, or None."""
    from pyarrow import compute, types

    if not len(texts) or not (types.is_string(texts.type) or types.is_large_string(texts.type)):
        return None
    if (compute.max(compute.binary_length(texts)).as_py() or 0) <= MAX_NAME_CHARACTERS:
        return None
    place: int = compute.index(compute.greater(compute.utf8_length(texts), MAX_NAME_CHARACTERS), True).as_py()
    return place if place >= 0 else None


def _filled(indices: Any, null: int) -> NDArray[np.int64]:
    """Return `indices` as int64, with `null` for missing ones."""
    import pyarrow

    filled: NDArray[np.int64] = indices.cast(pyarrow.int64()).fill_null(null).to_numpy()
    return filled
