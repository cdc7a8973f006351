"""Former names of `scanline.model.predictor`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.model.network import Network
from scanline.model.predictor import Abandoned as Abandoned
from scanline.model.predictor import Predictor
from scanline.model.predictor import Tensors as Tensors
from scanline.model.predictor import to_device as to_device


def predict_logits(
    network: Network,
    sequences: MemorySource,
    batch_size: int = 512,
    abandon: Callable[[], bool] | None = None,
) -> NDArray[np.float32]:
    """Return `Predictor(network, batch_size).outputs(sequences, abandon)`."""
    return Predictor(network, batch_size).outputs(sequences, abandon)
