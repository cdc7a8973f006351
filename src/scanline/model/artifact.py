"""Trained models: what all of them offer, and the model of one network."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from scanline.data.labels import class_array
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import Arrays
from scanline.data.source import ClassName, SequenceSource
from scanline.errors import ModelError, printable
from scanline.metrics.results import Metrics
from scanline.model import model_files
from scanline.model.card import model_card
from scanline.model.category_inputs import read_categories
from scanline.model.description import PRINTED, SCHEMA, Description, Provenance, TaskState
from scanline.model.inputs import check_source, plain_steps, prepare_file, read_targets, read_values
from scanline.model.joining import Joining
from scanline.model.model_files import DESCRIPTION, WEIGHTS, build, describe_tensors
from scanline.model.network import Network
from scanline.model.prediction import Prediction, split_steps
from scanline.model.predictor import Predictor
from scanline.model.session import PredictionSession, Session
from scanline.model.summary import network_line, summarise
from scanline.python_terms import python_terms
from scanline.tasks import Task, require_sequences
from scanline.version import __version__


class TrainedModel(ABC):
    """A trained model with everything that prediction needs: one network, or an ensemble.

    `print(model)` shows the network, the task and the provenance.

    Attributes:
        task: What it predicts.
        preprocessing: How sequences as read become what `outputs` takes, its steps.
        data: Name or path of the dataset it was trained on.
        temperature: Number by which outputs are divided to calibrate the probabilities; None if there was no
            validation split to fit it on.
        provenance: Recipe, seed, digests of the data, test accuracy, licence.
        calibrated: Whether probabilities are calibrated. Predictions are the same either way.
    """

    task: Task
    preprocessing: Preprocessing
    data: str
    temperature: float | None
    provenance: Provenance
    calibrated: bool

    def __repr__(self) -> str:
        return summarise(
            self._networks_line(), self.task, self.preprocessing, self.view, self.data, self.provenance
        )

    @abstractmethod
    def _networks_line(self) -> str:
        """Return the first line of the summary."""

    # --- loading and saving

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Read the model in `folder`.

        Args:
            folder: A model folder; `scanline.load` accepts run directories too.
            device: "cpu" or "cuda".

        Raises:
            ModelError: If a file is missing or damaged; names the file and the fault.
        """

    @abstractmethod
    def describe(self, version: str = __version__) -> BaseModel:
        """Return the content of `model.json`; `version` is the version of Scanline recorded in it."""

    @abstractmethod
    def save(self, folder: Path, version: str = __version__) -> None:
        """Write the model to `folder`, whole or not at all, replacing what is there."""

    def to_bytes(self, version: str = __version__) -> dict[str, bytes]:
        """Return the content of the model's files, by name."""
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            self.save(saved, version)
            return {name: (saved / name).read_bytes() for name in self._file_names()}

    def _file_names(self) -> tuple[str, ...]:
        """Return the names of the files that loading needs."""
        return DESCRIPTION, WEIGHTS

    @classmethod
    def from_bytes(cls, files: Mapping[str, bytes], device: str = "cpu") -> Self:
        """Read what `to_bytes` returned. Raises ModelError as `load` does."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                # Only the names that `to_bytes` writes: others could lead out of the folder.
                if re.fullmatch(model_files.FILE_NAME, name):
                    path = Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            try:
                return cls.load(Path(folder), device)
            except ModelError as error:
                raise ModelError(str(error).replace(f"{folder}/", "")) from None

    # --- the networks

    @property
    @abstractmethod
    def models(self) -> tuple[Model, ...]:
        """The models of one network that the predictions come from: itself, or the members of an ensemble."""

    @property
    @abstractmethod
    def short_name(self) -> str:
        """The model in a few words, as in a table: "2 x lstm 64, bidirectional"."""

    @abstractmethod
    def one_network(self, what: str) -> Model:
        """Return the model of one network that `what` needs.

        Args:
            what: What needs it, for the message: "an attribution".

        Raises:
            UsageError: If this is an ensemble; says what to do instead.
        """

    @property
    def view(self) -> str | None:
        """How pictures are cut into steps, in words; None if the model reads no pictures."""
        views = dict.fromkeys(model.preprocessing.view for model in self.models)
        return None if self.preprocessing.picture is None else ", ".join(views)

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(model.network.parameter_count for model in self.models)

    @property
    def device(self) -> str:
        """Where it computes: "cpu" or "cuda"."""
        return self.models[0].network.scale.device.type

    # --- prediction for values of a program

    @property
    def class_names(self) -> tuple[ClassName, ...]:
        """The names of the columns of `predict_proba`: for a classification the K class names."""
        return self.task.output_names

    @property
    def classes(self) -> NDArray[Any]:
        """(K,) class names, in the order of the columns of `predict_proba`."""
        return class_array(self.task.output_names)

    def predict(self, values: Any, lengths: Any = None) -> NDArray[Any]:
        """Return the predictions (N,), for steps N arrays (T_i,); for the arguments see `predict_proba`."""
        if self.task.per_step:
            steps = self.read(values, lengths)
            return split_steps(self.task.predict(self.outputs(steps)), steps.lengths)
        return self.task.predict(self._outputs_of(values, lengths))

    def predict_proba(self, values: Any, lengths: Any = None) -> NDArray[np.float64]:
        """Return the class probabilities.

        Args:
            values: (N, T, F), a list of N arrays (T_i, F), or (T, F) for a single sequence; (N, T) if the
                model reads one feature. For a model of pictures (N, height, width), or (N, height, width, 3)
                in colour: integers are grey levels as in the training data (0 to 255 for MNIST), floats are
                0 to 1, booleans black and white. Pictures must look like the training pictures, for MNIST
                light ink on black, centred; `prepare` makes them from picture files. For a model of
                recordings samples from -1 to 1 at its rate, (S,) or a list of such, or the steps that
                `prepare` returns. For a model of texts a list of texts; with categories a list of
                sequences of steps, each a list of cells or a dictionary, or a long data frame.
            lengths: (N,) number of real steps of padded values; the others are not read.

        Returns:
            (N, K) probabilities; if the task predicts each step, an object array of N arrays (T_i, K).

        Raises:
            DataError: If a shape or a value does not fit; names the expected and the actual one.
        """
        steps = self.read(values, lengths)
        probabilities = self._computed(steps)[1]
        return split_steps(probabilities, steps.lengths) if self.task.per_step else probabilities

    def _outputs_of(self, values: Any, lengths: Any) -> NDArray[Any]:
        """Return the outputs (N, M) for values as for `predict_proba`."""
        return self.outputs(self.read(values, lengths))

    def prediction(self, values: Any, lengths: Any = None) -> Prediction:
        """Return predictions and probabilities as one object that displays itself in a notebook.

        For the arguments see `predict_proba`. Raises UsageError if the task predicts each step.
        """
        require_sequences(self.task, "Model.prediction")
        source = self.read(values, lengths)
        form, pictures = self.preprocessing, None
        if form.picture is not None:
            steps = source.values
            pictures = [picture for each in steps if (picture := form.as_picture(each)) is not None]
        outputs, probabilities = self._computed(source)
        labels = self.task.predict(outputs)
        if labels.ndim > 1:  # several classes, or none
            labels = np.array(self.task.labels(outputs), dtype=object)
        return Prediction(labels, probabilities, self.classes, pictures)

    def prepare(self, path: str | Path) -> NDArray[Any]:
        """Return a picture or a WAV file as values for `predict_proba`.

        Returns:
            Of a picture its grey levels (height, width) or (height, width, 3), as the network reads them; of
            a recording its log-mel steps (T, F), or its samples (S, 1) for an ensemble, whose members have
            steps of their own.

        Raises:
            DataError: If the file is not a picture or a WAV file, or is a recording of another rate.
            UsageError: If the model reads neither pictures nor recordings.
        """
        return prepare_file(Path(path), self.preprocessing, self.data)

    @abstractmethod
    def with_reading(self, **settings: str | int) -> Self:
        """Return the same model, which reads files of another dialect than those of its training.

        Args:
            settings: `separator`, `decimal`, `encoding`, `time_format`, `white` or `resample`, as in the
                recipe's section "data"; others stay as they are.

        Raises:
            UsageError: If a setting is not one of them, or a value is not legal.
        """

    def read(self, values: Any, lengths: Any = None) -> MemorySource:
        """Return values, as for `predict_proba`, as the model's steps."""
        forms = [each.preprocessing for each in self.models]
        if any(form.vocabularies for form in forms):
            return read_categories(values, lengths, self.preprocessing, forms)
        return read_values(values, lengths, self.preprocessing, self.data)

    # --- step by step

    @abstractmethod
    def stream(self, sessions: int | None = None) -> PredictionSession:
        """Return a session that reads steps as they arrive and predicts after each.

        Args:
            sessions: Number of sequences read in parallel; None for a single one.

        Raises:
            UsageError: If the model has to know the end of a sequence before it can read its beginning.
        """

    @abstractmethod
    def resume(self, content: bytes) -> PredictionSession:
        """Return the session saved by its `to_bytes`.

        Raises:
            ModelError: If the content is damaged, or belongs to another model.
        """

    # --- sources of `scanline.data`

    @property
    def divisor(self) -> float:
        """Divisor of the outputs: the temperature if the model is calibrated, otherwise 1."""
        return (self.temperature or 1.0) if self.calibrated else 1.0

    @abstractmethod
    def outputs(self, source: SequenceSource) -> NDArray[Any]:
        """Return the outputs (N, M), or (S, M) of the steps, divided by `divisor`.

        Args:
            source: Sequences as `steps` returns them.
        """

    @abstractmethod
    def combined(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the uncalibrated outputs (N, M) for those of the network of each of `models`."""

    def probabilities_of_steps(self, steps: SequenceSource) -> NDArray[np.float64]:
        """Return the probabilities (N, M), or (S, M) of the steps, for sequences as `steps` returns them."""
        return self._computed(steps)[1]

    def _computed(self, steps: SequenceSource) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the outputs and the probabilities, (N, M) or (S, M) each."""
        outputs = self.outputs(steps)
        return outputs, self.task.probabilities(outputs)

    def probabilities(self, source: SequenceSource) -> NDArray[np.float64]:
        """Return the probabilities, (N, M) or (S, M), of sequences as they were read, targets or not."""
        return self.probabilities_of_steps(self.steps(source))

    def steps(self, source: SequenceSource) -> SequenceSource:
        """Return sequences, as they were read, as the model's steps. Raises DataError for another shape."""
        check_source(source)
        self.preprocessing.check(source.shape, source.name, self.data)
        return self.preprocessing.prepare(source)

    def unknown(self, steps: SequenceSource) -> tuple[int, int]:
        """Return how many categories the model does not know, and how many there are in all.

        Missing ones are not counted, and the sequences are those that `steps` returns. An ensemble counts
        those that its first member does not know. (0, 0) for a model without categories.
        """
        own, first = self.preprocessing, self.models[0].preprocessing
        if not first.vocabularies:
            return 0, 0
        return first.unknown(steps if own is first else first.prepare(steps))

    def with_targets(self, steps: SequenceSource) -> SequenceSource:
        """Return the model's steps with the task's targets. Raises DataError for an unknown target."""
        return self.task.align(steps, f"the model trained on {self.data}")

    def align(self, source: SequenceSource) -> SequenceSource:
        """Return sequences with targets, as they were read, as the model's steps with the task's targets.

        Raises:
            DataError: If the shape does not fit, or a target is unknown to the task; names them.
        """
        return self.with_targets(self.steps(source))

    def evaluate(self, data: SequenceSource | Arrays | str | PathLike[str]) -> Metrics:
        """Return the metrics of the task on sequences with targets.

        Args:
            data: `scanline.Arrays(values, labels)`, or the name or path of a data set: its test split is
                taken, or all of it if it has no splits. It should hold none of the training sequences;
                `scanline evaluate` finds the test split of the training data.

        Raises:
            UsageError: If `data` is something else.
            DataError: If it cannot be read or does not fit the model.
        """
        with python_terms():
            source = self.align(read_targets(data, self.preprocessing))
        return self.task.metrics(self.outputs(source), source)


@dataclass(frozen=True, eq=False, repr=False)
class Model(TrainedModel):
    """A trained model of one network; its steps are those that the network reads.

    Attributes:
        network: The trained network.
    """

    network: Network
    task: Task
    preprocessing: Preprocessing
    data: str
    temperature: float | None = None
    provenance: Provenance = field(default_factory=Provenance)
    calibrated: bool = False

    def _networks_line(self) -> str:
        return network_line(self.network)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Model:
        """Read the model in `folder`, see `TrainedModel.load`."""
        description, task, tensors = model_files.read(folder)
        network = build(description.architecture, tensors, folder / WEIGHTS).to(device).eval()
        made = description
        return cls(network, task, made.input, made.data, made.temperature, made.provenance)

    def describe(self, version: str = __version__) -> Description:
        """Return the content of `model.json`; `version` is the version of Scanline recorded in it."""
        texts = {name: printable(getattr(self.provenance, name)) for name in PRINTED}
        return Description(
            schema_=SCHEMA,
            scanline=version,
            architecture=self.network.architecture,
            task=TaskState(name=self.task.name, state=self.task.to_json()),
            input=self.preprocessing,
            data=printable(self.data),
            temperature=self.temperature,
            provenance=self.provenance.model_copy(update=texts),
            tensors=describe_tensors(self.network.state_dict()),
        )

    def save(self, folder: Path, version: str = __version__) -> None:
        """Write the model to `folder`, whole or not at all, replacing what is there."""
        description = self.describe(version)
        card = model_card(description, self.task, self.data, self.network.parameter_count)
        model_files.write(folder, description, self.network.state_dict(), card)

    @property
    def models(self) -> tuple[Model, ...]:
        """The model itself."""
        return (self,)

    @property
    def short_name(self) -> str:
        """Layers, cell and units."""
        a = self.network.architecture
        return f"{a.layers} x {a.cell} {a.hidden_size}{', bidirectional' if a.bidirectional else ''}"

    def one_network(self, what: str) -> Model:
        """Return the model itself."""
        return self

    def predict_proba(self, values: Any, lengths: Any = None) -> NDArray[np.float64]:
        """Return the class probabilities (N, K), see `TrainedModel.predict_proba`."""
        if self.task.per_step:
            return super().predict_proba(values, lengths)
        return self.task.probabilities(self._outputs_of(values, lengths))

    def _outputs_of(self, values: Any, lengths: Any) -> NDArray[np.float32]:
        """Return the outputs (N, M) for values as for `predict_proba`; arrays skip what they do not need."""
        plain = plain_steps(values, self.preprocessing, self.data) if lengths is None else None
        native = self._predictor.native() if plain is not None else None
        if plain is None or native is None or not native.form.head:
            return self.outputs(self.read(values, lengths))
        steps, length = plain
        return self._calibrate(native.outputs(steps, np.full(len(steps) // length, length, np.int64)))

    def _calibrate(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        divisor = self.divisor
        return outputs if divisor == 1 else outputs / np.float32(divisor)

    def with_reading(self, **settings: str | int) -> Model:
        """Return the same model, which reads files of another dialect; see `TrainedModel.with_reading`."""
        return replace(self, preprocessing=self.preprocessing.with_reading(settings))

    def stream(self, sessions: int | None = None) -> Session:
        """Return a session that reads steps as they arrive, see `TrainedModel.stream`."""
        native = self._predictor.native()
        return Session(self.network, self.task, self.preprocessing, sessions, self.divisor, native)

    def resume(self, content: bytes) -> Session:
        """Return the session saved by `Session.to_bytes`, see `TrainedModel.resume`."""
        native = self._predictor.native()
        return Session.from_bytes(self.network, self.task, self.preprocessing, content, native)

    @cached_property
    def _predictor(self) -> Predictor:
        """The predictor of this network, which keeps its packed weights."""
        windows = self.preprocessing.windows
        return Predictor(self.network, joining=None if windows is None else Joining(windows, self.task))

    def outputs(self, source: SequenceSource) -> NDArray[np.float32]:
        """Return the outputs (N, M) for sequences that are the network's steps, divided by `divisor`."""
        check_source(source)
        return self._calibrate(self._predictor.outputs(source))

    def combined(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the outputs of the only network."""
        (own,) = outputs
        return own
