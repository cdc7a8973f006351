"""Test sequences shown on the page, the hardest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data import catalogue
from scanline.data.source import SequenceSource
from scanline.errors import DataError
from scanline.evaluation.evaluate import evaluation_split
from scanline.model.artifact import TrainedModel
from scanline.serving.schema import Gallery, GalleryItem
from scanline.tasks import require_sequences
from scanline.training.provenance import trained_on

_ERRORS, _UNCERTAIN, _OTHERS = 30, 12, 18  # how many of each are shown
_MAX_NUMBERS = 200_000  # in all of them


def build_gallery(model: TrainedModel, run: str, data: str | None = None) -> Gallery:
    """Return test sequences of the data set that the model was trained on.

    First come the most confident errors, then the least confident correct predictions, then some of each
    class. Nothing is downloaded.

    Args:
        model: The model.
        run: Run directory or model folder that it was loaded from.
        data: Name or path of another dataset; None for the one that the model was trained on.

    Raises:
        ScanlineError: If the data are not available, or the model predicts each step.
    """
    require_sequences(model.task, "the gallery")
    # Check the local copy first: `evaluation_split` would download a catalogue data set that is absent.
    known = trained_on(Path(run)) if data is None else None
    named = data if data is not None else known[0].name if known is not None else model.data
    if named in catalogue.names() and catalogue.find(named) is None:
        raise DataError(f"{named} is not available; run `scanline data fetch {named}` to download it")
    name, source = evaluation_split(model, run, data)
    aligned, task = model.align(source), model.task
    probabilities = model.probabilities_of_steps(aligned)
    confidence = probabilities.max(1)
    right = task.correct(probabilities, task.encode(aligned))
    items: list[GalleryItem] = []
    numbers = 0
    for index in _choose(~right, confidence, aligned.targets):
        shown = aligned if model.preprocessing.log_mel else source
        values = shown.steps_of(index)
        numbers += values.size
        # Bounds the size of the response; at least one sequence is kept, however long it is.
        if numbers > _MAX_NUMBERS and items:
            break
        items.append(
            GalleryItem(
                index=index,
                true=aligned.classes[aligned.targets[index]]
                if aligned.classes
                else aligned.targets[index].item(),
                label=task.decode(probabilities[index]).label,
                probability=float(confidence[index]),
                right=bool(right[index]),
                values=_named_input(model, values, shown) or _request_input(model, values),
            )
        )
    return Gallery(schema=1, data=name, items=items)


def _choose(
    wrong: NDArray[np.bool_], confidence: NDArray[np.float64], labels: NDArray[np.int64]
) -> list[int]:
    """Return the indices of the sequences to show, in order; all arguments are (N,)."""
    # A stable sort keeps ties in data order, so the gallery is the same on every start.
    order = np.argsort(-confidence, kind="stable")
    right = order[~wrong[order]]
    chosen = [*order[wrong[order]][:_ERRORS].tolist(), *right[::-1][:_UNCERTAIN].tolist()]
    others = [index for index in _by_class(right.tolist(), labels) if index not in set(chosen)]
    return chosen + others[:_OTHERS]


def _by_class(indices: list[int], labels: NDArray[np.int64]) -> list[int]:
    """Return one index of each class in turn, without the most confident quarter of `indices`."""
    groups: dict[int, list[int]] = {}
    for index in indices[len(indices) // 4 :]:
        groups.setdefault(int(labels[index]), []).append(index)
    rounds = max(map(len, groups.values()), default=0)
    return [
        groups[label][turn]
        for turn in range(min(rounds, _OTHERS))
        for label in sorted(groups)
        if turn < len(groups[label])
    ]


def _named_input(model: TrainedModel, values: NDArray[Any], source: SequenceSource) -> list[Any] | str | None:
    """Return a sequence with names of categories, or a text, as an input; None for other sequences."""
    kinds = source.info.categories
    if not any(kinds):
        return None
    rows = [
        [number if kind is None else kind[int(number)] for number, kind in zip(row, kinds, strict=True)]
        for row in values.tolist()
    ]
    settings = model.preprocessing.settings
    if settings.tokens == "words":
        return " ".join(row[0] for row in rows)
    if settings.tokens == "characters":
        return "".join(row[0] for row in rows)
    # JSON has no NaN.
    return [row[0] for row in rows] if settings.tokens else [[_or_null(cell) for cell in row] for row in rows]


def _or_null(cell: Any) -> Any:
    return None if cell != cell else cell


def _request_input(model: TrainedModel, values: NDArray[Any]) -> list[Any]:
    """Return a sequence as an input of `/v1/predict`."""
    picture = model.preprocessing.picture
    if picture is not None and picture.channels == 3:
        values = values.reshape(picture.height, picture.width, 3)
    rows: list[Any] = np.asarray(values).tolist()
    if values.dtype.kind == "f":  # JSON has no NaN
        rows = [[None if number != number else number for number in row] for row in rows]
    return rows
