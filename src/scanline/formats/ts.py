"""The text format of the UEA/UCR archive, `.ts`: a header of @tags, then one line for each sequence.

A line has the features one after another, separated by colons, each with its values separated by commas, and
the label at the end: `1.1,1.2:0.3,0.4:walking`. A missing value is `?`. Lengths are those of the lines;
what the header says about lengths is not used.
Format: https://www.aeon-toolkit.org/en/stable (data formats).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, join_names, one_line
from scanline.limits import exceeded, limit_of

MISSING = "?"
SUFFIX = ".ts"


class TsFormat:
    """The format as an entry of `scanline.formats.registry`."""

    suffixes: tuple[str, ...] = (SUFFIX,)

    def read(self, path: Path) -> dict[str, Any]:
        """Read a `.ts` file.

        Returns:
            "values": N float32 arrays (T_i, F), NaN for missing values; "places": N texts "line 12"; and,
            if the file has labels, "labels": N texts, and "classes": the class names in the header's order,
            or sorted if the header does not name them.

        Raises:
            FormatError: If the file cannot be read or is damaged; names the line, what was expected and
            found.
        """
        return read_ts(path)


def read_ts(path: Path) -> dict[str, Any]:
    """Read a `.ts` file; see `TsFormat.read`."""
    sequences: list[NDArray[np.float32]] = []
    labels: list[str] = []
    places: list[str] = []
    header = _Header(path)
    for number, line in _lines(path):
        if not header.complete:
            header.add(number, line)
            continue
        if (colons := line.count(":")) > limit_of("FEATURES") + 1:  # before split makes a list of them
            _fail(path, number, exceeded("FEATURES", colons))
        fields = line.split(":")
        if header.labelled:
            labels.append(fields.pop().strip())
            header.check_label(number, labels[-1])
        if len(fields) > limit_of("FEATURES"):
            _fail(path, number, exceeded("FEATURES", len(fields)))
        if len(fields) != (header.features or len(fields)):
            _fail(path, number, f"expected {header.features} features, found {len(fields)}")
        header.features = len(fields)
        sequences.append(_sequence(path, number, fields))
        places.append(f"line {number}")
    if not header.complete:
        raise FormatError(file=path, expected="a .ts file of the UEA archive", found="no @data line")
    if not sequences:
        raise FormatError(file=path, expected="sequences after @data", found="none")
    content: dict[str, Any] = {"values": sequences, "places": places}
    if header.labelled:
        content |= {"labels": labels, "classes": header.classes or sorted(set(labels))}
    return content


def _fail(path: Path, line: int, what: str) -> NoReturn:
    raise FormatError(what, file=path, place=f"line {line}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not empty and not a comment."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            # readline with a size bounds memory: a file without line breaks is one line of any length.
            lines = iter(lambda: file.readline(limit_of("LINE_BYTES") + 1), "")
            for number, line in enumerate(lines, 1):
                if len(line) > limit_of("LINE_BYTES"):
                    _fail(path, number, exceeded("LINE_BYTES", len(line)))
                stripped = line.strip()
                if stripped and not stripped.startswith(("#", "%")):
                    yield number, stripped
    except UnicodeDecodeError as error:
        raise FormatError(
            file=path, expected="text in UTF-8", found=f"other bytes ({error.reason})"
        ) from error
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", file=path) from error


class _Header:
    """The @tags that matter.

    Attributes:
        complete: Whether @data was reached.
        features: Number of features, 0 if not known yet.
        labelled: Whether the lines have labels.
        classes: Class names in the order of the header; empty if it does not name them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = False
        self.features = 0
        self.labelled = True
        self.classes: list[str] = []
        self._known: set[str] = set()

    def add(self, number: int, line: str) -> None:
        """Take in one line of the header."""
        # Before split makes a list of them. Some files separate names by several blanks.
        if (blanks := line.count(" ") + line.count("\t")) > 4 * limit_of("CLASSES") + 16:
            _fail(self.path, number, exceeded("CLASSES", blanks))
        tag, *words = line.split()
        tag, flag = tag.lower(), "".join(words[:1]).lower()
        if tag == "@data":
            self.complete = True
        elif not tag.startswith("@"):
            _fail(self.path, number, f"expected a header line that begins with @, found {line[:40]!r}")
        elif tag == "@timestamps" and flag == "true":
            _fail(self.path, number, "time stamps are not supported; write only the values, in order of time")
        elif tag == "@targetlabel" and flag == "true":
            _fail(self.path, number, "expected class labels, found a target of regression")
        elif tag in ("@dimensions", "@dimension"):
            if not re.fullmatch(r"[1-9][0-9]{0,8}", flag):
                _fail(self.path, number, f"expected a number of features, found {flag[:40] or 'none'}")
            self.features = int(flag)
        elif tag == "@univariate" and flag == "true":
            self.features = 1
        elif tag == "@classlabel":
            self._set_classes(number, flag != "false", words[1:])

    def _set_classes(self, number: int, labelled: bool, names: list[str]) -> None:
        self.labelled, self.classes, self._known = labelled, names, set(names)
        if len(self._known) > limit_of("CLASSES"):
            _fail(self.path, number, exceeded("CLASSES", len(self._known)))
        if len(self._known) < len(names):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            _fail(self.path, number, f"expected different class names, found {one_line(repeated[0])} twice")

    def check_label(self, number: int, label: str) -> None:
        """Check the label of one line against the header."""
        if not label:
            _fail(self.path, number, "expected a label after the last colon, found none")
        if self.classes and label not in self._known:
            names, found = join_names(self.classes), label[:40]
            _fail(self.path, number, f"expected a class of the header ({names}), found {found!r}")


def _sequence(path: Path, line: int, fields: list[str]) -> NDArray[np.float32]:
    """Return (T, F) from the texts of the F features; missing values are NaN."""
    features = [_values(path, line, index, field) for index, field in enumerate(fields)]
    lengths = [len(values) for values in features]
    if max(lengths, default=0) > limit_of("STEPS"):
        _fail(path, line, exceeded("STEPS", max(lengths)))
    if not features or min(lengths) == 0:
        _fail(path, line, "expected values, found an empty sequence")
    if min(lengths) != max(lengths):
        odd = next(index for index, length in enumerate(lengths) if length != lengths[0])
        _fail(
            path, line, f"expected {lengths[0]} values in each feature, found {lengths[odd]} in feature {odd}"
        )
    with np.errstate(over="ignore"):  # too large a value becomes infinite, which the caller refuses
        # The file stores features one after another, (F, T); steps are rows here, (T, F).
        return np.ascontiguousarray(np.array(features).T, np.float32)


def _values(path: Path, line: int, feature: int, text: str) -> list[float]:
    words = text.split(",") if text.strip() else []
    try:
        if "_" not in text:  # float() accepts 1_000, the archive does not
            return [float(word) for word in words]
    except ValueError:
        pass
    return [_value(path, line, feature, step, word.strip()) for step, word in enumerate(words)]


def _value(path: Path, line: int, feature: int, step: int, word: str) -> float:
    try:
        return math.nan if word == MISSING else float(word.replace("_", MISSING))
    except ValueError:
        _fail(path, line, f"step {step}, feature {feature}: expected a number, found {word[:40]!r}")
