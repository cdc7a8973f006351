"""A loaded model: arrays, pictures or picture files in, answers out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import check_values, some
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import as_numbers, from_arrays
from scanline.data.transforms.framing import fit_picture
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import DataError, ModelError, UsageError
from scanline.evaluation.prediction import Prediction
from scanline.formats.images import read_pixels
from scanline.metrics.classification import classification_metrics
from scanline.model import artifact as bundles
from scanline.model.artifact import Bundle
from scanline.model.inference import predict_logits, softmax
from scanline.model.session import Session
from scanline.recipe import UNSAID
from scanline.training.run_directory import find_bundle


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier, as `scanline.load` gives it.

    bundle: the network with its class names and input. calibrated: whether probabilities are those of the
    logits divided by the temperature that was fitted on the validation part; the answers are the same.
    """

    bundle: Bundle
    calibrated: bool = False

    @property
    def classes(self) -> NDArray[Any]:
        """(K,) class names, in the order of the columns of `predict_proba`."""
        return np.asarray(self.bundle.classes)

    def predict(self, values: Any, lengths: Any = None) -> NDArray[Any]:
        """(N,) class names, one for each sequence. `values`, `lengths`: as for `predict_proba`."""
        answers: NDArray[Any] = self.classes[self._logits(values, lengths).argmax(1)]
        return answers

    def predict_proba(self, values: Any, lengths: Any = None) -> NDArray[np.float64]:
        """(N, K) probabilities.

        values: (N, T, F), a list of N arrays (T_i, F), or (T, F) for a single one; where the model reads one
        feature (N, T) also. lengths: (N,), how many steps of padded values are real; the others are not read.
        For a model of pictures values are (N, height, width), with colours (N, height, width, 3): whole
        numbers are grey levels as in the training data (0 to 255 for MNIST), floating-point numbers are 0 to
        1. They are taken as they are: light ink on black, in place, as the training pictures are; `prepare`
        makes them of others.
        Raises DataError naming the expected and the found shape, or a value out of range.
        """
        return softmax(self._logits(values, lengths))

    def prediction(self, values: Any, lengths: Any = None) -> Prediction:
        """The answers with their probabilities, as one value that shows itself in a notebook.

        values, lengths: as for `predict_proba`.
        """
        part = self.read(values, lengths)
        form, pictures = self.bundle.form, None
        if form.picture is not None:
            steps = part.values
            pictures = [picture for each in steps if (picture := form.as_picture(each)) is not None]
        return Prediction(softmax(self.logits(part)), self.classes, pictures)

    def stream(self, sessions: int | None = None) -> Session:
        """A session that is fed steps as they come, and answers after each.

        sessions: so many sequences side by side; None: one.
        Raises UsageError if the model has to know the end before it can read the beginning.
        """
        return Session(self.bundle, sessions, self.temperature)

    def resume(self, content: bytes) -> Session:
        """The session that `Session.to_bytes` saved. Raises ModelError if it is damaged or of another."""
        return Session.from_bytes(self.bundle, content)

    @property
    def temperature(self) -> float:
        """By which logits are divided: 1 unless the probabilities are calibrated."""
        return (self.bundle.temperature or 1.0) if self.calibrated else 1.0

    def prepare(self, path: str | Path) -> NDArray[np.uint8]:
        """(height, width) grey levels, or (height, width, 3): what the network sees of a picture file.

        Raises DataError if it is no picture, UsageError if the model reads no pictures.
        """
        form = self._picture()
        seen = fit_picture(read_pixels(Path(path), form.channels == 3), form, str(path))
        return seen.reshape(form.height, form.width, 3) if form.channels == 3 else seen

    def evaluate(self, part: MemorySource) -> dict[str, Any]:
        """The figures of `scanline.metrics.classification.judge` on labelled sequences."""
        part = self.fit(part)
        return classification_metrics(self.logits(part), part)

    def logits(self, part: MemorySource) -> NDArray[np.float32]:
        """(N, K) for sequences that `fit` or the input form made ready; divided by the temperature if
        asked."""
        return predict_logits(self.bundle.classifier, part) / np.float32(self.temperature)

    def fit(self, part: MemorySource) -> MemorySource:
        """`part`, as it was read, with this model's steps and class indices.

        Raises DataError naming classes that the model does not know, or both shapes if they differ.
        """
        self.bundle.form.check(part.shape, part.source, self.bundle.data)
        known = {str(name): index for index, name in enumerate(self.bundle.classes)}
        strange = [name for name in part.classes if str(name) not in known]
        if strange:
            raise DataError(
                f"{part.source} has classes that the model does not know: {some(strange)}; "
                f"the model was trained on {self.bundle.data} and knows {some(self.bundle.classes)}"
            )
        index = np.array([known[str(name)] for name in part.classes], dtype=np.int64)
        return replace(self.bundle.form.prepare(part), labels=index[part.labels], classes=self.bundle.classes)

    def answer(self, part: MemorySource) -> NDArray[np.float64]:
        """(N, K) probabilities for sequences as they were read, labelled or not."""
        self.bundle.form.check(part.shape, part.source, self.bundle.data)
        return softmax(self.logits(self.bundle.form.prepare(part)))

    def told(self, shares: NDArray[np.float64]) -> dict[str, Any]:
        """One answer out of probabilities (K,), ready for JSON: {"label", "probability", "probabilities" by
        class name}."""
        classes, best = self.bundle.classes, int(shares.argmax())
        return {
            "label": classes[best],
            "probability": float(shares[best]),
            "probabilities": dict(zip(map(str, classes), shares.tolist(), strict=True)),
        }

    def _picture(self) -> PictureFormat:
        form = self.bundle.form.picture
        if form is None:
            raise UsageError(
                f"this model reads sequences of {self.bundle.form.source_features} features, "
                f"not pictures; it was trained on {self.bundle.data}"
            )
        return form

    def _logits(self, values: Any, lengths: Any) -> NDArray[np.float32]:
        return self.logits(self.read(values, lengths))

    def read(self, values: Any, lengths: Any = None) -> MemorySource:
        """`values`, as for `predict_proba`, as the network's steps."""
        form = self.bundle.form
        if form.picture:
            if lengths is not None:
                raise UsageError("pictures have no lengths: give none")
            values = _grey_levels(values, form.picture, self.bundle.data)
        elif getattr(values, "ndim", 0) == 2 and form.source_features > 1:
            values = values[None]  # a single sequence
        found = from_arrays(values, lengths=lengths, settings=_PLAIN)
        form.check(found.sequences.shape, found.sequences.source, self.bundle.data)
        check_values(found, form.missing != "error")
        return form.prepare(found.sequences)


_PLAIN = UNSAID.model_copy(update={"picture": "none"})


def _grey_levels(values: Any, form: PictureFormat, trained_on: str) -> NDArray[np.float32]:
    """(N, height, width x channels) pixels, 0 to form.levels, out of whole numbers or shares of 1."""
    array = as_numbers(values, "the given values")
    wanted = (form.height, form.width) + ((3,) if form.channels == 3 else ())
    if array.shape == wanted:
        array = array[None]
    if array.shape[1:] != wanted or 0 in array.shape:
        raise DataError(
            f"the given values: expected shape (N, {', '.join(map(str, wanted))}), found {array.shape}; "
            f"the model was trained on {trained_on}"
        )
    array = array.reshape(len(array), form.height, -1)
    if array.dtype.kind != "f":
        if not ((array >= 0) & (array <= form.levels)).all():
            raise DataError(
                f"pictures of whole numbers must be 0 to {form.levels}, found {array.min()} to {array.max()}"
            )
        return array.astype(np.float32)
    if not ((array >= 0) & (array <= 1)).all():
        raise DataError(
            "pictures of floating-point numbers must be 0 to 1; "
            f"give grey levels 0 to {form.levels} as whole numbers"
        )
    return (array * form.levels).astype(np.float32)


def load(run: str | Path, device: str = "cpu", calibrated: bool = False) -> Model:
    """The model of a run folder, or of a bundle (`runs/<name>/model`), on `device`.

    calibrated: as for `Model`.
    Raises ModelError naming what is missing or damaged, or that there is no temperature.
    """
    path = find_bundle(Path(run))
    loaded = bundles.load(path, device)
    if calibrated and loaded.temperature is None:
        raise ModelError(
            f"{path} has no temperature, as its training had no validation part to fit one on: "
            "leave calibration out"
        )
    return Model(loaded, calibrated)
