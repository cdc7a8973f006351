"""Rows of the sheets of .xlsx workbooks, read by openpyxl; sizes are checked before anything is unpacked."""

from __future__ import annotations

import datetime
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scanline.errors import FormatError, MissingExtraError, UsageError, did_you_mean, join_names
from scanline.formats.archives import check_member, open_archive
from scanline.limits import excess, excess_unpacked, limit_of, unpacked_limit

_MOST_ROWS = 2**20  # of a sheet in Excel
_HEAD_BYTES = 4096  # of a document, in which a declaration of entities would have to be
_CELL_BYTES = 8  # the least that a cell of a row takes in memory
_ABSENT = "#N/A"
Cell = bool | int | float | str | datetime.datetime | datetime.time | datetime.timedelta | None


class Workbook:
    """A workbook that is open for reading.

    Args:
        path: The file.
        sheet: Name of a sheet; empty: the first one.

    Attributes:
        sheets: Names of all sheets with cells.
        sheet: Name of the chosen one.

    Raises:
        FormatError: If the file is damaged or too large.
        UsageError: If it has no such sheet.
        MissingExtraError: If openpyxl is not installed.
    """

    def __init__(self, path: Path, sheet: str = "") -> None:
        try:
            import openpyxl
        except ImportError:
            raise MissingExtraError(f"reading {path}", ["openpyxl"], "excel") from None
        _check_archive(path)
        self._path = path
        try:
            with warnings.catch_warnings():  # about formats of cells, which are not read
                warnings.simplefilter("ignore")
                self._book: Any = openpyxl.load_workbook(
                    path, read_only=True, data_only=True, keep_links=False
                )
        # openpyxl fails with whatever its parser meets.
        except Exception as error:  # noqa: BLE001
            raise _damaged(path, error) from None
        self.sheets = tuple(each.title for each in self._book.worksheets)
        if not self.sheets or (sheet and sheet not in self.sheets):
            self.close()
            if not self.sheets:
                raise FormatError(file=path, expected="a sheet with cells", found="none")
            raise UsageError(
                f"{path}: --sheet must be one of {join_names(self.sheets)}, got {sheet!r}"
                f"{did_you_mean(sheet, self.sheets)}"
            )
        self.sheet = sheet or self.sheets[0]

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Yield the cells of each row that is not empty.

        Raises:
            FormatError: If the sheet is damaged or too large.
        """
        sheet = self._book[self.sheet]
        sheet.reset_dimensions()  # those that the file declares may be wrong
        most = unpacked_limit(self._path.stat().st_size)
        taken = 0
        rows = enumerate(self._guarded(sheet.iter_rows(values_only=True)))
        for number, row in rows:
            taken += _CELL_BYTES * len(row)
            if number >= _MOST_ROWS:
                raise FormatError(file=self._path, expected=f"at most {_MOST_ROWS:,} rows", found="more")
            if len(row) > limit_of("FEATURES"):
                raise FormatError(file=self._path, place=f"row {number + 1}", **excess("FEATURES", len(row)))
            if taken > most:
                raise FormatError(file=self._path, **excess_unpacked(self._path.stat().st_size, taken))
            cells = [None if cell in (_ABSENT, "") else cell for cell in row]
            if any(cell is not None for cell in cells):
                yield cells

    def _guarded(self, rows: Iterator[Any]) -> Iterator[Any]:
        """Yield the rows; errors of the parser become those of the format."""
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 -- as above
                raise _damaged(self._path, error) from None
            yield row

    def close(self) -> None:
        """Close the file."""
        self._book.close()

    def __enter__(self) -> Workbook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_archive(path: Path) -> None:
    """Check the sizes of all documents in the file, and that none declares entities."""
    try:
        with open_archive(path) as archive:
            unpacked = 0
            for member in archive.infolist():
                check_member(member)
                unpacked += member.file_size
                with archive.open(member) as document:
                    head = document.read(_HEAD_BYTES)
                # An entity can stand for gigabytes. No workbook declares any, or is written in UTF-16.
                if member.filename.endswith((".xml", ".rels")) and (b"<!" in head and b"<!DOCTYPE" in head):
                    raise FormatError(place=member.filename, expected="a document", found="a DOCTYPE")
                if member.filename.endswith((".xml", ".rels")) and b"\0" in head:
                    raise FormatError(place=member.filename, expected="text in UTF-8", found="other bytes")
            if unpacked > unpacked_limit(path.stat().st_size):
                raise FormatError(**excess_unpacked(path.stat().st_size, unpacked))
    except FormatError as error:
        raise error.within(path) from None
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", file=path) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise FormatError(file=path, expected="an .xlsx workbook", found=f"another file ({error})") from None


def _damaged(path: Path, error: Exception) -> FormatError:
    if isinstance(error, FormatError):
        return error
    reason = str(error).partition("\n")[0][:100] or type(error).__name__
    return FormatError(file=path, expected="an .xlsx workbook", found=f"a damaged one ({reason})")
