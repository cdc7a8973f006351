"""The scorer: from Arrow tables of sequences to Arrow tables of predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.packed.location import Location, is_uri
from scanline.errors import DataError, ModelError, UsageError
from scanline.limits import limit_of
from scanline.model.artifact import TrainedModel
from scanline.model.ensemble_files import names_beside
from scanline.model.loading import load
from scanline.model.model_files import DESCRIPTION, WEIGHTS, find_model
from scanline.model.predictor import similar_length_batches, to_device
from scanline.model.prefixes import first_confident_steps, outputs_by_step
from scanline.model.session import check_streamable
from scanline.scoring.columns import check_stop, predicted, require_pyarrow, score_schema, with_nulls
from scanline.scoring.sequences import Rows, prepare
from scanline.storage.digest import sha256
from scanline.tasks import DecodedPrediction, require_sequences

if TYPE_CHECKING:
    import pyarrow

MODEL = "model"  # folder of the model in a run directory
_MAX_NUMBERS = 2**23  # numbers at all steps of a batch, which bounds the memory of `stop_at`


def check_scorable(model: TrainedModel) -> None:
    """Check that a model can score tables of sequences.

    Args:
        model: The model.

    Raises:
        UsageError: If it predicts each step, or reads categories, static columns or features of the time.
    """
    require_sequences(model.task, "scoring")
    if model.preprocessing.vocabularies:
        raise UsageError(
            "scoring: expected a model that reads numbers, got one that reads categories; predict with "
            "`scanline predict` instead"
        )
    for what, there in (
        ("static columns", model.preprocessing.static),
        ("features of the time", model.preprocessing.time_kind),
    ):
        if there:
            raise UsageError(
                f"scoring: expected a model that reads steps as they are, got one with {what}; predict with "
                "`scanline predict` instead"
            )


@dataclass(frozen=True)
class Scorer:
    """Predicts for tables of sequences, with a model that is loaded on first use.

    Copies and pickles carry the path and the digest of the model, never its weights: a process that scores
    loads the model itself, and refuses another one.

    Attributes:
        path: The model folder: an absolute path or a URI.
        digest: SHA-256 of its `model.json`, which has a digest of every weight.
        calibrated: Whether probabilities are calibrated.
        stop_at: Adds the first step after which a class has this probability; None adds nothing.
        device: Where the model computes: "cpu" or "cuda".
    """

    path: str
    digest: str
    calibrated: bool = False
    stop_at: float | None = None
    device: str = "cpu"
    # A list, so that a frozen object can load its model later; it is empty in copies of other processes.
    _loaded: list[TrainedModel] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def open(
        cls, run: str | Path, calibrated: bool = False, stop_at: float | None = None, device: str = "cpu"
    ) -> Scorer:
        """Return a scorer for the model of a run.

        Args:
            run: A run directory or a model folder: a path or a URI.
            calibrated: Whether probabilities are calibrated.
            stop_at: As the attribute.
            device: As the attribute.

        Raises:
            ModelError: If the model cannot be used.
            UsageError: If `stop_at` is no probability, or does not fit the model.
        """
        folder = _model_folder(str(run))
        scorer = cls(folder.uri, _digest_of(folder), calibrated, stop_at, device)
        scorer.model  # noqa: B018 -- an unusable model is reported now
        return scorer

    def __getstate__(self) -> dict[str, Any]:
        options = {"calibrated": self.calibrated, "stop_at": self.stop_at, "device": self.device}
        return {"path": self.path, "digest": self.digest, **options, "_loaded": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def model(self) -> TrainedModel:
        """The model. Raises ModelError if it cannot be loaded, or is not the one with this digest."""
        if not self._loaded:
            # The description has a digest of every weight, which loading compares: one digest is enough.
            folder = Location.parse(self.path)
            found = _digest_of(folder)
            if found != self.digest:
                raise ModelError(
                    f"{self.path}: expected the model with digest {self.digest[:12]}, found {found[:12]}; "
                    "the same model must be at this path on every machine, and stay there"
                )
            model = _load(folder, self.device, self.calibrated)
            check_stop(model.task, self.stop_at)
            if self.stop_at is not None:
                try:
                    single = model.one_network("stopping early")
                    check_streamable(single.network, single.preprocessing)
                except UsageError as error:
                    raise UsageError(f"--stop-at: {error}") from None
            self._loaded.append(model)
        return self._loaded[0]

    @property
    def schema(self) -> pyarrow.Schema:
        """The schema of scores; its metadata have the classes and the digest of the model."""
        details = {"model": self.digest, "calibrated": self.calibrated, "stop_at": self.stop_at}
        return score_schema(self.model.task, self.stop_at, details)

    def __call__(self, table: pyarrow.Table | pyarrow.RecordBatch, split: str | None = None) -> pyarrow.Table:
        """Return a row of scores for each row of a table.

        Args:
            table: Rows of a packed data set: columns id, length and steps; others are ignored.
            split: Value of the column split.

        Returns:
            A table of `schema`, in the order of the rows. A sequence that the model cannot read has its error
            in the column error, and null in those of its prediction; the other rows do not depend on it.

        Raises:
            DataError: If the table has other columns.
            ModelError: If the model cannot be loaded.
        """
        pa = require_pyarrow()
        require_sequences(self.model.task, "scoring")
        rows = Rows.of(table)
        groups, errors = self._read(rows)
        columns: dict[str, Any] = {
            "id": pa.array(rows.ids, pa.string()),
            "split": pa.array([split] * len(rows.ids), pa.string()),
            "error": pa.array([errors.get(row) for row in range(len(rows.ids))], pa.string()),
        }
        scored = np.concatenate([rows for rows, _ in groups]) if groups else np.zeros(0, np.int64)
        # Each group is in the order of the table, and nearly always there is one.
        order = np.argsort(scored, kind="stable")
        values = self._values([steps for _, steps in groups], order) if groups else {}
        for each in self.schema:
            if each.name not in columns:
                columns[each.name] = with_nulls(
                    values.get(each.name), scored[order], len(rows.ids), each.type
                )
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def predictions(
        self, table: pyarrow.Table | pyarrow.RecordBatch
    ) -> Iterator[tuple[str | None, DecodedPrediction | DataError]]:
        """Yield the identifier of each row of a table, and its prediction or error; see `__call__`."""
        require_sequences(self.model.task, "predicting packed data")
        rows = Rows.of(table)
        groups, errors = self._read(rows)
        found: dict[int, DecodedPrediction | DataError] = {row: DataError(errors[row]) for row in errors}
        for chosen, steps in groups:
            probabilities = self.model.probabilities_of_steps(steps)
            found |= zip(chosen.tolist(), map(self.model.task.decode, probabilities), strict=True)
        for row, name in enumerate(rows.ids):
            yield name, found[row]

    def _read(self, rows: Rows) -> tuple[list[tuple[NDArray[np.int64], MemorySource]], dict[int, str]]:
        """Return the sequences of rows as the network's steps, by width, and the errors of other rows."""
        form = self.model.preprocessing
        errors, groups = rows.faults(form), []
        valid = np.array([row for row in range(len(rows.ids)) if row not in errors], np.int64)
        for chosen, source in rows.sources(valid, form):
            wrong, steps = prepare(source, [rows.ids[row] for row in chosen], form)
            errors |= {int(chosen[index]): text for index, text in wrong.items()}
            if steps is not None:
                groups.append((np.delete(chosen, list(wrong)), steps))
        return groups, errors

    def _values(self, sources: list[MemorySource], order: NDArray[np.int64]) -> dict[str, Any]:
        """Return the columns of predictions for the sequences of all sources, in `order`."""
        model = self.model
        probabilities = np.concatenate([model.probabilities_of_steps(each) for each in sources])
        values = vars(predicted(model.task, probabilities[order]))
        if self.stop_at is None:
            return values
        stops = [self._stops(steps) for steps in sources]
        steps_read, classes = (np.concatenate(each)[order] for each in zip(*stops, strict=True))
        names = [str(name) for name in model.task.output_names]
        reached = zip(classes.tolist(), (steps_read > 0).tolist(), strict=True)
        return values | {
            "stop_step": [step or None for step in steps_read.tolist()],
            "stop_prediction": [names[index] if stopped else None for index, stopped in reached],
        }

    def _stops(self, source: MemorySource) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where reading stops: (N,) numbers of steps, 0 if never, and (N,) classes predicted there."""
        model, threshold = self.model.one_network("stopping early"), self.stop_at or 1.0
        network = model.network
        steps, classes = np.zeros(len(source), np.int64), np.zeros(len(source), np.int64)
        width = 2 * network.recurrent.output_size + 4 * network.architecture.classes
        for indices in similar_length_batches(source, width, max_numbers=_MAX_NUMBERS):
            values, lengths = to_device(source.gather(indices), network.scale.device)
            outputs = outputs_by_step(network, values, lengths)
            # Float64 as in the evaluation of early stops, so that thresholds are reached at the same steps.
            with torch.inference_mode():
                probabilities = model.task.probabilities((outputs.double() / model.divisor).cpu().numpy())
            first = first_confident_steps(probabilities, threshold)
            # Where the threshold is never reached, the class is that of the first step, and not used.
            steps[indices] = first
            classes[indices] = probabilities.argmax(2)[np.arange(len(indices)), np.maximum(first, 1) - 1]
        return steps, classes


def _model_folder(run: str) -> Location:
    """Return the model folder of a run. Raises ModelError if there is no model."""
    if not is_uri(run):
        return Location.parse(find_model(Path(run)))
    for folder in (Location.parse(run), Location.parse(f"{run}/{MODEL}")):
        if folder.exists(DESCRIPTION):
            return folder
    raise ModelError(f"{run} is neither a run directory (model/) nor a model folder (model.json)")


def _digest_of(folder: Location) -> str:
    """Return the SHA-256 of a model's description. Raises ModelError if it cannot be read."""
    try:
        return sha256(folder.read(DESCRIPTION, limit_of("JSON_BYTES")))
    except DataError as error:
        raise ModelError(str(error)) from None


def _load(folder: Location, device: str, calibrated: bool) -> TrainedModel:
    if folder.is_local:
        return load(folder.path, device, calibrated)
    with tempfile.TemporaryDirectory(prefix="scanline-model-") as copy:
        try:
            described = folder.read(DESCRIPTION, limit_of("JSON_BYTES"))
            (Path(copy) / DESCRIPTION).write_bytes(described)
            for name in names_beside(described):
                limit = "MODEL_BYTES" if name.endswith(WEIGHTS) else "JSON_BYTES"
                (Path(copy) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(copy) / name).write_bytes(folder.read(name, limit_of(limit)))
            return load(copy, device, calibrated)
        except (DataError, ModelError) as error:
            raise ModelError(str(error).replace(copy, folder.uri)) from None
