"""Values that a Python program gives to a model, as the network's steps."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data import catalogue
from scanline.data.checks import check_values
from scanline.data.data_frames import is_frame, read_long, to_frame
from scanline.data.memory import MemorySource
from scanline.data.padding import without_padding
from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import Arrays, as_numbers, from_arrays
from scanline.data.readers.frames import column_names
from scanline.data.readers.recordings import read_recording
from scanline.data.reading import TO_EVALUATE, TO_PREDICT
from scanline.data.source import SequenceSource
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError, UsageError, one_line
from scanline.formats.images import read_pixels
from scanline.python_terms import python_terms
from scanline.recipe import DEFAULT_DATA

_PLAIN_VALUES = 2**17  # more are read in the usual way, which takes no longer then
_SETTINGS = DEFAULT_DATA.model_copy(update={"picture": "none"})


def read_values(values: Any, lengths: Any, preprocessing: Preprocessing, trained_on: str) -> MemorySource:
    """Check the values given to `Model.predict` and apply the model's preprocessing to them.

    Args:
        values: Sequences or pictures, as for `Model.predict_proba`.
        lengths: (N,) number of real steps of padded values, or None.
        preprocessing: The model's.
        trained_on: Name of the data that the model was trained on, for messages.

    Raises:
        DataError: If shape or values do not fit; names both the expected and the actual.
        UsageError: If pictures are given with lengths.
    """
    if isinstance(values, str | os.PathLike):
        raise UsageError(
            f"expected values, got the name {one_line(values)!r}: read a picture or a WAV file with "
            "model.prepare(path); model.evaluate(name) reads a data set; `scanline predict` reads files"
        )
    with python_terms():
        table = read_long(values, preprocessing.settings, TO_PREDICT)
    if table is not None:
        preprocessing.check(table.shape, table.name, trained_on)
        check_values(table, preprocessing.missing != "error", trained=True)
        return preprocessing.prepare(table)
    if preprocessing.picture:
        if lengths is not None:
            raise UsageError("lengths must be None for a model of pictures")
        values = _grey_levels(values, preprocessing.picture, trained_on)
    elif preprocessing.sample_rate:
        values = _as_batch(values, preprocessing)
    elif getattr(values, "ndim", 0) == 2 and preprocessing.source_features > 1:
        values = [values] if column_names(values) else values[None]  # a single sequence
    settings = preprocessing.settings
    names = {"step_columns": settings.step_columns, "feature_columns": settings.feature_columns}
    with python_terms():
        source = from_arrays(values, lengths=lengths, settings=_SETTINGS.model_copy(update=names))
        preprocessing.check(source.shape, source.name, trained_on)
        if not preprocessing.picture:
            source = without_padding(source, preprocessing.settings.pad_value)
        check_values(source, preprocessing.missing != "error", trained=True)
    return preprocessing.prepare(source)


def _as_batch(values: Any, preprocessing: Preprocessing) -> Any:
    """Return one recording, as samples (S,) or (S, 1) or as log-mel steps (T, F), as a batch of one."""
    shape: tuple[int, ...] = getattr(values, "shape", ())
    if len(shape) == 1 and getattr(values, "dtype", None) != np.dtype(object):
        return values[None, :, None]
    single = len(shape) == 2 and shape[1] in (preprocessing.source_features, preprocessing.features)
    return values[None] if single else values


def plain_steps(
    values: Any, preprocessing: Preprocessing, trained_on: str
) -> tuple[NDArray[np.float32], int] | None:
    """Return arrays that need no preprocessing, as `read_values` would, but with few operations.

    Args:
        values: As for `read_values`.
        preprocessing: The model's.
        trained_on: Name of the data that the model was trained on, for messages.

    Returns:
        The steps of all sequences, (N*T, F), and T; None if `read_values` has to read the values.

    Raises:
        DataError: If pictures do not fit; names both the expected and the actual.
    """
    F, padding = preprocessing.features, preprocessing.settings.pad_value
    if preprocessing.vocabularies or preprocessing.windows is not None:
        return None
    if type(values) is not np.ndarray or preprocessing.source_features != F or values.size > _PLAIN_VALUES:
        return None
    if preprocessing.picture:
        if preprocessing.view != "rows":
            return None
        values = _grey_levels(values, preprocessing.picture, trained_on)
        return values.reshape(-1, F), values.shape[1]
    plain = values.dtype == np.float32 and values.ndim in (2, 3) and 0 not in values.shape
    if not plain or values.shape[-1] != F or F == 1 or padding not in ("", "none"):
        return None
    # The sum finds NaN and infinity in one pass. It may also overflow: `read_values` tells them apart.
    if not math.isfinite(np.add.reduce(values, axis=None)):
        return None
    return values.reshape(-1, F), values.shape[-2]


def prepare_file(path: Path, preprocessing: Preprocessing, trained_on: str) -> NDArray[Any]:
    """Return a picture or a WAV file as `Model.prepare` does, and with its errors."""
    if preprocessing.sample_rate:
        return preprocessing.prepare(read_recording(path, preprocessing.settings)).concatenated
    form = preprocessing.picture
    if form is None:
        raise UsageError(
            f"this model reads sequences of {preprocessing.source_features} features, neither pictures nor "
            f"recordings; it was trained on {trained_on}"
        )
    pixels = read_pixels(path, form.channels == 3, preprocessing.settings.white)
    seen = fit_picture(pixels, form, str(path))
    return seen.reshape(form.height, form.width, 3) if form.channels == 3 else seen


def read_targets(values: Any, preprocessing: Preprocessing) -> SequenceSource:
    """Return the sequences with targets that are given to `Model.evaluate`, as they were read.

    Args:
        values: A source; arrays with labels; or the name or path of a data set, of which the test split is
            taken, or all if it has no splits.
        preprocessing: The model's.

    Raises:
        UsageError: If `values` are something else.
        DataError: If the data cannot be read.
    """
    if isinstance(values, SequenceSource):
        return values
    if is_frame(values):
        with python_terms():
            source = to_frame(values).read(preprocessing.settings, TO_EVALUATE)
            check_values(source, preprocessing.missing != "error", trained=True)
            return source
    if not isinstance(values, str | os.PathLike | Arrays):
        raise UsageError(
            "expected scanline.Arrays(values, labels), a data frame, or the name or path of a data set, "
            f"got {type(values).__name__}"
        )
    given = values if isinstance(values, Arrays) else os.fspath(values)
    known = isinstance(given, str) and given in catalogue.names()
    settings = DEFAULT_DATA if known else preprocessing.settings
    with python_terms():
        dataset = catalogue.read(given, settings, optional=TO_EVALUATE)
        return dataset.evaluation_source(preprocessing.missing)


def check_source(source: object) -> None:
    """Raise UsageError if `source` is not sequences of `scanline.data`."""
    if not isinstance(source, SequenceSource):
        raise UsageError(
            f"expected sequences of scanline.data, got {type(source).__name__}: predict takes arrays, "
            "evaluate takes names and paths of data sets"
        )


def _grey_levels(values: Any, picture: PictureFormat, trained_on: str) -> NDArray[np.float32]:
    """(N, height, width * channels) pixels from 0 to `picture.levels`; floats are fractions of it.

    Booleans are black and white.
    """
    array = as_numbers(values, "the given values")
    shape = (picture.height, picture.width) + ((3,) if picture.channels == 3 else ())
    if array.shape == shape:
        array = array[None]
    if array.shape[1:] != shape or 0 in array.shape:
        raise DataError(
            f"the given values: expected shape (N, {', '.join(map(str, shape))}), got {array.shape}; "
            f"the model was trained on {trained_on}"
        )
    array = array.reshape(len(array), picture.height, -1)
    if array.dtype.kind == "b":
        return array.astype(np.float32) * np.float32(picture.levels)
    if array.dtype.kind != "f":
        if not ((array >= 0) & (array <= picture.levels)).all():
            raise DataError(
                f"the given values: expected integers from 0 to {picture.levels}, "
                f"got {array.min()} to {array.max()}"
            )
        return array.astype(np.float32)
    if not ((array >= 0) & (array <= 1)).all():
        raise DataError(
            "the given values: expected floating-point numbers from 0 to 1; "
            f"give grey levels from 0 to {picture.levels} as integers"
        )
    return (array * picture.levels).astype(np.float32)
