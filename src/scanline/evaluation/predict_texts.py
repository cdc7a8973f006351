"""Predictions for texts that are given on the command line or line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from scanline.data.readers.text_sources import text_list, text_source
from scanline.errors import UsageError
from scanline.model.artifact import TrainedModel
from scanline.tasks.base import DecodedPrediction, JsonObject

_TOGETHER = 512  # texts that are predicted in one batch


@dataclass(frozen=True)
class TextPrediction:
    """The prediction for a text.

    Attributes:
        text: The text.
        prediction: The prediction.
        tokens: Number of its tokens that were read.
        unknown: Number of those that the model does not know.
    """

    text: str
    prediction: DecodedPrediction
    tokens: int
    unknown: int

    def to_json(self) -> JsonObject:
        """Return the prediction as a JSON object."""
        counts = {"tokens": self.tokens, "unknown": self.unknown}
        return {"text": self.text} | self.prediction.to_json() | counts


def check_reads_text(model: TrainedModel, given: bool) -> None:
    """Check that a model reads texts.

    Args:
        model: The model.
        given: Whether the texts are given with an option, not as lines of standard input.

    Raises:
        UsageError: If it reads something else.
    """
    if not model.preprocessing.settings.tokens:
        what = "no --text" if given else "`scanline predict RUN - --stream` for a stream of steps"
        raise UsageError(f"expected {what}, as this model reads no texts; it was trained on {model.data}")


def predict_texts(model: TrainedModel, texts: Iterable[str]) -> Iterator[TextPrediction]:
    """Yield a prediction for each text.

    Args:
        model: A model of texts.
        texts: The texts; those of a stream are read 512 at a time.

    Raises:
        DataError: If a text has no tokens; names it, counted from 0.
    """
    rest, first = iter(texts), 0
    while batch := list(islice(rest, _TOGETHER)):
        read = text_list(batch, first=first)
        steps = model.steps(text_source(read, model.preprocessing.settings))
        probabilities = model.probabilities_of_steps(steps)
        for index, (text, row) in enumerate(zip(batch, probabilities, strict=True)):
            unknown, present = model.unknown(steps.take(np.array([index])))
            yield TextPrediction(text, model.task.decode(row), present, unknown)
        first += len(batch)
