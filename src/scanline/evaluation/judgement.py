"""A run judged on a test part: its figures and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data import catalog
from scanline.data.download import Progress
from scanline.data.sequences import Sequences
from scanline.device import choose_device
from scanline.errors import UsageError
from scanline.evaluation.metrics import judge
from scanline.evaluation.model import load
from scanline.model.inference import predict_logits
from scanline.run.folder import trained_on


@dataclass(frozen=True, eq=False)
class Judgement:
    """data: the data set's name or path. part: the test sequences. logits: (N, K). test: the figures."""

    data: str
    part: Sequences
    logits: NDArray[np.float32]
    test: dict[str, Any]

    def answers(self) -> dict[str, list[Any]]:
        """{"predicted": N class names, "true": N class names}, in the order of the data."""
        classes = self.part.classes
        return {
            "predicted": [classes[index] for index in self.logits.argmax(1)],
            "true": [classes[index] for index in self.part.labels],
        }


def judge_run(
    run: str, data: str | None, device: str = "auto", on_progress: Progress | None = None
) -> Judgement:
    """Judge the run or bundle at `run` on the test part of `data`, or of what it was trained on.

    Raises ModelError, DataError or UsageError naming what cannot be used.
    """
    model = load(run, choose_device(device))
    name = data or trained_on(Path(run))
    if name is None and model.bundle.data in catalog.names():
        name = model.bundle.data
    if name is None:
        raise UsageError(f"{run} was trained on {model.bundle.data}: say where that lies by --data")
    part = model.fit(catalog.load(name, on_progress).test)
    logits = predict_logits(model.bundle.classifier, part)
    return Judgement(name, part, logits, judge(logits, part.labels, part.classes))
