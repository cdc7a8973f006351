"""A loaded model: arrays, pictures or picture files in, answers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scanline import bundle as bundles
from scanline.bundle import Bundle
from scanline.data.images import read_picture
from scanline.data.prepare import PictureFormat, prepare_picture
from scanline.data.sequences import Sequences, full_length
from scanline.data.views import cut_steps
from scanline.errors import DataError, UsageError
from scanline.evaluation.metrics import judge
from scanline.model.inference import predict_logits, softmax
from scanline.run.folder import find_bundle


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier, as `scanline.load` gives it.

    bundle: the network with its class names and input.
    """

    bundle: Bundle

    @property
    def classes(self) -> NDArray[Any]:
        """(K,) class names, in the order of the columns of `predict_proba`."""
        return np.asarray(self.bundle.classes)

    def predict(self, values: ArrayLike) -> NDArray[Any]:
        """(N,) class names, one for each picture or sequence. `values`: as for `predict_proba`."""
        answers: NDArray[Any] = self.classes[self._logits(values).argmax(1)]
        return answers

    def predict_proba(self, values: ArrayLike) -> NDArray[np.float64]:
        """(N, K) probabilities.

        values: (N, T, F), or (T, F) for a single one. For a model of pictures they are (N, height, width):
        whole numbers are grey levels as in the training data (0 to 255 for MNIST), floating-point numbers
        are 0 to 1. They are taken as they are: light ink on black, in place, as the training pictures are;
        `prepare` makes them of others.
        Raises DataError naming the expected and the found shape, or a value out of range.
        """
        return softmax(self._logits(values))

    def prepare(self, path: str | Path) -> NDArray[np.uint8]:
        """(height, width) grey levels: what the network sees of the picture file `path`.

        Raises DataError if it is no picture, UsageError if the model reads no pictures.
        """
        return prepare_picture(read_picture(Path(path)), self._picture(), str(path))

    def evaluate(self, part: Sequences) -> dict[str, Any]:
        """The figures of `scanline.evaluation.metrics.judge` on labelled sequences."""
        part = self.fit(part)
        return judge(predict_logits(self.bundle.classifier, part), part.labels, self.bundle.classes)

    def fit(self, part: Sequences) -> Sequences:
        """`part` with this model's steps and class indices.

        Raises DataError naming classes that the model does not know, or both shapes if they differ.
        """
        self._check_shape(part.values.shape, part.source)
        part = cut_steps(part, self.bundle.classifier.architecture.input_size)
        known = {name: index for index, name in enumerate(self.bundle.classes)}
        strange = [name for name in part.classes if name not in known]
        if strange:
            raise DataError(
                f"{part.source} has classes that the model does not know: {_some(strange)}; "
                f"the model was trained on {self.bundle.data} and knows {_some(self.bundle.classes)}"
            )
        index = np.array([known[name] for name in part.classes], dtype=np.int64)
        return Sequences(part.values, part.lengths, index[part.labels], self.bundle.classes, part.source)

    def _picture(self) -> PictureFormat:
        if self.bundle.picture is None:
            raise UsageError(
                f"this model reads sequences of {self.bundle.classifier.architecture.input_size} features, "
                f"not pictures; it was trained on {self.bundle.data}"
            )
        return self.bundle.picture

    def _logits(self, values: ArrayLike) -> NDArray[np.float32]:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise DataError(f"expected an array, found rows of different lengths ({error})") from error
        if array.dtype.kind not in "biuf":
            raise DataError(f"expected an array of numbers, found {array.dtype}")
        if array.ndim == 2:
            array = array[None]
        self._check_shape(array.shape, "the given values")
        form = self.bundle.picture
        if form and array.dtype.kind != "f" and not ((array >= 0) & (array <= form.levels)).all():
            raise DataError(
                f"pictures of whole numbers must be 0 to {form.levels}, found {array.min()} to {array.max()}"
            )
        if form and array.dtype.kind == "f":
            if not ((array >= 0) & (array <= 1)).all():
                raise DataError(
                    "pictures of floating-point numbers must be 0 to 1; "
                    f"give grey levels 0 to {form.levels} as whole numbers"
                )
            array = array * form.levels
        if not np.isfinite(array).all():
            raise DataError("expected finite values, found NaN or infinity")
        array = array.astype(np.float32)
        # Labels are not known here: zeros stand in for them and are not looked at.
        part = full_length(array, np.zeros(len(array)), self.bundle.classes, "the given values")
        return predict_logits(
            self.bundle.classifier, cut_steps(part, self.bundle.classifier.architecture.input_size)
        )

    def _check_shape(self, found: tuple[int, ...], source: str) -> None:
        form, width = self.bundle.picture, self.bundle.classifier.architecture.input_size
        expected = ("N", form.height, form.width) if form else ("N", "steps", width)
        fits = found[1:] == expected[1:] if form else found[2:] == expected[2:]
        if len(found) != 3 or 0 in found or not fits:
            raise DataError(
                f"{source}: expected shape ({', '.join(map(str, expected))}), found {found}; "
                f"the model was trained on {self.bundle.data}"
            )


def _some(names: list[Any] | tuple[Any, ...]) -> str:
    shown = ", ".join(str(name) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def load(run: str | Path, device: str = "cpu") -> Model:
    """The model of a run folder, or of a bundle (`runs/<name>/model`), on `device`.

    Raises ModelError naming what is missing or damaged.
    """
    return Model(bundles.load(find_bundle(Path(run)), device))
