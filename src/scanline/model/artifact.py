"""A loaded model: arrays, pictures or picture files in, answers out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import check_values, some
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import as_numbers, from_arrays
from scanline.data.source import ClassName
from scanline.data.transforms.framing import fit_picture
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import DataError, ModelError, UsageError, printable
from scanline.formats.images import read_pixels
from scanline.metrics.classification import classification_metrics
from scanline.metrics.probabilities import softmax
from scanline.model import model_files
from scanline.model.card import model_card
from scanline.model.inference import predict_logits
from scanline.model.model_files import (
    DESCRIPTION,
    REMEDY,
    SCHEMA,
    TEXTS,
    WEIGHTS,
    Description,
    History,
    TensorDigest,
    build,
    describe_tensors,
    find_model,
)
from scanline.model.network import Network
from scanline.model.prediction import Prediction
from scanline.model.session import Session
from scanline.recipe import UNSAID
from scanline.version import __version__


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with all that prediction needs, as `scanline.load` gives it.

    Attributes:
        network: The trained network.
        class_names: The K class names.
        preprocessing: How sequences as read become the network's input.
        data: Name or path of the data set that it was trained on.
        temperature: Divisor of the logits that calibrates the probabilities; None if there was no
            validation split to fit it on.
        history: Provenance: recipe, seed, digests of the data, test accuracy, licence.
        calibrated: Whether probabilities are calibrated; the predicted classes are the same.
    """

    network: Network
    class_names: tuple[ClassName, ...]
    preprocessing: Preprocessing
    data: str
    temperature: float | None = None
    history: History = field(default_factory=History)
    calibrated: bool = False

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Model:
        """Read the model in `folder`.

        Args:
            folder: A model folder; `load` accepts run directories too.
            device: "cpu" or "cuda".

        Raises:
            ModelError: If a file is missing or damaged; names the file and the fault.
        """
        description, tensors = model_files.read(folder)
        network = build(description.architecture, tensors, folder / WEIGHTS).to(device).eval()
        return cls(
            network,
            tuple(description.classes),
            description.input,
            description.data,
            description.temperature,
            description.history,
        )

    def describe(self, version: str = __version__) -> Description:
        """Return the content of `model.json`. version: of Scanline, recorded in it."""
        history = self.history
        return Description(
            schema=SCHEMA,
            scanline=version,
            architecture=self.network.architecture,
            classes=list(self.class_names),
            input=self.preprocessing,
            data=printable(self.data),
            temperature=self.temperature,
            history=history.model_copy(update={name: printable(getattr(history, name)) for name in TEXTS}),
            tensors={
                name: TensorDigest(**value)
                for name, value in describe_tensors(self.network.state_dict()).items()
            },
        )

    def save(self, folder: Path, version: str = __version__) -> None:
        """Write the model to `folder`, whole or not at all, replacing what is there."""
        parameters = sum(weight.numel() for weight in self.network.parameters())
        description = self.describe(version)
        card = model_card(description, self.data, parameters)
        model_files.write(folder, description, self.network.state_dict(), card)

    def to_bytes(self, version: str = __version__) -> dict[str, bytes]:
        """Return the model's files by name, to be kept elsewhere."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / "model", version)
            return {name: (Path(folder) / "model" / name).read_bytes() for name in (DESCRIPTION, WEIGHTS)}

    @classmethod
    def from_bytes(cls, files: Mapping[str, bytes], device: str = "cpu") -> Model:
        """Read what `to_bytes` returned. Raises ModelError as `load` does."""
        with tempfile.TemporaryDirectory() as folder:
            for name in (DESCRIPTION, WEIGHTS):
                if name not in files:
                    raise ModelError(f"{name} is missing; {REMEDY}")
                (Path(folder) / name).write_bytes(files[name])
            return cls.load(Path(folder), device)

    @property
    def classes(self) -> NDArray[Any]:
        """(K,) class names, in the order of the columns of `predict_proba`."""
        return np.asarray(self.class_names)

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
        form, pictures = self.preprocessing, None
        if form.picture is not None:
            steps = part.values
            pictures = [picture for each in steps if (picture := form.as_picture(each)) is not None]
        return Prediction(softmax(self.logits(part)), self.classes, pictures)

    def stream(self, sessions: int | None = None) -> Session:
        """A session that is fed steps as they come, and answers after each.

        sessions: so many sequences side by side; None: one.
        Raises UsageError if the model has to know the end before it can read the beginning.
        """
        return Session(self.network, self.preprocessing, sessions, self.divisor)

    def resume(self, content: bytes) -> Session:
        """The session that `Session.to_bytes` saved. Raises ModelError if it is damaged or of another."""
        return Session.from_bytes(self.network, self.preprocessing, content)

    @property
    def divisor(self) -> float:
        """Divisor of the logits: the temperature if the probabilities are calibrated, otherwise 1."""
        return (self.temperature or 1.0) if self.calibrated else 1.0

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
        return predict_logits(self.network, part) / np.float32(self.divisor)

    def fit(self, part: MemorySource) -> MemorySource:
        """`part`, as it was read, with this model's steps and class indices.

        Raises DataError naming classes that the model does not know, or both shapes if they differ.
        """
        self.preprocessing.check(part.shape, part.name, self.data)
        known = {str(name): index for index, name in enumerate(self.class_names)}
        strange = [name for name in part.classes if str(name) not in known]
        if strange:
            raise DataError(
                f"{part.name} has classes that the model does not know: {some(strange)}; "
                f"the model was trained on {self.data} and knows {some(self.class_names)}"
            )
        index = np.array([known[str(name)] for name in part.classes], dtype=np.int64)
        return replace(
            self.preprocessing.prepare(part), targets=index[part.targets], classes=self.class_names
        )

    def answer(self, part: MemorySource) -> NDArray[np.float64]:
        """(N, K) probabilities for sequences as they were read, labelled or not."""
        self.preprocessing.check(part.shape, part.name, self.data)
        return softmax(self.logits(self.preprocessing.prepare(part)))

    def told(self, shares: NDArray[np.float64]) -> dict[str, Any]:
        """One answer out of probabilities (K,), ready for JSON: {"label", "probability", "probabilities" by
        class name}."""
        classes, best = self.class_names, int(shares.argmax())
        return {
            "label": classes[best],
            "probability": float(shares[best]),
            "probabilities": dict(zip(map(str, classes), shares.tolist(), strict=True)),
        }

    def _picture(self) -> PictureFormat:
        form = self.preprocessing.picture
        if form is None:
            raise UsageError(
                f"this model reads sequences of {self.preprocessing.source_features} features, "
                f"not pictures; it was trained on {self.data}"
            )
        return form

    def _logits(self, values: Any, lengths: Any) -> NDArray[np.float32]:
        return self.logits(self.read(values, lengths))

    def read(self, values: Any, lengths: Any = None) -> MemorySource:
        """`values`, as for `predict_proba`, as the network's steps."""
        form = self.preprocessing
        if form.picture:
            if lengths is not None:
                raise UsageError("pictures have no lengths: give none")
            values = _grey_levels(values, form.picture, self.data)
        elif getattr(values, "ndim", 0) == 2 and form.source_features > 1:
            values = values[None]  # a single sequence
        found = from_arrays(values, lengths=lengths, settings=_PLAIN)
        form.check(found.sequences.shape, found.sequences.name, self.data)
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
    path = find_model(Path(run))
    loaded = Model.load(path, device)
    if calibrated and loaded.temperature is None:
        raise ModelError(
            f"{path} has no temperature, as its training had no validation part to fit one on: "
            "leave calibration out"
        )
    return replace(loaded, calibrated=calibrated)
