"""Sessions: sequences that are predicted while they arrive, step by step.

A session can be saved and continued in another process. It computes the same as the network for
whole sequences, with the step-wise methods of its layers, pooling and imputer.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.data.preprocessing import Preprocessing
from scanline.data.vocabulary import MISSING
from scanline.errors import DataError, UsageError
from scanline.kernels.predictor import NativePredictor
from scanline.kernels.stepping import NativeStream, TorchStack
from scanline.model.network import Network, beside
from scanline.model.predictor import Predictor
from scanline.model.saved_session import SavedSession, misfit, model_digest
from scanline.tasks import Task

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


class PredictionSession(Protocol):
    """What streams need of a session: of one network, or of an ensemble."""

    @property
    def steps(self) -> int | Counts:
        """Number of steps read; (N,) for N sequences."""

    def feed(self, steps: Any, lengths: Any = None) -> NDArray[np.float64]:
        """Read the next steps and return the probabilities after each of them, see `Session.feed`."""

    def to_bytes(self) -> bytes:
        """Return everything that `TrainedModel.resume` of the same model needs to continue."""


class Session:
    """One sequence, or N in parallel, read up to their latest steps; made by `Model.stream`.

    After every step it returns the probabilities that the model predicts for the sequence so far. How the
    steps are divided among calls of `feed` makes no difference.

    Args:
        network: The network, reading forward only.
        task: Turns outputs into probabilities.
        preprocessing: Whose handling of missing values applies.
        sessions: Number of sequences N; None for a single one, whose steps are fed without the axis N.
        temperature: Divisor of the outputs.
        native: A native predictor with the network's weights; None makes one if that is possible.

    Raises:
        UsageError: If the model must know the end of a sequence before it can read its beginning, or
            `sessions` is less than 1.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        preprocessing: Preprocessing,
        sessions: int | None = None,
        temperature: float = 1.0,
        native: NativePredictor | None = None,
    ) -> None:
        check_streamable(network, preprocessing)
        if sessions is not None and sessions < 1:
            raise UsageError(f"sessions must be a whole number >= 1, got {sessions}")
        architecture = network.architecture
        self._network, self._task, self._preprocessing = network, task, preprocessing
        self._single, self._temperature = sessions is None, temperature
        self._n = N = sessions or 1
        self._embeddings = copy.deepcopy(network.embeddings).cpu()
        self._shift, self._scale = (
            each.detach().cpu().numpy().astype(np.float32) for each in (network.shift, network.scale)
        )
        # The head adds up in float64, as `Network.project` does, for the same bits in every batch.
        self._weight = np.ascontiguousarray(network.head.weight.detach().cpu().double().numpy().T)
        self._bias = network.head.bias.detach().cpu().double().numpy()
        self._dense = copy.deepcopy(network.dense).cpu().double().requires_grad_(False)
        self._pooling, self._static = network.pooling, list(architecture.static)
        self._steps = np.zeros(N, np.int64)
        # States of pooling and imputation, by name; replaced, never written to, so that a step that is
        # refused leaves them as they are. The native library keeps that of pooling itself.
        self._states: dict[str, NDArray[Any]] = {}
        pooled = self._pooling.start(N, architecture.hidden_size)
        native = native or Predictor(network).native()
        self._native = None if native is None else NativeStream(native, N, pooled, self._steps)
        self._stack: NativeStream | TorchStack
        if self._native is not None:
            self._stack = self._native
        else:
            layers = [network.recurrent.weights(layer, 0) for layer in range(architecture.layers)]
            backend, _ = network.recurrent.path(network.scale, training=False)
            self._stack, self._states = TorchStack(backend, network.recurrent.cell, layers, N), pooled
        if self._static:
            self._states["static"] = np.zeros((N, len(self._static)), np.float32)
        if preprocessing.missing == "forward-fill":
            self._states["last"] = preprocessing.imputer.start(N, architecture.input_size)

    @property
    def steps(self) -> int | Counts:
        """Number of steps read; (N,) for N sequences."""
        return int(self._steps[0]) if self._single else self._steps.copy()

    def feed(self, steps: Any, lengths: Any = None) -> NDArray[np.float64]:
        """Read the next steps and return the probabilities after each of them.

        Args:
            steps: (t, F) as the network reads them, of a picture's row the grey levels, or one step, (F,).
                For N sequences (N, t, F). A model with categories takes steps of ids as such an array, and
                lists of rows with the names of the categories: [["GET", 0.5], ["PUT", 0.1]]. Static
                features are read from the first step; later ones repeat them, or leave them empty.
            lengths: (N,) whole numbers in 0..t, the number of next steps of each sequence; None if all have
                t.

        Returns:
            (t, K) or (K,); for N sequences (N, t, K), NaN past each sequence's length.

        Raises:
            DataError: If the shape or a value does not fit; the session is unchanged then.
        """
        values = self._as_values(steps)
        one_row = self._single and values.shape == self._shift.shape
        if self._native is not None and one_row and not self._static:
            return self._feed_one(self._native, values)
        one = self._single and values.ndim == 1
        if self._single:
            values = values[None, None] if one else values[None]
        values, counts = self._checked(values, lengths)
        if values.shape[1] == 0:
            return np.empty((0, len(self._bias)) if self._single else (self._n, 0, len(self._bias)))
        values = self._impute(values, counts)
        if self._static:
            begun = (self._steps > 0) | (np.zeros(self._n, bool) if counts is None else counts == 0)
            own = values[:, 0, self._static]
            self._states["static"] = np.where(begun[:, None], self._states["static"], own)
        if self._native is not None:
            probabilities = self._decode(self._native.read(self._read_by_native(values), counts))
        else:
            probabilities = self._project(self._read(values, counts))
        if counts is not None:
            probabilities[np.arange(values.shape[1]) >= counts[:, None]] = np.nan
        if one:
            return probabilities[0, 0]  # type: ignore[no-any-return]
        return probabilities[0] if self._single else probabilities

    def _as_values(self, steps: Any) -> Floats:
        """Return steps as numbers; those of a list have the names of categories, if the model has any."""
        if not self._embeddings.embeddings or isinstance(steps, np.ndarray):
            return np.asarray(steps, np.float32)
        encode = self._preprocessing.encode
        if not self._single:
            return np.array([encode(rows) for rows in steps], np.float32)
        one = not steps or isinstance(steps[0], str | int | float | None)
        return encode([steps])[0] if one else encode(steps)

    def check(self, steps: Any, lengths: Any = None) -> None:
        """Raise DataError if `feed` would refuse these steps; arguments as for `feed`."""
        values = self._as_values(steps)
        if self._single:
            values = values[None, None] if values.ndim == 1 else values[None]
        self._checked(values, lengths)

    def _checked(self, values: Floats, lengths: Any) -> tuple[Floats, Counts | None]:
        """Return steps (N, t, F) with static features in each, and the lengths.

        Raises:
            DataError: If the steps do not fit.
        """
        if not self._static or values.ndim != 3 or 0 in values.shape:
            return values, self._check(values, lengths)
        if values.shape[0] == self._n and values.shape[2] == len(self._shift):
            given = values[:, :, self._static]
            values = values.copy()
            values[:, :, self._static] = self._repeated(given)
        counts = self._check(values, lengths)
        own = values[:, :, self._static]
        other = (own != own[:, :1]) & ~(np.isnan(own) & np.isnan(own[:, :1]))
        begun = self._steps > 0
        other[begun] |= own[begun] != self._states["static"][begun][:, None]
        if counts is not None:
            other[np.arange(own.shape[1]) >= counts[:, None]] = False
        if other.any():
            place = int(np.argwhere(other)[0, 2])
            raise DataError(
                where=f"the steps: feature {self._static[place]}",
                expected="the value of the first step, as it is static, or none",
                found="another value",
            )
        return values, counts

    def _repeated(self, given: Floats) -> Floats:
        """Return static features (N, t, S) with those of the first step where they are empty."""
        categorical = {each.feature for each in self._embeddings.embeddings}
        empty = np.isnan(given) | (
            (given == MISSING) & np.array([each in categorical for each in self._static])
        )
        first = np.where((self._steps > 0)[:, None], self._states["static"], given[:, 0])
        return np.where(empty, first[:, None], given).astype(np.float32)

    def _feed_one(self, stream: NativeStream, values: Floats) -> NDArray[np.float64]:
        """Read one step (F,) of one sequence on the native library, as `feed` does, in few operations."""
        if self._embeddings.embeddings:
            self._check(values[None, None], None)
            values = self._impute(values[None, None], None)
            stream.row[:] = self._read_by_native(values)[0, 0]
            return self._decode(stream.step())
        # The sum finds NaN and infinity in one pass; `reduce` and `math` skip NumPy's Python wrappers.
        if not math.isfinite(np.add.reduce(values)):
            values = values[None, None]
            self._check(values, None)
            values = self._impute(values, None)[0, 0]
        elif "last" in self._states:
            self._states["last"] = values[None].copy()
        stream.row[:] = values
        return self._decode(stream.step())

    def _check(self, values: Floats, lengths: Any) -> Counts | None:
        """Return the lengths as an array. Raises DataError if `values`, (N, t, F), or they do not fit."""
        F = len(self._shift)
        if values.ndim != 3 or values.shape[0] != self._n or values.shape[2] != F:
            expected = f"(t, {F}) or ({F},)" if self._single else f"({self._n}, t, {F})"
            shape = values.shape[1:] if self._single else values.shape
            raise DataError(f"the steps: expected shape {expected}, found {shape}")
        counts = None
        if lengths is not None:
            counts = np.ascontiguousarray(lengths, np.int64)
            if counts.shape != (self._n,) or (counts < 0).any() or (counts > values.shape[1]).any():
                raise DataError(
                    f"lengths: expected {self._n} whole numbers of 0 to {values.shape[1]}, found {lengths}"
                )
        # Only real steps are checked: padding may hold NaN. The mask turns (N, t, F) into (steps, F).
        real = values if counts is None else values[np.arange(values.shape[1]) < counts[:, None]]
        wrong = ~np.isfinite(real) if self._preprocessing.missing == "error" else np.isinf(real)
        if wrong.any():
            value = real[wrong][0]
            hint = "" if np.isinf(value) else "; the model was trained with input.missing=error"
            raise DataError(f"the steps: expected finite numbers, found {value}{hint}")
        for each in self._embeddings.embeddings:
            ids = real[..., each.feature]
            if not ((ids >= 0) & (ids < each.count) & (np.trunc(ids) == ids)).all():
                raise DataError(
                    where=f"the steps: feature {each.feature}",
                    expected=f"the names of categories, or ids from 0 to {each.count - 1}",
                    found="other numbers",
                )
        return counts

    def _impute(self, values: Floats, counts: Counts | None) -> Floats:
        """Return `values`, (N, t, F), with missing values replaced, and update the state that this needs."""
        filled, last = self._preprocessing.imputer.step(self._states.get("last"), values, counts)
        if last is not None:
            self._states["last"] = last
        return filled

    def _read_by_native(self, values: Floats) -> Floats:
        """Return what the native library reads of steps (N, t, F): embedded ones if there are categories."""
        if not self._embeddings.changes:
            return values
        with np.errstate(invalid="ignore"):  # NaN past a sequence's length
            return self._embed((values - self._shift) / self._scale)

    @torch.inference_mode()
    def _embed(self, values: Floats) -> Floats:
        """Return what the layers read of standardised steps (N, t, F): embedded ones, (N, t, E)."""
        embedded: Floats = self._embeddings(torch.from_numpy(values)).numpy()
        return np.ascontiguousarray(embedded[..., : self._embeddings.output_size])

    def _read(self, values: Floats, counts: Counts | None) -> Floats:
        """Read `values`, (N, t, F), without the native library; return the pooled outputs (N, t, H)."""
        assert isinstance(self._stack, TorchStack)
        with np.errstate(invalid="ignore"):  # NaN past a sequence's length
            outputs = self._stack.read(self._embed((values - self._shift) / self._scale), counts)
        t = outputs.shape[1]
        numbers = self._steps[:, None] + np.arange(1, t + 1)
        real = None if counts is None else (np.arange(t) < counts[:, None])[:, :, None]
        pooled = self._pooling.step(self._states, outputs, numbers, real)
        self._steps += t if counts is None else counts
        # Padding may have pooled to -inf (max before the first step): zeros keep the projection finite.
        return pooled if real is None else np.where(real, pooled, np.float32(0))

    def _decode(self, outputs: Floats) -> NDArray[np.float64]:
        """Return the probabilities (..., K) for outputs (..., K), or pooled vectors of dense layers."""
        if len(self._dense) or self._static:
            return self._project(outputs)
        if self._temperature != 1:
            outputs = outputs / np.float32(self._temperature)
        return self._task.quick_probabilities(outputs)

    def _project(self, pooled: Floats) -> NDArray[np.float64]:
        """Return the probabilities (..., K) of pooled outputs (..., H)."""
        logits = (self._features(pooled) @ self._weight + self._bias).astype(np.float32)
        return self._task.quick_probabilities(logits / np.float32(self._temperature))

    def _features(self, pooled: Floats) -> NDArray[np.float64]:
        """Return what the head reads of pooled outputs (N, t, H), in float64."""
        wide = pooled.astype(np.float64)
        if self._static:
            wide = beside(torch.from_numpy(wide), self._static_part()).numpy()
        return self._dense(torch.from_numpy(wide)).numpy() if len(self._dense) else wide

    @torch.inference_mode()
    def _static_part(self) -> Tensor:
        """Return the embedded static features, (N, P)."""
        values = np.zeros((self._n, 1, len(self._shift)), np.float32)
        values[:, 0, self._static] = self._states["static"]
        embedded: Tensor = self._embeddings(torch.from_numpy((values - self._shift) / self._scale))
        return embedded[:, 0, self._embeddings.output_size :]

    def to_bytes(self) -> bytes:
        """Return everything that `Model.resume` of the same model needs to continue, in any process."""
        return SavedSession(
            model_digest(self._network, self._preprocessing),
            self._temperature,
            self._single,
            self._steps,
            self._stack.states() | self._states,
        ).to_bytes()

    @classmethod
    def from_bytes(
        cls,
        network: Network,
        task: Task,
        preprocessing: Preprocessing,
        content: bytes,
        native: NativePredictor | None = None,
    ) -> Session:
        """Return the session that `to_bytes` saved.

        Args:
            network: The network of the model that it was saved with.
            task: The task of that model.
            preprocessing: The preprocessing of that model.
            content: What `to_bytes` returned.
            native: As for the constructor.

        Raises:
            ModelError: If the content is damaged, or belongs to another model.
        """
        architecture = network.architecture
        least = architecture.layers * architecture.hidden_size
        # The number of sequences is limited by the file's size before a session of that size is
        # allocated.
        saved = SavedSession.from_bytes(content, model_digest(network, preprocessing), least)
        sessions = None if saved.single else len(saved.steps)
        session = cls(network, task, preprocessing, sessions, saved.temperature, native)
        # A new session has arrays of the right names, shapes and kinds of numbers.
        expected = session._stack.states() | session._states
        if _forms(saved.arrays) != _forms(expected):
            raise misfit()
        # Another backend, or an earlier version, may have kept states in float64.
        arrays = {name: array.astype(expected[name].dtype) for name, array in saved.arrays.items()}
        session._stack.restore(arrays)
        session._states = {name: arrays[name] for name in session._states}
        session._steps[:] = saved.steps
        return session


def check_streamable(network: Network, preprocessing: Preprocessing) -> None:
    """Raise UsageError if the model must know the end of a sequence before it can read its beginning."""
    if preprocessing.sample_rate:
        raise UsageError(
            "this model computes log-mel steps of whole recordings: predict recordings, or train on log-mel "
            "steps in arrays or tables to stream"
        )
    if preprocessing.windows is not None:
        raise UsageError(
            f"this model joins the predictions of windows of {preprocessing.windows.length:,} steps: predict "
            "whole recordings, or train without input.window to stream"
        )
    if network.architecture.bidirectional:
        raise UsageError(
            "this model reads in both directions: the backward direction starts at the last step, so that "
            "nothing can be predicted before; train with model.bidirectional=false to stream"
        )
    if preprocessing.missing == "forward-fill" and preprocessing.features != preprocessing.source_features:
        raise UsageError(
            f"this model cuts steps of {preprocessing.source_features} into {preprocessing.features} after "
            "filling missing values forward: fill them before, and train with input.missing=error to stream"
        )


def _forms(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shapes and kinds of numbers of arrays by name."""
    return {name: (array.shape, array.dtype.kind) for name, array in arrays.items()}
