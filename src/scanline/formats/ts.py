"""The text format of the UEA/UCR archive, `.ts`: a header of @tags, then one line for each sequence.

A line has the features one after another, separated by colons, each with its values separated by commas, and
the label at the end: `1.1,1.2:0.3,0.4:walking`. A missing value is `?`. Lengths are those of the lines;
what the header says about lengths is not used. With time stamps, values are pairs: `(0,1.1),(1,1.2):walking`.
Format: https://www.aeon-toolkit.org/en/stable (data formats).
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scanline.errors import FormatError, join_names, one_line
from scanline.formats.gzip_text import ENCODING_REMEDY, open_text
from scanline.formats.text import is_number
from scanline.limits import exceeded, limit_of

MISSING = "?"
SUFFIX = ".ts"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A pair of a time stamp, which may contain colons and blanks, and a value.
_PAIR = re.compile(r"\s*\(([^()]*),([^(),]*)\)\s*(,|$)")
_DIMENSION_END = re.compile(r"(?<=\))\s*:")


class TsFormat:
    """The format as an entry of `scanline.formats.registry`."""

    suffixes: tuple[str, ...] = (SUFFIX, SUFFIX + ".gz")
    has_encoding = True

    def read(self, path: Path, encoding: str = "") -> dict[str, Any]:
        """Read a `.ts` file, which may be compressed with gzip.

        Args:
            path: The file.
            encoding: Encoding of the text, see `open_bytes`. Comments may have any.

        Returns:
            "values": N float32 arrays (T_i, F), NaN for missing values; "places": N texts "line 12"; and,
            if the file has labels, "labels": N texts, and "classes": the class names in the header's order,
            or sorted if the header does not name them. "numeric": True in place of classes, if the header
            says that labels are targets of a regression. "notes": what was done with time stamps.

        Raises:
            FormatError: If the file cannot be read or is damaged; names the line, what was expected and
            found.
        """
        return read_ts(path, encoding)


def read_ts(path: Path, encoding: str = "") -> dict[str, Any]:
    """Read a `.ts` file; see `TsFormat.read`."""
    sequences: list[NDArray[np.float32]] = []
    labels: list[str] = []
    places: list[str] = []
    header, uneven = _Header(path), False
    for number, line in text_lines(path, encoding):
        if not header.complete:
            header.add(number, line)
            continue
        if (colons := line.count(":")) > limit_of("FEATURES") + 1:  # before split makes a list of them
            _fail(path, number, exceeded("FEATURES", colons))
        if header.stamped and not line.startswith("("):
            _fail(path, number, f"expected (time,value) pairs, found {line[:40]!r}")
        fields = _DIMENSION_END.split(line) if header.stamped else line.split(":")
        if header.labelled:
            labels.append(fields.pop().strip())
            header.check_label(number, labels[-1])
        if len(fields) > limit_of("FEATURES"):
            _fail(path, number, exceeded("FEATURES", len(fields)))
        if len(fields) != (header.features or len(fields)):
            _fail(path, number, f"expected {header.features} features, found {len(fields)}")
        header.features = len(fields)
        if header.stamped:
            uneven |= _drop_stamps(path, number, fields)
        sequences.append(_sequence(path, number, fields))
        places.append(f"line {number}")
    if not header.complete:
        raise FormatError(file=path, expected="a .ts file of the UEA archive", found="no @data line")
    if not sequences:
        raise FormatError(file=path, expected="sequences after @data", found="none")
    content: dict[str, Any] = {"values": sequences, "places": places}
    if header.stamped:
        spacing = ", which differ," if uneven else ""
        content["notes"] = [f"read in order of time stamps; the times between steps{spacing} are not used"]
    if header.numeric:
        content |= {"labels": labels, "numeric": True}
    elif header.labelled:
        content |= {"labels": labels, "classes": header.classes or sorted(set(labels))}
    return content


def _fail(path: Path, line: int, what: str) -> NoReturn:
    raise FormatError(what, file=path, place=f"line {line}")


def text_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a `.ts` or `.arff` file that is not empty and not a comment.

    Raises:
        FormatError: If the file cannot be read, a line is too long, or its bytes are not text.
    """
    try:
        with open_text(path, encoding) as file:
            # readline with a size bounds memory: a file without line breaks is one line of any length.
            lines = iter(lambda: file.readline(limit_of("LINE_BYTES") + 1), "")
            for number, line in enumerate(lines, 1):
                if len(line) > limit_of("LINE_BYTES"):
                    _fail(path, number, exceeded("LINE_BYTES", len(line)))
                stripped = line.strip()
                if not stripped or stripped.startswith(("#", "%")):
                    continue
                # Other bytes than UTF-8 became surrogates. Comments may have them: their text is not used.
                if not stripped.isascii() and (other := re.search("[\udc80-\udcff]", stripped)):
                    raise FormatError(
                        file=path,
                        place=f"line {number}",
                        expected="text in UTF-8",
                        found=f"the byte 0x{ord(other[0]) - 0xDC00:02x}",
                        remedy=ENCODING_REMEDY,
                    )
                yield number, stripped
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror or error})", file=path) from error


class _Header:
    """The @tags that matter.

    Attributes:
        complete: Whether @data was reached.
        features: Number of features, 0 if not known yet.
        labelled: Whether the lines have labels.
        stamped: Whether values have time stamps.
        numeric: Whether the labels are numbers, targets of a regression.
        classes: Class names in the order of the header; empty if it does not name them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = False
        self.features = 0
        self.labelled = True
        self.stamped = False
        self.numeric = False
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
        elif tag == "@timestamps":
            self.stamped = flag == "true"
        elif tag == "@targetlabel" and flag == "true":
            self.numeric = self.labelled = True
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


def _drop_stamps(path: Path, line: int, fields: list[str]) -> bool:
    """Replace the pairs in the F texts of a line by their values.

    Returns:
        Whether the times between steps differ.

    Raises:
        FormatError: If there is no pair, or time stamps are not in order or differ between features.
    """
    first: list[float | int] = []
    for index, field in enumerate(fields):
        stamps: list[float | int] = []
        values = []
        place = 0
        while match := _PAIR.match(field, place):
            stamps.append(_stamp(path, line, match[1].strip()))
            values.append(match[2])
            place = match.end()
        if place < len(field) or not values:
            _fail(path, line, f"feature {index}: expected (time,value) pairs, found {field[place:][:40]!r}")
        late = next((at for at in range(1, len(stamps)) if not stamps[at - 1] < stamps[at]), None)
        if late is not None:
            _fail(path, line, f"feature {index}: expected increasing time stamps, found another, step {late}")
        if index and stamps != first:
            _fail(path, line, f"expected the same time stamps in each feature, found others in {index}")
        first = stamps
        fields[index] = ",".join(values)
    spacings = [later - earlier for earlier, later in itertools.pairwise(first)]
    return bool(spacings) and max(spacings) - min(spacings) > 1e-6 * max(map(abs, spacings))


def _stamp(path: Path, line: int, text: str) -> float | int:
    """Return a time stamp as a number: microseconds if it is a date."""
    try:
        if re.fullmatch(r"[+-]?\d{1,30}", text):
            return int(text)  # exact, unlike a float
        if is_number(text) and math.isfinite(float(text)):
            return float(text)
        time = datetime.fromisoformat(text)
        return (time.replace(tzinfo=time.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        expected = "a time stamp, a number or a date as 2026-01-31 12:00:00"
        _fail(path, line, f"expected {expected}, found {text[:40]!r}")


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
