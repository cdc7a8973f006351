"""Predictions for steps that arrive line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scanline.data.vocabulary import number_of
from scanline.errors import DataError, join_names
from scanline.formats.text import BYTE_ORDER_MARK, has_decimal_comma
from scanline.model.artifact import TrainedModel
from scanline.recipe import DataSettings
from scanline.tasks.base import DecodedPrediction, JsonObject

LINE_LIMIT = 1_000_000  # characters
_JSON = "[{"  # first characters of a JSON line


@dataclass(frozen=True)
class StepPrediction:
    """The prediction after a step of a stream.

    Attributes:
        sequence: Index of the sequence, from 0.
        step: Number of its steps read so far.
        prediction: The prediction for these steps.
    """

    sequence: int
    step: int
    prediction: DecodedPrediction

    def to_json(self) -> JsonObject:
        """Return the prediction as a JSON object."""
        return {"sequence": self.sequence, "step": self.step} | self.prediction.to_json()


def predict_lines(model: TrainedModel, lines: Iterable[str]) -> Iterator[StepPrediction]:
    """Yield a prediction for each line that holds a step, as soon as the line has been read.

    Args:
        model: The model.
        lines: CSV ("0.1,0.2") or JSON lines ([0.1, 0.2], or {"x": 0.1, "y": 0.2} with the names of the
            model's features). CSV has the separator and the decimal mark that the model's settings name; it
            may begin with a line of the feature names, which gives their order. An empty line ends a
            sequence. A byte-order mark before the first line is skipped.

    Raises:
        DataError: If a line is not valid; names the line, what was expected and what was found.
    """
    names = model.preprocessing.settings.feature_columns
    if len(names) != model.preprocessing.source_features:
        names = ()  # columns of a wide table are steps, not features
    # The session holds the recurrent states: each line costs one step, however long the sequence is.
    session, sequence, order = model.stream(), 0, None
    dialect = _Dialect.of(model.preprocessing.settings)
    categories = any(each.preprocessing.vocabularies for each in model.models)
    for number, line in enumerate(lines, 1):
        # Lines may come from text that was decoded without regard to the mark.
        text = (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).strip()
        # Before parsing: a line from a pipe is untrusted and may be of any length.
        if len(text) > LINE_LIMIT:
            raise DataError(f"line {number}: expected at most {LINE_LIMIT:,} characters, got {len(text):,}")
        if not text:
            # Several empty lines in a row end one sequence only.
            if session.steps:
                session, sequence = model.stream(), sequence + 1
            continue
        try:
            # Only the first line can be a header; later lines with the same text are invalid steps.
            if number == 1 and text[0] not in _JSON and (order := _header(text, names, dialect)) is not None:
                continue
            probabilities = session.feed(_step(text, names, order, dialect, categories))
        except DataError as error:
            raise DataError(f"line {number}: {error}") from None
        yield StepPrediction(sequence, int(session.steps), model.task.decode(probabilities))


@dataclass(frozen=True)
class _Dialect:
    separator: str
    decimal: str

    @classmethod
    def of(cls, settings: DataSettings) -> _Dialect:
        # A comma between decimals separates no cells.
        return cls(settings.separator or (";" if settings.decimal == "," else ","), settings.decimal)

    def cells(self, text: str) -> list[str]:
        """Return the cells of a CSV line. Raises DataError if it is not valid."""
        if self.separator == "blanks":
            return text.split()
        try:
            delimiter = "\t" if self.separator == "tab" else self.separator
            return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
        except csv.Error as error:  # a carriage return within the line, or a cell beyond Python's limit
            raise DataError(f"not valid CSV ({error})") from None

    def plain(self, cell: str) -> str:
        """Return a number with a decimal point."""
        return cell.replace(",", ".") if self.decimal == "," and has_decimal_comma(cell) else cell


def _header(text: str, names: tuple[str, ...], dialect: _Dialect) -> list[int] | None:
    """Return the column of each feature if the line names them all, else None."""
    cells = dialect.cells(text)
    if not names or not set(names) <= set(cells):
        return None
    return [cells.index(name) for name in names]


def _step(
    text: str, names: tuple[str, ...], order: list[int] | None, dialect: _Dialect, categories: bool
) -> Any:
    """Return the F values of a line for `Session.feed`: empty cells and null are NaN.

    With `categories`, cells stay as they are: the session knows which of them are names.
    """
    cells = _json_cells(text, names) if text[0] in _JSON else _csv_cells(text, order, dialect)
    return cells if categories else np.array([number_of(cell, None) for cell in cells], np.float32)


def _json_cells(text: str, names: tuple[str, ...]) -> list[Any]:
    try:
        values = json.loads(text)
    # Deeply nested lists exhaust the recursion limit of the parser.
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({error})") from None
    if isinstance(values, dict):
        if not names:
            raise DataError("expected a list of values, as the model's features have no names; got an object")
        if set(values) != set(names):
            raise DataError(f"expected the features {join_names(names)}, got {join_names(list(values))}")
        values = [values[name] for name in names]
    cells: list[Any] = values
    return cells


def _csv_cells(text: str, order: list[int] | None, dialect: _Dialect) -> list[str]:
    cells = [dialect.plain(cell) for cell in dialect.cells(text)]
    if order is None:
        return cells
    if max(order) >= len(cells):
        raise DataError(f"expected {max(order) + 1} cells or more, got {len(cells)}")
    return [cells[place] for place in order]
