"""Sessions of an ensemble: one session for each member, fed with the same steps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from scanline.errors import ModelError
from scanline.metrics.probabilities import mean_probabilities
from scanline.model.saved_session import REMEDY, content_digest, misfit, read_content
from scanline.model.session import Session
from scanline.tasks import Task

SCHEMA = 1
_KIND = "ensemble"


class EnsembleSession:
    """Sequences that are predicted while they arrive; made by `Ensemble.stream`.

    Args:
        sessions: Session of each member, uncalibrated, all with the same steps read.
        orders: Which output of each member belongs to each class.
        task: The task of the ensemble.
        temperature: Divisor of the outputs.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        orders: Sequence[Sequence[int]],
        task: Task,
        temperature: float = 1.0,
    ) -> None:
        self._sessions, self._orders = list(sessions), [list(order) for order in orders]
        self._task, self._temperature = task, temperature

    @property
    def steps(self) -> int | NDArray[np.int64]:
        """Number of steps read; (N,) for N sequences."""
        return self._sessions[0].steps

    def feed(self, steps: Any, lengths: Any = None) -> NDArray[np.float64]:
        """Read the next steps and return the probabilities after each of them.

        For arguments, result and errors see `Session.feed`.
        """
        for session in self._sessions:
            # All are asked before any reads, so that a refused step leaves the session as it is.
            session.check(steps, lengths)
        rows = [
            session.feed(steps, lengths)[..., order]
            for session, order in zip(self._sessions, self._orders, strict=True)
        ]
        mean = mean_probabilities(rows)
        if self._temperature == 1:
            return mean
        # A mean of 0 has no logarithm; the smallest number keeps its probability at about 0.
        logarithms = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
        return self._task.probabilities(logarithms / self._temperature)

    def to_bytes(self) -> bytes:
        """Return everything that `Ensemble.resume` of the same ensemble needs to continue."""
        arrays: dict[str, NDArray[Any]] = {
            f"member_{number:04d}": np.frombuffer(session.to_bytes(), np.uint8)
            for number, session in enumerate(self._sessions, 1)
        }
        description: dict[str, Any] = {"kind": _KIND, "schema": SCHEMA, "temperature": self._temperature}
        description["sha256"] = content_digest(description, arrays)
        return safetensors.numpy.save(arrays, {"scanline": json.dumps(description, sort_keys=True)})

    @classmethod
    def from_bytes(
        cls,
        resumes: Sequence[Callable[[bytes], Session]],
        orders: Sequence[Sequence[int]],
        task: Task,
        content: bytes,
    ) -> EnsembleSession:
        """Return the session that `to_bytes` saved.

        Args:
            resumes: `Model.resume` of each member.
            orders: As for the constructor.
            task: As for the constructor.
            content: What `to_bytes` returned.

        Raises:
            ModelError: If the content is damaged, or belongs to another model.
        """
        description, arrays = read_content(content)
        if description.get("kind") != _KIND or description.get("schema") != SCHEMA:
            raise ModelError(f"the saved session is not one of an ensemble of schema {SCHEMA}; {REMEDY}")
        if description.pop("sha256", None) != content_digest(description, arrays):
            raise ModelError(f"the saved session is damaged: its digest does not match; {REMEDY}")
        temperature = description.get("temperature")
        if not (
            isinstance(temperature, float) and 0 < temperature < math.inf and len(arrays) == len(resumes)
        ):
            raise misfit()
        # Sorted by name, they are in the order of the members, whose numbers have leading zeros.
        members = [arrays[name] for name in sorted(arrays)]
        if any(each.dtype != np.uint8 or each.ndim != 1 for each in members):
            raise misfit()
        # Each member checks that its own session belongs to it.
        sessions = [resume(each.tobytes()) for resume, each in zip(resumes, members, strict=True)]
        if any(not np.array_equal(session.steps, sessions[0].steps) for session in sessions):
            raise misfit()
        return cls(sessions, orders, task, temperature)
