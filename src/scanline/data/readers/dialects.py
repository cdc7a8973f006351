"""What the dialect of a CSV file leaves open: the mark before decimals, and the label of the UCR archive."""

from __future__ import annotations

from collections.abc import Collection

from scanline.data.readers.column_roles import Columns, is_usual_label
from scanline.errors import UsageError, one_line
from scanline.formats.delimited import Delimited
from scanline.formats.dialect import decimal_of
from scanline.formats.text import has_decimal_comma, is_integer_text, is_number, may_be_thousands
from scanline.recipe import DataSettings

TEXT_SUFFIXES = (".txt", ".txt.gz")  # of tables, but also of lists of files that lie beside data


def has_label_first(file: Delimited, settings: DataSettings, optional: Collection[str]) -> bool:
    """Return whether a file has the layout of the UCR archive: no header, and the label in column 0.

    That is so if the first cell of each row is an integer, and each row has others that are fractions.
    """
    chosen = settings.label_column or settings.label_columns
    if file.headed or chosen or "label" in optional or settings.shape == "long":
        return False
    if not file.path.name.lower().endswith((".tsv", ".tsv.gz", *TEXT_SUFFIXES)):
        return False
    return all(
        is_integer_text(row[0]) and any(is_number(cell) and not is_integer_text(cell) for cell in row[1:])
        for row in file.sample
    )


def decimal_mark(file: Delimited, settings: DataSettings, columns: Columns) -> str:
    """Return the mark before the decimals of the numbers in a file. Raises UsageError if it is in doubt."""
    names = [*columns.features, *([columns.length] if columns.length else [])]
    if settings.decimal == "," == file.separator and not any(map(has_decimal_comma, file.sampled(names))):
        raise UsageError(
            f"{file.path}: the comma separates the cells, so it cannot separate decimals; expected cells "
            "separated by semicolons or tabs, or quotes around numbers with a comma, with --decimal ,"
        )
    if mark := settings.decimal or decimal_of(file.sampled(names)):
        return mark
    example = next(filter(may_be_thousands, file.sampled(names)))
    raise UsageError(
        f"{file.path}: does the comma in {one_line(example.strip())!r} separate decimals or thousands? Give "
        "--decimal , for decimals; remove the comma if it separates thousands"
    )


def settle_header(file: Delimited, settings: DataSettings, optional: Collection[str]) -> Delimited:
    """Return the file, without a header if its first line is a row with a label in words.

    A first line such as 0.5,1.25,walk may be that, or wavelengths and the name of the label column.

    Raises:
        UsageError: If it may be either.
    """
    fractions = [name for name in file.names if _is_fraction(name)]
    if not file.headed or not fractions:
        return file
    column = settings.label_column
    if column.isdecimal() and column not in file.names and int(column) < len(file.names):
        return file.without_header()
    if column or settings.feature_columns or "label" in optional or is_usual_label(file.names):
        return file
    words = [place for place, name in enumerate(file.names) if not is_number(name) and name]
    place = words[-1] if words else 0
    raise UsageError(
        f"{file.path}: is the first line a header or a sequence? It has numbers such as "
        f"{one_line(fractions[0])} and {one_line(file.names[place])!r}: give --label-column {place} if "
        "there is no header, or the name of the label column if there is one"
    )


def _is_fraction(text: str) -> bool:
    return has_decimal_comma(text) or (
        is_number(text) and not is_integer_text(text) and text.lower() != "nan"
    )
