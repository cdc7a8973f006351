"""A run judged on a test part: its figures and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.data import catalogue as catalog
from scanline.data.download import Progress
from scanline.data.memory import MemorySource
from scanline.data.reading import TO_JUDGE
from scanline.device import choose_device
from scanline.errors import UsageError
from scanline.metrics.classification import classification_metrics
from scanline.model.artifact import Model, load
from scanline.recipe import UNSAID, UNSPLIT, DataSettings, SplitSettings
from scanline.training.provenance import trained_on


@dataclass(frozen=True, eq=False)
class Evaluation:
    """model: the judged. data: the data set's name or path. part: the test sequences, as the network's steps.
    logits: (N, K). test: the figures. digest: of the test sequences as they were read."""

    model: Model
    data: str
    part: MemorySource
    logits: NDArray[np.float32]
    test: dict[str, Any]
    digest: str

    @property
    def pictures(self) -> bool:
        """Whether the sequences are pictures."""
        return self.model.preprocessing.picture is not None

    def answers(self) -> dict[str, list[Any]]:
        """{"sequence": N names or numbers, "predicted": N classes, "true": N}, in the order of the data."""
        classes = self.part.classes
        return {
            "sequence": [self.part.identifier(index) for index in range(len(self.part))],
            "predicted": [classes[index] for index in self.logits.argmax(1)],
            "true": [classes[index] for index in self.part.targets],
        }


def evaluate_run(
    run: str,
    data: str | None,
    device: str = "auto",
    on_progress: Progress | None = None,
    calibrated: bool = False,
) -> Evaluation:
    """Judge the run or bundle at `run` on the test part of what it was trained on, or on `data`.

    data: a name or path. Its test part is judged, or all of it where it has no parts; what the run itself
    was trained on is split as it was then. calibrated: judge the calibrated probabilities.
    Raises ModelError, DataError or UsageError naming what cannot be used.
    """
    return evaluate_model(load(run, choose_device(device), calibrated), run, data, on_progress)


def evaluate_model(
    model: Model, run: str, data: str | None, on_progress: Progress | None = None
) -> Evaluation:
    """As `judge_run`, for a model that is loaded already. run: where it came from."""
    known = trained_on(Path(run))
    if data is None or (known is not None and known[0].name == _address(data)):
        name, part = own_split(model, run, known, "test", on_progress)
    else:
        form = model.preprocessing
        settings = UNSAID if data in catalog.names() else form.settings
        samples = catalog.read(data, settings, on_progress, TO_JUDGE)
        name, part = data, samples.to_judge(form.missing)
    return evaluate_source(model, name, part)


def evaluate_source(model: Model, name: str, part: MemorySource) -> Evaluation:
    """Judge `model` on `part`, as it was read. name: of the data."""
    digest = part.fingerprint()
    part = model.fit(part)
    logits = model.logits(part)
    return Evaluation(model, name, part, logits, classification_metrics(logits, part), digest)


def _address(data: str) -> str:
    path = None if data in catalog.names() else catalog.locate(data)
    return data if path is None else str(path.resolve())


def own_split(
    model: Model,
    run: str,
    known: tuple[DataSettings, SplitSettings] | None,
    kind: Literal["test", "validation"],
    on_progress: Progress | None = None,
) -> tuple[str, MemorySource]:
    """The name of what `model` was trained on, and its test or validation part, as it was read.

    run: where the model came from. known: what `trained_on` says of it.
    """
    if known is None and model.data in catalog.names():
        known = UNSAID.model_copy(update={"name": model.data}), UNSPLIT
    if known is None or not known[0].name:
        raise UsageError(f"{run} was trained on {model.data}: say where that lies by --data")
    settings, split = known
    data = catalog.read(settings.name, settings, on_progress).data_set(split, model.preprocessing.missing)
    part = data.parts.get(kind)
    if part is None:
        raise UsageError(f"{run} has no {kind} part: say what to judge it on by --data")
    return settings.name, part
