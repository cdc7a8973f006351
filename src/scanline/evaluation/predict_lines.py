"""Predictions for steps that arrive line by line."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from scanline.data.preprocessing import Preprocessing
from scanline.data.stream_times import StreamTimes
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
            sequence. A byte-order mark before the first line is skipped. Features of the time are computed
            where a header or an object names the time column in place of them. Static columns may be left
            out after the first step of a sequence.

    Raises:
        DataError: If a line is not valid; names the line, what was expected and what was found.
    """
    columns = _Columns.of(model.preprocessing)
    # The session holds the recurrent states: each line costs one step, however long the sequence is.
    session, sequence = model.stream(), 0
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
                columns.restart()
            continue
        try:
            # Only the first line can be a header; later lines with the same text are invalid steps.
            if number == 1 and text[0] not in _JSON and columns.read_header(dialect.cells(text)):
                continue
            probabilities = session.feed(_step(text, columns, dialect, categories))
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


class _Columns:
    """The columns of a stream, by name.

    Args:
        names: Names of the features; empty if they have none.
        static: Those of the features that may be left out after the first step of a sequence.
        given: The columns from which the features can be computed, the last of which is the time.
        times: Computes the features of the time; None if there are none.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        static: Collection[str],
        given: tuple[str, ...],
        times: StreamTimes | None,
    ) -> None:
        self.names, self._static, self._given, self._times = names, set(static), given, times
        self._order: list[int] | None = None
        self._computes = False  # whether lines of CSV have the time in place of its features

    @classmethod
    def of(cls, form: Preprocessing) -> _Columns:
        settings, times = form.settings, None
        if form.time_kind:
            times = StreamTimes(settings, form.time_kind)
        given = (*settings.feature_columns, settings.time_column) if times else ()
        return cls(form.feature_names, settings.static_columns, given, times)

    def restart(self) -> None:
        """Begin another sequence."""
        if self._times is not None:
            self._times.restart()

    def read_header(self, cells: list[str]) -> bool:
        """Return whether the cells of a line name all columns; then they give their order."""
        for names, computes in ((self.names, False), (self._given, True)):
            if names and set(names) <= set(cells):
                self._order, self._computes = [cells.index(name) for name in names], computes
                return True
        return False

    def of_line(self, cells: list[str]) -> list[Any]:
        """Return the values of a line of CSV, in the order of the features."""
        order = self._order
        if order is None:
            return cells
        if max(order) >= len(cells):
            raise DataError(f"expected {max(order) + 1} cells or more, got {len(cells)}")
        return self._with_times([cells[place] for place in order], self._computes)

    def of_object(self, values: dict[str, Any]) -> list[Any]:
        """Return the values of a JSON object, in the order of the features."""
        if not self.names:
            raise DataError("expected a list of values, as the model's features have no names; got an object")
        for names, computes in ((self.names, False), (self._given, True)):
            if names and set(values) <= set(names) and set(names) - set(values) <= self._static:
                return self._with_times([values.get(name) for name in names], computes)
        names = self._given or self.names
        raise DataError(f"expected the features {join_names(names)}, got {join_names(list(values))}")

    def _with_times(self, values: list[Any], computes: bool) -> list[Any]:
        if not computes or self._times is None:
            return values
        *values, time = values
        return [*values, *self._times.features(time)]


def _step(text: str, columns: _Columns, dialect: _Dialect, categories: bool) -> Any:
    """Return the F values of a line for `Session.feed`: empty cells and null are NaN.

    With `categories`, cells stay as they are: the session knows which of them are names.
    """
    if text[0] in _JSON:
        cells = _json_cells(text, columns)
    else:
        cells = columns.of_line([dialect.plain(cell) for cell in dialect.cells(text)])
    return cells if categories else np.array([number_of(cell, None) for cell in cells], np.float32)


def _json_cells(text: str, columns: _Columns) -> list[Any]:
    try:
        values = json.loads(text)
    # Deeply nested lists exhaust the recursion limit of the parser.
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON ({error})") from None
    cells: list[Any] = columns.of_object(values) if isinstance(values, dict) else values
    return cells
