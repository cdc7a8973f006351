"""The UEA/UCR archive's text format, `.ts`: a header of @tags, then a line for each sequence.

A line holds the features one after another, separated by colons, each with its values separated by commas,
and the label at the end: `1.1,1.2:0.3,0.4:walking`. Format: https://www.aeon-toolkit.org/en/stable (data
formats). Lengths are those of the lines; what the header says of them is not needed and not relied on.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import Found, check_names, shown, some, to_float32
from scanline.data.memory import MemorySource
from scanline.data.source import ClassName
from scanline.errors import DataError
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

MISSING = "?"


def read_ts(path: Path, settings: DataSettings, labelled: bool = False) -> Found:
    """The sequences in the `.ts` file `path`; class labels stay text, in the header's order.

    A missing value, `?`, becomes NaN. labelled: whether the file must have labels.
    Raises DataError naming the line, what was expected and what was found.
    """
    sequences: list[NDArray[np.float32]] = []
    labels: list[str] = []
    places: list[int] = []
    header = _Header(path)
    for number, line in _lines(path):
        if not header.done:
            header.take(number, line)
            continue
        if (colons := line.count(":")) > limit_of("FEATURES") + 1:  # before a list is made of them
            _fail(path, number, exceeded("FEATURES", colons))
        fields = line.split(":")
        if header.labelled:
            labels.append(fields.pop().strip())
            header.check_label(number, labels[-1])
        if len(fields) > limit_of("FEATURES"):
            _fail(path, number, exceeded("FEATURES", len(fields)))
        if len(fields) != (header.dimensions or len(fields)):
            _fail(path, number, f"expected {header.dimensions} features, found {len(fields)}")
        header.dimensions = len(fields)
        sequences.append(_sequence(path, number, fields))
        places.append(number)
    if not header.done:
        raise DataError(f"{path}: expected a .ts file of the UEA archive, found no @data line")
    if labelled and not header.labelled:
        raise DataError(f"{path}: expected class labels, found @classLabel false")
    if not sequences:
        raise DataError(f"{path}: expected sequences after @data, found none")

    def where(index: int, step: int = 0) -> str:
        return f"line {places[index]}"

    # The header may leave the names to the lines.
    classes: tuple[ClassName, ...] = tuple(header.classes or sorted(set(labels)))
    if len(classes) > limit_of("CLASSES"):
        raise DataError(f"{path}: {exceeded('CLASSES', len(classes))}")
    check_names(classes, str(path))
    index = {name: code for code, name in enumerate(classes)}
    codes = np.array([index[label] for label in labels] or np.zeros(len(sequences)), np.int64)
    return Found(MemorySource.from_list(sequences, codes, classes, str(path)), settings, where)


def _fail(path: Path, line: int, what: str) -> NoReturn:
    raise DataError(f"{path}: line {line}: {what}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that says something."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = iter(lambda: file.readline(limit_of("LINE_BYTES") + 1), "")
            for number, line in enumerate(lines, 1):
                if len(line) > limit_of("LINE_BYTES"):
                    _fail(path, number, exceeded("LINE_BYTES", len(line)))
                stripped = line.strip()
                if stripped and not stripped.startswith(("#", "%")):
                    yield number, stripped
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, found other bytes ({error.reason})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


class _Header:
    """What the @tags say, as far as it is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = False
        self.dimensions = 0  # not said
        self.labelled = True
        self.classes: list[str] = []
        self.known: set[str] = set()

    def take(self, number: int, line: str) -> None:
        if (blanks := line.count(" ") + line.count("\t")) > 4 * limit_of(
            "CLASSES"
        ) + 16:  # before all are listed
            _fail(self.path, number, exceeded("CLASSES", blanks))
        tag, *words = line.split()
        tag, flag = tag.lower(), "".join(words[:1]).lower()
        if tag == "@data":
            self.done = True
        elif not tag.startswith("@"):
            _fail(self.path, number, f"expected a header line that begins with @, found {line[:40]!r}")
        elif tag == "@timestamps" and flag == "true":
            _fail(self.path, number, "time stamps are not read; write the values alone, in order of time")
        elif tag == "@targetlabel" and flag == "true":
            _fail(self.path, number, "expected class labels, found a target of regression")
        elif tag in ("@dimensions", "@dimension"):
            if not re.fullmatch(r"[1-9][0-9]{0,8}", flag):
                _fail(self.path, number, f"expected a number of features, found {flag[:40] or 'none'}")
            self.dimensions = int(flag)
        elif tag == "@univariate" and flag == "true":
            self.dimensions = 1
        elif tag == "@classlabel":
            self.labelled = flag != "false"
            self.classes = words[1:]
            self.known = set(self.classes)
            if len(self.known) > limit_of("CLASSES"):
                _fail(self.path, number, exceeded("CLASSES", len(self.known)))
            if len(self.known) < len(self.classes):
                twice = sorted(name for name, count in Counter(self.classes).items() if count > 1)
                _fail(self.path, number, f"expected different class names, found {shown(twice[0])} twice")

    def check_label(self, number: int, label: str) -> None:
        if not label:
            _fail(self.path, number, "expected a label after the last colon, found none")
        if self.classes and label not in self.known:
            names, found = some(self.classes), label[:40]
            _fail(self.path, number, f"expected a class of the header ({names}), found {found!r}")


def _sequence(path: Path, line: int, fields: list[str]) -> NDArray[np.float32]:
    """(T, F) from the texts of the F features; missing values are NaN."""
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
    return to_float32(np.array(features).T)


def _values(path: Path, line: int, feature: int, text: str) -> list[float]:
    words = text.split(",") if text.strip() else []
    try:
        if "_" not in text:  # Python's own way to write numbers, not the archive's
            return [float(word) for word in words]
    except ValueError:
        pass
    return [_value(path, line, feature, step, word.strip()) for step, word in enumerate(words)]


def _value(path: Path, line: int, feature: int, step: int, word: str) -> float:
    try:
        return math.nan if word == MISSING else float(word.replace("_", MISSING))
    except ValueError:
        _fail(path, line, f"step {step}, feature {feature}: expected a number, found {word[:40]!r}")
