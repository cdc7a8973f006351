"""The numbers in a column of a table, whether they are stored as numbers, categories or text."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from scanline.formats.text import is_number


class NumberFault(Exception):
    """A cell is not the number that it should be.

    Attributes:
        row: Its row in the batch.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def to_numbers(column: Any, decimal: str = "") -> NDArray[Any]:
    """Return integers and floats unchanged, other numbers as float64; missing ones are NaN.

    Args:
        column: An Arrow array.
        decimal: The mark before decimals in text, see `DataSettings`.

    Raises:
        NumberFault: If a text is not a number.
    """
    import pyarrow
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = compute.utf8_trim_whitespace(column.cast(pyarrow.string()))
        plain = compute.replace_substring(texts, ",", ".") if decimal == "," else texts
        plain = compute.if_else(compute.equal(plain, ""), None, plain)  # an empty cell, as in CSV
        try:
            column = plain.cast(pyarrow.float64())
        except pyarrow.ArrowInvalid:
            row = next(
                at for at, text in enumerate(plain.to_pylist()) if text is not None and not _is_number(text)
            )
            cell = texts[row].as_py()
            raise NumberFault(row, f"expected a number, found {cell[:60]!r}") from None
    elif not types.is_integer(kind) and not types.is_floating(kind):
        column = column.cast(pyarrow.float64())
    array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return array


def _is_number(text: str) -> bool:
    import pyarrow

    try:
        pyarrow.array([text]).cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return False
    return is_number(text)
