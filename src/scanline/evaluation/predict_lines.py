"""Steps that come line by line, and an answer for each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import some
from scanline.errors import DataError
from scanline.model.artifact import Model

LINE_LIMIT = 1_000_000  # characters
_JSON = "[{"  # what a line of JSON begins with


def predict_lines(model: Model, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """For each line that holds a step its answer, as soon as the line is there.

    lines: CSV ("0.1,0.2") or JSON lines ([0.1, 0.2], or {"x": 0.1, "y": 0.2} with the names of the model's
    features). CSV may begin with a line of those names, which says their order. An empty line ends a
    sequence: the next step begins another. An answer is {"sequence", "step", "label", "probability",
    "probabilities" by class name}; sequence counts from 0, step from 1.
    Raises DataError naming the line and what was expected there.
    """
    names = model.preprocessing.settings.feature_columns
    session, sequence, order = model.stream(), 0, None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if len(text) > LINE_LIMIT:
            raise DataError(f"line {number}: expected at most {LINE_LIMIT:,} characters, found {len(text):,}")
        if not text:
            if session.steps:
                session, sequence = model.stream(), sequence + 1
            continue
        try:
            if number == 1 and text[0] not in _JSON and (order := _header(text, names)) is not None:
                continue
            shares = session.feed(_step(text, names, order))
        except DataError as error:
            raise DataError(f"line {number}: {error}") from None
        yield {"sequence": sequence, "step": session.steps} | model.told(shares)


def _header(text: str, names: tuple[str, ...]) -> list[int] | None:
    """Where in a line each feature stands, if the line names them all."""
    cells = _cells(text)
    if not names or not set(names) <= set(cells):
        return None
    return [cells.index(name) for name in names]


def _cells(text: str) -> list[str]:
    """The cells of a line of CSV. Raises DataError if it is none."""
    try:
        return [cell.strip() for cell in next(csv.reader([text]))]
    except csv.Error as error:  # a carriage return within the line, a cell longer than Python takes
        raise DataError(f"not valid CSV ({error})") from None


def _step(text: str, names: tuple[str, ...], order: list[int] | None) -> NDArray[np.float32]:
    """(F,) values of a line; what is empty or null is NaN."""
    if text[0] in _JSON:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not valid JSON ({error})") from None
        if isinstance(found, dict):
            if not names:
                raise DataError("the model's features have no names: give a list of values")
            if set(found) != set(names):
                raise DataError(f"expected the features {some(names)}, found {some(list(found))}")
            found = [found[name] for name in names]
        cells: list[Any] = found
    else:
        cells = _cells(text)
        if order is not None:
            if max(order) >= len(cells):
                raise DataError(f"expected {max(order) + 1} cells or more, found {len(cells)}")
            cells = [cells[place] for place in order]
    return np.array([_number(cell) for cell in cells], np.float32)


def _number(cell: Any) -> float:
    if cell is None or cell == "":
        return float("nan")
    if isinstance(cell, str | int | float) and not isinstance(cell, bool):
        try:
            return float(cell)
        except (ValueError, OverflowError):
            pass
    raise DataError(f"expected a number, found {str(cell)[:40]!r}")
