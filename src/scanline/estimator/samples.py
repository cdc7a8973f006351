"""Samples given to the estimators: checked as scikit-learn does, weighted, and as a `MemorySource`."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from scanline import recipe
from scanline.data.checks import check_values
from scanline.data.given_steps import texts_of_program
from scanline.data.labels import as_class_name
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import as_numbers, from_arrays
from scanline.data.readers.containers import unpacked
from scanline.data.readers.frames import column_names, match_frames
from scanline.data.readers.text_sources import listed_texts, text_list, text_source
from scanline.errors import DataError, ScanlineError
from scanline.estimator.categories import frames_source, has_names, table_source, with_sorted_names
from scanline.model.artifact import TrainedModel
from scanline.python_terms import in_python
from scanline.recipe import DEFAULT_DATA, DataSettings

NUMBERS, TEXTS, NAMES = "numbers", "texts", "categories"
TEXT_RECIPE = "text"
SETTINGS = DEFAULT_DATA.model_copy(update={"picture": "none"})


class SampleReader(BaseEstimator):
    """Base of the estimators: reads X and y, and sets `n_features_in_` and `feature_names_in_`.

    X is a table (n, T * features_per_step), an array (n, T, F), or a list of n arrays (T_i, F) or (T_i,). It
    may also be a list of n texts, or a data frame or a list of n data frames with names of categories.
    """

    features_per_step: int
    settings: Any
    _model: TrainedModel
    _feature_columns: tuple[str, ...]
    class_weight: Any
    classes_: NDArray[Any]
    _flat: bool  # whether X was a table in fit
    _width: int  # features of a step
    _reads = NUMBERS  # what X was in fit

    def _read_samples(self, X: Any, y: Any, reset: bool) -> tuple[MemorySource, NDArray[Any]]:
        """Return the sequences and labels of training samples. Raises ValueError if they do not fit."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        sequences = self._read_sequences(X, reset, y)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        check_consistent_length(sequences, labels)
        return sequences, labels

    def _read_numbers(self, X: Any, y: Any) -> tuple[MemorySource, NDArray[np.float64]]:
        """Return the sequences and targets of training samples of a regression, likewise."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        sequences = self._read_sequences(X, True, y)
        numbers: NDArray[np.float64] = check_array(
            column_or_1d(y, warn=True), ensure_2d=False, dtype=np.float64, input_name="y"
        )
        check_consistent_length(sequences, numbers)
        return sequences, numbers

    @staticmethod
    def _with_numbers(
        sequences: MemorySource, distinct: NDArray[np.float64], codes: NDArray[np.int64]
    ) -> MemorySource:
        """Return sequences with numbers as targets: `distinct[codes[i]]` is that of sequence i."""
        settings = (sequences.info.settings or SETTINGS).model_copy(update={"targets": "numbers"})
        return replace(
            sequences,
            targets=codes.reshape(-1).astype(np.int64),
            classes=tuple(distinct.tolist()),
            info=replace(sequences.info, settings=settings),
        )

    def _read_sequences(self, X: Any, reset: bool, y: Any = None) -> MemorySource:
        """Return X as sequences; `reset` sets what later calls must fit, otherwise X is compared with it."""
        if reset:
            self._reads = TEXTS if listed_texts(X) is not None else NAMES if has_names(X) else NUMBERS
        if self._reads != NUMBERS:
            try:
                return self._read_texts(X, reset) if self._reads == TEXTS else self._read_names(X, reset)
            except DataError as error:
                raise ValueError(in_python(str(error))) from error
        try:
            if isinstance(X, list | tuple):  # of frames: scikit-learn checks the columns of a single one
                known = () if reset else getattr(self, "_feature_columns", ())
                settings = SETTINGS.model_copy(update={"feature_columns": known})
                X, settings = match_frames(X, settings, "X")
                self._feature_columns = settings.feature_columns if reset else known
            X, is_table = _as_array(unpacked(X, "X"))
        except DataError as error:
            raise ValueError(str(error)) from error
        if not is_table:
            return self._read_steps(X, reset)
        if not reset and not self._flat:
            if self._width > 1:
                raise ValueError(
                    f"expected X of shape (n, T, {self._width}), or a list of (T, {self._width}) arrays, "
                    f"as in fit, got shape {np.shape(X)}"
                )
            return self._read_steps(X, reset)
        given = (X,) if y is None else (X, y)
        # scikit-learn's own validation raises the messages that its estimator checks expect.
        finite = "allow-nan" if self._allows_missing else True
        checked = validate_data(self, *given, reset=reset, dtype=np.float32, ensure_all_finite=finite)
        table = checked if y is None else checked[0]
        width = self.features_per_step
        if width < 1 or table.shape[1] % width:
            raise ValueError(f"features_per_step must divide the {table.shape[1]} columns of X, got {width}")
        if reset:
            self._flat, self._width = True, width
        # (n, T * F) to (n, T, F): the features of a step are adjacent columns.
        return _as_source(table.reshape(len(table), -1, width), self._allows_missing)

    def _refuse_names(self, what: str, remedy: str) -> None:
        """Raise ValueError if X holds texts or names of categories, which `what` does not read."""
        if self._reads != NUMBERS:
            raise ValueError(f"{what}: expected X of numbers, got {self._reads}; {remedy}")

    def _read_texts(self, X: Any, reset: bool) -> MemorySource:
        """Return texts as sequences of tokens."""
        if not reset:
            return texts_of_program(X, self._model.preprocessing)
        self._flat, self._width, self.n_features_in_ = False, 1, 1
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return with_sorted_names(text_source(text_list(listed_texts(X) or [], "X"), self._text_settings()))

    def _text_settings(self) -> DataSettings:
        """Return how texts are read, by the keys of `data` in `settings`."""
        given = {key: value for key, value in (self.settings or {}).items() if key.startswith("data.")}
        try:
            chosen = recipe.load(TEXT_RECIPE, given).data
        except ScanlineError as error:
            raise ValueError(str(error)) from error
        return chosen.model_copy(update={"picture": "none", "text_column": chosen.text_column or "text"})

    def _read_names(self, X: Any, reset: bool) -> MemorySource:
        """Return data frames with names of categories as sequences."""
        categorical = None if reset else [each.feature for each in self._model.preprocessing.vocabularies]
        if isinstance(X, list | tuple) if reset else not self._flat:
            known = () if reset else self._feature_columns
            X, settings = match_frames(X, SETTINGS.model_copy(update={"feature_columns": known}), "X")
            if not isinstance(X, list | tuple) or not all(column_names(frame) for frame in X):
                raise DataError(
                    where="X", expected="a list of data frames, as in fit", found=type(X).__name__
                )
            source = frames_source(X, settings, categorical)
            if reset:
                self._feature_columns, self._flat = settings.feature_columns, False
                self._width = self.n_features_in_ = source.features
        else:
            if not column_names(X):
                raise DataError(where="X", expected="a data frame, as in fit", found=type(X).__name__)
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            width, count = self.features_per_step, len(column_names(X))
            if width < 1 or count % width:
                raise ValueError(f"features_per_step must divide the {count} columns of X, got {width}")
            source = table_source(X, width, SETTINGS, categorical)
            self._flat, self._width = True, width
        check_values(source, self._allows_missing)
        return source

    @property
    def _allows_missing(self) -> bool:
        """Whether the settings say how NaN is replaced."""
        return bool((self.settings or {}).get("input.missing", "error") != "error")

    def _read_steps(self, X: Any, reset: bool) -> MemorySource:
        """Read an array (n, T, F) or a list of arrays (T_i, F)."""
        sequences = _as_source(X, self._allows_missing)
        width = sequences.features
        if reset:
            for note in sequences.info.notes:
                warnings.warn(in_python(note), stacklevel=3)
            self._flat, self._width, self.n_features_in_ = False, width, width
            # Left over from an earlier fit on a data frame; scikit-learn would compare later inputs with
            # it.
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        elif width != self._width:
            raise ValueError(
                f"X has steps of {width} features, but {type(self).__name__} is expecting {self._width} "
                "features as input"
            )
        return sequences

    def _weight_samples(
        self, sequences: MemorySource, codes: NDArray[np.int64], sample_weight: Any
    ) -> tuple[MemorySource, NDArray[np.float64]]:
        """Return the sequences whose weight is not 0, with targets, and these weights."""
        names = tuple(map(as_class_name, self.classes_))
        weights = self._weights_of(sequences, sample_weight)
        source = replace(sequences, targets=codes.reshape(-1).astype(np.int64), classes=names)
        if self.class_weight is not None:
            per_class = compute_class_weight(
                self.class_weight,
                classes=self.classes_,
                y=self.classes_[source.targets],
                **({} if sample_weight is None else {"sample_weight": weights}),
            )
            weights = weights * per_class[source.targets]
        return self._kept(source, weights)

    @staticmethod
    def _weights_of(sequences: MemorySource, sample_weight: Any) -> NDArray[np.float64]:
        """Return the weight of each sequence, (n,), without those of classes."""
        if sample_weight is None:
            return np.ones(len(sequences))
        weights: NDArray[np.float64] = _check_sample_weight(
            sample_weight, np.empty(len(sequences)), dtype=np.float64, ensure_non_negative=True
        )
        if not weights.any():
            raise ValueError("sample weights must not all be zero")
        return weights

    @staticmethod
    def _kept(source: MemorySource, weights: NDArray[np.float64]) -> tuple[MemorySource, NDArray[np.float64]]:
        """Return the sequences whose weight is not 0: others influence neither scaling nor batches."""
        kept = np.flatnonzero(weights > 0)
        return (source, weights) if len(kept) == len(source) else (source.take(kept), weights[kept])


def _as_source(X: Any, missing: bool) -> MemorySource:
    try:
        source = from_arrays(X, settings=SETTINGS, source="X")
        check_values(source, missing)
    except DataError as error:
        raise ValueError(in_python(str(error))) from error
    return source


def _as_array(X: Any) -> tuple[Any, bool]:
    """Return X, as one array if possible, and whether it is a table; otherwise it has a step axis."""
    # A torch tensor, recognised without importing torch.
    if hasattr(X, "detach"):
        X = as_numbers(X, "X")
    if isinstance(X, np.ndarray):
        if X.dtype != object or X.ndim != 1:
            return X, X.ndim != 3
        X = list(X)
    if not isinstance(X, list | tuple):
        return X, True
    try:
        array = np.asarray([as_numbers(each, "X") if hasattr(each, "detach") else each for each in X])
    except ValueError:  # of different lengths
        return X, False
    return (array, False) if array.ndim == 3 else (X, True)


def merge_duplicates(source: MemorySource, weights: NDArray[np.float64]) -> MemorySource:
    """Merge equal sequences of the same class into one with the sum of their weights, and sort all.

    The order of the samples then makes no difference, and a weight of 2 is the same as the sample twice.

    Args:
        source: Sequences with targets.
        weights: (n,) their weights.

    Returns:
        The sequences, sorted by a digest of their content. Their weights have mean 1, or are None if all are
        equal.
    """
    first: dict[bytes, int] = {}
    sums: dict[bytes, float] = {}
    for index in range(len(source)):
        label = b"%d" % source.targets[index]
        # The digest covers the values only, not the shape: all sequences have the same number of features.
        # The salt separates equal sequences of different classes.
        key = hashlib.blake2b(
            np.ascontiguousarray(source.steps_of(index)).data, digest_size=16, salt=label
        ).digest()
        first.setdefault(key, index)
        sums[key] = sums.get(key, 0.0) + float(weights[index])
    order = sorted(first)
    unique = source.take(np.array([first[key] for key in order]))
    merged = np.array([sums[key] for key in order])
    # Equal weights are dropped: scaling all weights by a constant then gives the same bits as no weights.
    if (merged == merged[0]).all():
        return unique
    return replace(unique, weights=(merged / merged.mean()).astype(np.float32))
