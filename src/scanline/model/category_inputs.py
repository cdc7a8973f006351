"""Texts, and steps with names of categories, that a Python program gives to a model, as the model's steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scanline.data.checks import check_values
from scanline.data.data_frames import read_long
from scanline.data.given_steps import StepCoder, texts_of_program
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.reading import TO_PREDICT
from scanline.errors import DataError, UsageError
from scanline.python_terms import python_terms


def read_categories(
    values: Any, lengths: Any, shared: Preprocessing, forms: Sequence[Preprocessing]
) -> MemorySource:
    """Check the values given to a model with categories and apply its preprocessing to them.

    Args:
        values: For a model of texts a list of texts, or a data frame with the column of them. For others a
            long data frame; or a list of sequences, each a data frame or a list of steps: lists of F cells,
            or dictionaries with the names of the features.
        lengths: None: such values have no padding.
        shared: The model's preprocessing.
        forms: That of each of its networks.

    Raises:
        DataError: If the values do not fit; names what was expected.
        UsageError: If there are lengths.
    """
    if lengths is not None:
        raise UsageError("lengths must be None for a model that reads categories or texts")
    with python_terms():
        table = read_long(values, shared.settings, TO_PREDICT)
        if table is None and shared.settings.tokens:
            table = texts_of_program(_text_column(values, shared.settings.text_column), shared)
        elif table is None:
            table = _sequences(values, StepCoder(forms))
        check_values(table, shared.missing != "error", trained=True)
    return shared.prepare(table)


def _text_column(values: Any, name: str) -> Any:
    """Return the column of the texts of a data frame, and anything else as it is."""
    return values[name] if name and name in getattr(values, "columns", ()) else values


def _sequences(values: Any, coder: StepCoder) -> MemorySource:
    """Return a list of sequences, each a data frame or a list of steps, as a source."""
    if not isinstance(values, list | tuple) or not values:
        raise DataError(
            where="the given values",
            expected="a long data frame, or a list of sequences with names of categories",
            found=type(values).__name__,
        )
    sequences = []
    for index, sequence in enumerate(values):
        try:
            steps = _rows(sequence)
            if not steps:
                raise DataError(expected="steps", found="none")
            sequences.append(coder.encode(coder.rows(steps)))
        except DataError as error:
            raise DataError(f"the given values: sequence {index}: {error}") from None
    return coder.source(sequences, "the given values")


def _rows(sequence: Any) -> list[Any]:
    """Return the steps of one sequence as a list."""
    if hasattr(sequence, "to_dict") and hasattr(sequence, "columns"):
        if hasattr(sequence, "to_dicts"):  # of polars
            rows: list[Any] = sequence.to_dicts()
            return rows
        frame = sequence.astype(object)
        return list(frame.where(frame.notna(), None).to_dict("records"))
    if isinstance(sequence, list | tuple):
        return list(sequence)
    raise DataError(expected="a data frame, or a list of steps", found=type(sequence).__name__)
