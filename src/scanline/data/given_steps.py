"""Steps with names of categories, and texts, that programs and clients give to a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.checks import to_float32
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.text_sources import check_unicode, listed_texts, text_list, text_source
from scanline.data.readers.tokens import divide
from scanline.data.source_info import SourceInfo
from scanline.data.vocabulary import MISSING, UNKNOWN, number_of
from scanline.errors import DataError, join_names, one_line

_NAMELESS = "\ud800"  # stands for names that no model knows: no vocabulary has a lone surrogate


class StepCoder:
    """Codes of steps that do not depend on what else is coded, so that requests can be computed together.

    Args:
        forms: The preprocessing of each network of the model.

    Attributes:
        reads_text: Whether the sequences are texts.
        categories: As in `SourceInfo`, for sources of coded steps.
    """

    def __init__(self, forms: Sequence[Preprocessing]) -> None:
        first = forms[0]
        self._settings = first.settings
        self.reads_text = bool(first.settings.tokens)
        self.names = first.feature_names
        # Places of the static features by their names, or by their numbers where there are no names.
        self._static = {self.names[place] if self.names else str(place): place for place in first.static}
        self.categories: list[tuple[str, ...] | None] = [None] * first.source_features
        self._codes: list[dict[str, int] | None] = [None] * first.source_features
        for place, vocabulary in enumerate(first.vocabularies):
            # Of one network they are its ids, which need no translation.
            known = vocabulary.all_names
            if len(forms) > 1:
                others = (name for form in forms for name in form.vocabularies[place].names)
                known = ("", _NAMELESS, *dict.fromkeys(others))
            self.categories[vocabulary.feature] = known
            codes = {name: code for code, name in enumerate(known) if code not in (MISSING, UNKNOWN)}
            self._codes[vocabulary.feature] = codes | {"": MISSING}

    def source(self, sequences: Sequence[NDArray[np.float32]], name: str = "inputs") -> MemorySource:
        """Return coded sequences (T_i, F) as a source, for `TrainedModel.steps`."""
        source = MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), name)
        info = SourceInfo(settings=self._settings, categories=tuple(self.categories))
        return replace(source, info=info)

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of a text. Raises DataError if it has none, or a lone surrogate."""
        check_unicode(text, "the text")
        if not (found := divide(text, self._settings)):
            raise DataError(where="the text", expected=f"a text with {self._settings.tokens}", found="none")
        return found

    def cells(self, given: Any) -> list[list[Any]]:
        """Return what a client gives for one sequence as rows of cells.

        Args:
            given: A text or its tokens, for a model of texts; a list of steps, as for `rows`; or an object
                {"text": ...} or {"steps": ...} with one of them. Beside steps, "static" may have an object
                with static columns. A step without their value has that of the first.

        Raises:
            DataError: If it is something else, or has no steps.
        """
        static: Any = {}
        if isinstance(given, Mapping):
            if self._static and set(given) == {"steps", "static"}:
                static, given = given["static"], {"steps": given["steps"]}
            key = next(iter(given), "")
            if len(given) != 1 or key not in ("text", "steps"):
                found = join_names([one_line(name, 40) for name in given]) or "nothing"
                raise DataError(expected='an object with "text" or "steps"', found=found)
            given = given[key]
        if isinstance(given, str) and self.reads_text:
            return [[token] for token in self.tokens(given)]
        if not isinstance(given, list) or not given:
            what = "a text" if self.reads_text else "a list of steps"
            found = "none" if given == [] else "text" if isinstance(given, str) else type(given).__name__
            raise DataError(expected=what, found=found)
        rows = self.rows(given)
        if self.reads_text and self._settings.lower_case:
            rows = [[cell.lower() if isinstance(cell, str) else cell for cell in row] for row in rows]
        if static != {}:
            self._repeat(rows, static)
        return rows

    def _repeat(self, rows: list[list[Any]], static: Any) -> None:
        """Give each row the static columns of `static`, or of the first row, where it has none; in place."""
        if not isinstance(static, Mapping) or set(static) - self._static.keys():
            found = join_names(list(static)) if isinstance(static, Mapping) else type(static).__name__
            expected = f"an object of {join_names(list(self._static))}"
            raise DataError(where="static", expected=expected, found=found)
        for name, place in self._static.items():
            first = static.get(name, rows[0][place])
            for row in rows:
                if row[place] is None or row[place] == "":
                    row[place] = first

    def rows(self, steps: Sequence[Any]) -> list[list[Any]]:
        """Return steps as lists of cells in the order of the features.

        Args:
            steps: For each step a list of F cells, or an object with the names of the features; a cell alone
                if there is one feature.

        Raises:
            DataError: If a step has other cells; names it.
        """
        rows = [self._row(step, number) for number, step in enumerate(steps, 1)]
        self._repeat(rows, {})
        return rows

    def _row(self, step: Any, number: int) -> list[Any]:
        if isinstance(step, Mapping):
            if not self.names:
                raise DataError(
                    where=f"step {number}", expected="a list: the features have no names", found="an object"
                )
            if set(step) - set(self.names) or set(self.names) - set(step) - self._static.keys():
                raise DataError(
                    where=f"step {number}",
                    expected=f"the features {join_names(self.names)}",
                    found=join_names([one_line(name, 40) for name in step]) or "none",
                )
            return [step.get(name) for name in self.names]
        row = list(step) if isinstance(step, list | tuple | np.ndarray) else [step]
        if len(row) != len(self.categories):
            raise DataError(where=f"step {number}", expected=f"{len(self.categories)} values", found=len(row))
        return row

    def encode(self, rows: Sequence[Sequence[Any]]) -> NDArray[np.float32]:
        """Return rows of cells as coded steps, (T, F).

        Raises:
            DataError: If a cell is of another kind than its feature; names the step.
        """
        encoded = np.empty((len(rows), len(self.categories)))
        for place, row in enumerate(rows):
            for feature, (cell, codes) in enumerate(zip(row, self._codes, strict=True)):
                try:
                    encoded[place, feature] = number_of(cell, None) if codes is None else _code(cell, codes)
                except DataError as error:
                    raise DataError(f"step {place + 1}, {self._column(feature)}: {error}") from None
        return to_float32(encoded)

    def _column(self, feature: int) -> str:
        return f"column {one_line(self.names[feature])}" if self.names else f"feature {feature}"

    def unknown(self, steps: NDArray[np.float32]) -> int:
        """Return how many categories of coded steps (T, F) no network knows."""
        chosen = [feature for feature, codes in enumerate(self._codes) if codes is not None]
        return int((steps[:, chosen] == UNKNOWN).sum())


def _code(cell: Any, codes: Mapping[str, int]) -> int:
    if cell is None or isinstance(cell, str):
        return codes.get(cell or "", UNKNOWN)
    raise DataError(expected="the name of a category", found=f"{one_line(cell, 40)}")


def texts_of_program(values: Any, form: Preprocessing) -> MemorySource:
    """Return the texts that a program gives to a model of texts.

    Raises:
        DataError: If `values` are something else, or a text has no tokens; names it.
    """
    texts = listed_texts(values)
    if texts is None:
        found = "one text" if isinstance(values, str) else type(values).__name__
        remedy = "give a list: model.predict([text])" if isinstance(values, str) else None
        raise DataError(where="the given values", expected="a list of texts", found=found, remedy=remedy)
    return text_source(text_list(texts), form.settings)
