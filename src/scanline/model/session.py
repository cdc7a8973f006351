"""Sequences that are classified while they come: fed step by step, saved, and gone on with elsewhere."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from scanline.data.preprocessing import Preprocessing
from scanline.errors import DataError, ModelError, UsageError
from scanline.kernels.stepping import NativeStack, make_stack
from scanline.model.model_files import describe_tensors
from scanline.model.network import Network
from scanline.storage.digest import sha256
from scanline.storage.tensors import check_tensors
from scanline.tasks import Task

_SCHEMA = 1


class Session:
    """One sequence, or N side by side, read as far as their steps have come.

    `Model.stream` makes it. After every step it has the probabilities that the whole model would give if the
    sequence ended there; how the steps are cut into calls of `feed` makes no difference.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        preprocessing: Preprocessing,
        sessions: int | None = None,
        temperature: float = 1.0,
    ) -> None:
        """sessions: N; None: a single sequence, whose steps are fed without the axis N.

        Raises UsageError if the model has to know the end before it can read the beginning.
        """
        form = preprocessing
        a = network.architecture
        if a.bidirectional:
            raise UsageError(
                "this model reads in both directions: the backward one begins at the last step, so nothing "
                "can be answered before that is known; train with model.bidirectional=false to stream"
            )
        if form.missing == "forward-fill" and form.features != form.source_features:
            raise UsageError(
                f"this model cuts steps of {form.source_features} into {form.features} after filling missing "
                "values forward: fill them before, and train with --missing error to stream"
            )
        if sessions is not None and sessions < 1:
            raise UsageError(f"sessions must be a whole number >= 1, got {sessions}")
        self._network, self._task, self._preprocessing = network, task, preprocessing
        self._single = sessions is None
        self._n = N = sessions or 1
        self._temperature = temperature
        layers = [network.recurrent.weights(layer, 0) for layer in range(a.layers)]
        backend, _ = network.recurrent.path(network.scale, training=False)
        self._stack = make_stack(backend, network.recurrent.cell, layers, N)
        self._quick = self._stack if isinstance(self._stack, NativeStack) else None
        self._shift, self._scale = (
            each.detach().cpu().numpy().astype(np.float32) for each in (network.shift, network.scale)
        )
        self._weight = np.ascontiguousarray(network.head.weight.detach().cpu().double().numpy().T)
        self._bias = network.head.bias.detach().cpu().double().numpy()
        self._pooling = network.pooling
        self._steps = np.zeros(N, np.int64)
        self._kept: dict[str, NDArray[Any]] = self._pooling.start(N, a.hidden_size)
        if form.missing == "forward-fill":
            self._kept["last"] = np.full((N, a.input_size), np.nan, np.float32)

    @property
    def steps(self) -> int | NDArray[np.int64]:
        """How many steps were read; (N,) for N sessions."""
        return int(self._steps[0]) if self._single else self._steps.copy()

    def feed(self, steps: Any, lengths: Any = None) -> NDArray[np.float64]:
        """The probabilities after each of the next steps.

        steps: (t, F), F values as the network reads them (of a picture's row the grey levels), or one step,
        (F,): the result is (t, K), or (K,). For N sessions (N, t, F): (N, t, K). lengths: (N,), 0 to t, how
        many of the steps each session has, where they have not all t; past them stands NaN.
        Raises DataError naming the expected and the found shape or value; the session is as it was then.
        """
        values = np.asarray(steps, np.float32)
        if self._quick is not None and self._single and values.shape == self._shift.shape:
            return self._feed_one(values)
        one = self._single and values.ndim == 1
        if self._single:
            values = values[None, None] if one else values[None]
        values, counts = self._checked(values, lengths)
        if values.shape[1] == 0:
            return np.empty((0, len(self._bias)) if self._single else (self._n, 0, len(self._bias)))
        values = self._filled(values, counts)
        with np.errstate(invalid="ignore"):  # NaN past the end of a session's steps
            outputs = self._stack.read((values - self._shift) / self._scale, counts)
        read = self._read_out(outputs, counts)
        if counts is None:
            shares = self._answer(read)
        else:
            real = np.arange(read.shape[1]) < counts[:, None]
            shares = self._answer(np.where(real[:, :, None], read, 0))
            shares[~real] = np.nan
        if one:
            return shares[0, 0]  # type: ignore[no-any-return]
        return shares[0] if self._single else shares

    def _feed_one(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """One step of one sequence on the native library, with as little besides as can be."""
        stack = self._quick
        assert stack is not None
        if not np.isfinite(values.sum()):
            checked, _ = self._checked(values[None, None], None)
            values = self._filled(checked, None)[0, 0]
        elif "last" in self._kept:
            self._kept["last"][0] = values
        here = stack.x[0, 0]
        np.subtract(values, self._shift, out=here)
        np.divide(here, self._scale, out=here)
        read = stack.step()[0, 0]
        if not self._pooling.reads_outputs:
            self._steps[0] += 1
        else:
            read = self._read_out(read[None, None], None)[0, 0]
        logits = (read.astype(np.float64) @ self._weight + self._bias).astype(np.float32)
        if self._temperature != 1:
            logits = logits / np.float32(self._temperature)
        return self._task.quick_probabilities(logits)

    def _checked(
        self, values: NDArray[np.float32], lengths: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        F = len(self._shift)
        if values.ndim != 3 or values.shape[0] != self._n or values.shape[2] != F:
            wanted = f"(t, {F}) or ({F},)" if self._single else f"({self._n}, t, {F})"
            found = values.shape[1:] if self._single else values.shape
            raise DataError(f"the steps: expected shape {wanted}, found {found}")
        counts = None
        if lengths is not None:
            counts = np.ascontiguousarray(lengths, np.int64)
            if counts.shape != (self._n,) or (counts < 0).any() or (counts > values.shape[1]).any():
                raise DataError(
                    f"lengths: expected {self._n} whole numbers of 0 to {values.shape[1]}, found {lengths}"
                )
        real = values if counts is None else values[np.arange(values.shape[1]) < counts[:, None]]
        missing = self._preprocessing.missing
        wrong = ~np.isfinite(real) if missing == "error" else np.isinf(real)
        if wrong.any():
            found = real[wrong][0]
            hint = "" if np.isinf(found) else "; the model was trained with --missing error"
            raise DataError(f"the steps: expected finite numbers, found {found}{hint}")
        return values, counts

    def _filled(self, values: NDArray[np.float32], counts: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """`values` with something in place of what is missing."""
        form = self._preprocessing
        if form.missing == "error":
            return values
        stand_in = np.zeros_like(self._shift) if form.missing == "zero" else np.array(form.means, np.float32)
        if form.missing != "forward-fill":
            return np.where(np.isnan(values), stand_in, values)
        values = values.copy()
        last = self._kept["last"].copy()
        for step in range(values.shape[1]):
            goes_on = np.ones(self._n, bool) if counts is None else counts > step
            here = values[goes_on, step]
            here = np.where(np.isnan(here), last[goes_on], here)
            last[goes_on] = here
            values[goes_on, step] = np.where(np.isnan(here), stand_in, here)
        self._kept["last"] = last
        return values

    def _read_out(
        self, outputs: NDArray[np.float32], counts: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        """(N, t, H) what is read out after each step, and the counts and sums brought up to it."""
        t = outputs.shape[1]
        numbers = self._steps[:, None] + np.arange(1, t + 1)
        real = None if counts is None else (np.arange(t) < counts[:, None])[:, :, None]
        outputs = self._pooling.step(self._kept, outputs, numbers, real)
        self._steps += t if counts is None else counts
        return outputs

    def _answer(self, read: NDArray[np.float32]) -> NDArray[np.float64]:
        logits = (read.astype(np.float64) @ self._weight + self._bias).astype(np.float32)
        return self._task.quick_probabilities(logits / np.float32(self._temperature))

    # --- saving

    def to_bytes(self) -> bytes:
        """All that is needed to go on in another process, with the same model: `Model.resume`."""
        arrays = self._stack.states() | self._kept | {"steps": self._steps}
        arrays = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
        described = {
            "schema": _SCHEMA,
            "model": _identity(self._network, self._preprocessing),
            "temperature": self._temperature,
            "single": self._single,
        }
        described["sha256"] = _seal(described, arrays)
        return safetensors.numpy.save(arrays, {"scanline": json.dumps(described, sort_keys=True)})

    @classmethod
    def from_bytes(
        cls, network: Network, task: Task, preprocessing: Preprocessing, content: bytes
    ) -> Session:
        """The session that `to_bytes` wrote. Raises ModelError if it is damaged or of another model."""
        remedy = "begin a new session"
        try:
            check_tensors(content)
            arrays = safetensors.numpy.load(content)
            length = int.from_bytes(content[:8], "little")
            described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["scanline"])
            if not isinstance(described, dict):
                raise TypeError(f"expected an object that describes it, found {type(described).__name__}")
            stored = described.pop("sha256")
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = [*str(error).splitlines(), type(error).__name__][0]
            raise ModelError(f"the saved session is damaged: {reason}; {remedy}") from None
        if described.get("schema") != _SCHEMA:
            raise ModelError(f"the saved session: expected schema {_SCHEMA}, found another; {remedy}")
        if stored != _seal(described, arrays):
            raise ModelError(f"the saved session is damaged: it is not what was saved; {remedy}")
        if described.get("model") != _identity(network, preprocessing):
            raise ModelError(f"the saved session belongs to another model; {remedy}")
        # A seal keeps out mishaps, not people: it can be made anew for anything.
        temperature: Any = described.get("temperature")
        single, steps = described.get("single"), arrays.get("steps", np.empty(0))
        a = network.architecture
        fits = (
            isinstance(temperature, float)
            and 0 < temperature < math.inf
            and isinstance(single, bool)
            and steps.dtype == np.int64
            and steps.ndim == 1
            and 1 <= len(steps) <= (1 if single else len(content) // (a.layers * a.hidden_size))
            and steps.min() >= 0
        )
        misfit = ModelError(f"the saved session does not fit the model; {remedy}")
        if not fits:
            raise misfit
        session = cls(network, task, preprocessing, None if single else len(steps), temperature)
        held = session._stack.states() | session._kept
        wanted = {name: (array.shape, array.dtype) for name, array in held.items()}
        if {name: (array.shape, array.dtype) for name, array in arrays.items() if name != "steps"} != wanted:
            raise misfit
        session._stack.restore(arrays)
        session._kept = {name: arrays[name].copy() for name in session._kept}
        session._steps = arrays["steps"].copy()
        return session


def _identity(network: Network, preprocessing: Preprocessing) -> str:
    """Digest of all that decides what a session computes."""
    held = {name: each.sha256 for name, each in describe_tensors(network.state_dict()).items()}
    return sha256(json.dumps([held, repr(network.architecture), preprocessing.missing]).encode())


def _seal(described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    parts = [json.dumps(described, sort_keys=True)]
    parts += [f"{name} {a.dtype} {a.shape} {sha256(a.tobytes())}" for name, a in sorted(arrays.items())]
    return sha256("\n".join(parts).encode())
