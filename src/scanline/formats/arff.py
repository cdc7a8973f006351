"""The text format of Weka, `.arff`, as the UCR/UEA archive publishes its problems.

A row is a sequence. Its steps are its numeric attributes in their order, or the values of a relational
attribute, which stores several features as quoted text: one line for each feature, with one value for each
step. The class is the last attribute, of a nominal type.
Format: https://waikato.github.io/weka-wiki/formats_and_processing/arff_stable/.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, join_names, one_line
from scanline.formats.ts import text_lines
from scanline.limits import exceeded, limit_of

_NAME = r"""(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s{,]+))"""
_ATTRIBUTE = re.compile(rf"@attribute\s+{_NAME}\s*(.*)", re.IGNORECASE)
_END = re.compile(r"@end\b.*", re.IGNORECASE)
_CELL = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,'"]*))\s*(?:,|$)""")
_NUMERIC = ("numeric", "real", "integer")
_RELATIONAL = "relational"
# Numbers that are rarely values of a step.
_OTHER_ROLES = {"id", "index", "length", "len", "time", "timestamp"}


@dataclass
class _Attributes:
    """Attributes of the header: their names and types; nominal ones by their values."""

    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    nominal: list[list[str]] = field(default_factory=list)


class ArffFormat:
    """The format as an entry of `scanline.formats.registry`."""

    suffixes: tuple[str, ...] = (".arff", ".arff.gz")
    has_encoding = True

    def read(self, path: Path, encoding: str = "") -> dict[str, Any]:
        """Read an `.arff` file, which may be compressed with gzip.

        Args:
            path: The file.
            encoding: Encoding of the text, see `open_bytes`. Comments may have any.

        Returns:
            "values": N float32 arrays (T_i, F), NaN for missing values; "labels", "classes" in the order of
            the header, and "places".

        Raises:
            FormatError: If the file is damaged, or has attributes that are neither steps nor the class.
        """
        attributes, values, labels, places = _Attributes(), [], [], []
        within, data = False, False
        for number, line in text_lines(path, encoding):
            if data:
                cells = _cells(path, number, line, len(attributes.names))
                label = cells.pop().strip()
                if label not in attributes.nominal[-1]:
                    expected = f"a class of the header ({join_names(attributes.nominal[-1])})"
                    _fail(path, number, f"expected {expected}, found {label[:40]!r}")
                relational = attributes.types[0] == _RELATIONAL
                values.append(_relation(path, number, cells[0]) if relational else _row(path, number, cells))
                labels.append(label)
                places.append(f"line {number}")
            elif within:
                within = not _END.fullmatch(line)
            elif line.lower().startswith("@attribute"):
                within = _add(path, number, line, attributes)
            elif line.lower().startswith("@data"):
                _check(path, attributes)
                data = True
            elif not line.lower().startswith("@relation"):
                _fail(path, number, f"expected @relation, @attribute or @data, found {line[:40]!r}")
        if not values:
            expected = "rows after @data" if data else "an .arff file of Weka"
            raise FormatError(file=path, expected=expected, found="none" if data else "no @data line")
        content: dict[str, Any] = {"values": values, "labels": labels, "places": places}
        return content | {"classes": attributes.nominal[-1]}


def _fail(path: Path, line: int, what: str) -> NoReturn:
    raise FormatError(what, file=path, place=f"line {line}")


def _add(path: Path, number: int, line: str, attributes: _Attributes) -> bool:
    """Add an attribute. Return whether it is relational, so that its own attributes follow."""
    match = _ATTRIBUTE.fullmatch(line)
    if match is None:
        _fail(path, number, f"expected @attribute, a name and a type, found {line[:40]!r}")
    kind = match[4].strip()
    values: list[str] = []
    if kind.startswith("{") and kind.endswith("}"):
        if kind.count(",") >= limit_of("CLASSES"):
            _fail(path, number, exceeded("CLASSES", kind.count(",") + 1))
        values = [cell.strip() for cell in _cells(path, number, kind[1:-1].strip(), None)]
        kind = "nominal"
    attributes.names.append(next(name for name in match.groups()[:3] if name is not None))
    attributes.types.append(kind.split()[0].lower() if kind else "")
    attributes.nominal.append(values)
    if len(attributes.names) > limit_of("FEATURES") + 1:
        _fail(path, number, exceeded("FEATURES", len(attributes.names)))
    return attributes.types[-1] == _RELATIONAL


def _check(path: Path, attributes: _Attributes) -> None:
    """Check that the last attribute is the class and the others are the steps."""
    *names, label = attributes.names or [""]
    *types, last = attributes.types or [""]
    if last != "nominal" or not names:
        raise FormatError(
            file=path,
            expected="numeric attributes, and a nominal class {a, b, ...} as the last one",
            found=f"{one_line(label) or 'nothing'} of type {one_line(last) or 'none'} there",
            remedy="move the class to the end, or save a CSV file",
        )
    allowed = [_RELATIONAL] if types[0] == _RELATIONAL and len(types) == 1 else _NUMERIC
    for name, kind in zip(names, types, strict=True):
        if kind not in allowed or name.strip().lower() in _OTHER_ROLES:
            raise FormatError(
                file=path,
                place=f"attribute {one_line(name)}",
                expected="a numeric attribute, one step of the sequence",
                found=f"one of type {one_line(kind)}" if kind not in allowed else "a name that means no step",
                remedy="remove it, or save a CSV file and name its columns",
            )


def _cells(path: Path, number: int, line: str, count: int | None) -> list[str]:
    """Return the cells of a line, without quotes. Raises FormatError if there are not `count` of them."""
    if line.startswith("{") and count is not None:
        _fail(path, number, "sparse rows, {index value, ...}, are not supported")
    if (commas := line.count(",")) > limit_of("STEPS"):
        _fail(path, number, exceeded("STEPS", commas))
    cells: list[str] = []
    if "'" not in line and '"' not in line:
        cells = line.split(",")
    else:
        place = 0
        while place < len(line):
            match = _CELL.match(line, place)
            if match is None:
                _fail(path, number, f"expected a comma after a quoted cell, found {line[place:][:40]!r}")
            cells.append(next(cell for cell in match.groups() if cell is not None))
            place = match.end()
    if count is not None and len(cells) != count:
        _fail(path, number, f"expected {count} cells, found {len(cells)}")
    return cells


def _row(path: Path, number: int, cells: list[str]) -> NDArray[np.float32]:
    """Return (T, 1) from the cells of T attributes."""
    return _float32([[_number(path, number, cell)] for cell in cells])


def _relation(path: Path, number: int, text: str) -> NDArray[np.float32]:
    r"""Return (T, F) from the text of a relational attribute, whose F lines are separated by \n."""
    lines = text.split(r"\n")
    if len(lines) > limit_of("FEATURES"):
        _fail(path, number, exceeded("FEATURES", len(lines)))
    features = [[_number(path, number, cell) for cell in line.split(",")] for line in lines]
    odd = next((row for row in features if len(row) != len(features[0])), None)
    if odd is not None:
        _fail(path, number, f"expected {len(features[0])} values in each feature, found {len(odd)}")
    return np.ascontiguousarray(_float32(features).T)


def _float32(rows: list[list[float]]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # too large a value becomes infinite, which the caller refuses
        return np.array(rows, np.float32)


def _number(path: Path, number: int, cell: str) -> float:
    text = cell.strip()
    try:
        return math.nan if text == "?" else float(text.replace("_", "?"))
    except ValueError:
        _fail(path, number, f"expected a number, found {text[:40]!r}")
