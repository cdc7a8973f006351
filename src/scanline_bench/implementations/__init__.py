"""One module for each framework, with `make(workload, precision, variant) -> Implementation`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Implementation(Protocol):
    """A workload set up in one framework, starting from the workload's own data and weights."""

    def step(self) -> None:
        """Run the workload once, as `Workload.kind` says. Only this is timed."""

    def result(self) -> float:
        """Return the result of the last step.

        In training the loss before the last update, in inference the sum of all logits, in a stream the
        expected class.
        """

    def use_batch(self, size: int) -> None:
        """Set the number of sequences that one call predicts (inference)."""


def expected_class(probabilities: Any) -> float:
    """Return the mean of the class indices, weighted by probabilities (K,)."""
    weights = np.asarray(probabilities, np.float64).reshape(-1)
    return float(weights @ np.arange(len(weights)))
