"""Test sequences to look at: the hard ones first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scanline.data import catalogue as catalog
from scanline.data.memory import MemorySource
from scanline.errors import DataError
from scanline.evaluation.evaluate import own_split
from scanline.model.artifact import Model
from scanline.training.provenance import trained_on

_WRONG, _UNSURE, _PLAIN = 30, 12, 18  # how many of each are shown
_NUMBERS = 200_000  # in all of them


def gallery(model: Model, run: str) -> dict[str, Any]:
    """What `/v1/gallery` tells: of the test part of what the model was trained on, the mistakes that it was
    surest of, then what it was least sure of, then some of each class.

    run: where the model came from. Nothing is downloaded. Raises ScanlineError if the data are not at hand.
    """
    known = trained_on(Path(run))
    named = known[0].name if known is not None else model.data
    if named in catalog.names() and catalog.find(named) is None:
        raise DataError(f"{named} is not at hand; `scanline data fetch {named}` fetches it")
    name, part = own_split(model, run, known, "test")
    fitted, task = model.align(part), model.task
    shares = task.probabilities(model.outputs(fitted))
    sure = shares.max(1)
    wrong = ~task.correct(shares, task.encode(fitted))
    order = np.argsort(-sure, kind="stable")
    chosen = order[wrong[order]][:_WRONG].tolist()
    right = order[~wrong[order]]
    chosen += right[::-1][:_UNSURE].tolist()
    left = [index for index in _by_class(right.tolist(), fitted) if index not in set(chosen)]
    chosen += left[:_PLAIN]
    items: list[dict[str, Any]] = []
    numbers = 0
    for index in chosen:
        values = part.steps_of(index)
        numbers += values.size
        if numbers > _NUMBERS and items:
            break
        items.append(
            {
                "index": index,
                "true": fitted.classes[fitted.targets[index]],
                "label": task.decode(shares[index]).label,
                "probability": float(sure[index]),
                "right": bool(not wrong[index]),
                "values": _plain(model, values),
            }
        )
    return {"schema": 1, "data": name, "items": items}


def _by_class(indices: list[int], part: MemorySource) -> list[int]:
    """In turn one of each class, from the middle of those that are `indices`."""
    groups: dict[int, list[int]] = {}
    for index in indices[len(indices) // 4 :]:
        groups.setdefault(int(part.targets[index]), []).append(index)
    rounds = max(map(len, groups.values()), default=0)
    return [
        groups[label][turn]
        for turn in range(min(rounds, _PLAIN))
        for label in sorted(groups)
        if turn < len(groups[label])
    ]


def _plain(model: Model, values: Any) -> list[Any]:
    """A sequence as an input of `/v1/predict`."""
    form = model.preprocessing.picture
    if form is not None and form.channels == 3:
        values = values.reshape(form.height, form.width, 3)
    rows: list[Any] = np.asarray(values).tolist()
    if values.dtype.kind == "f":
        rows = [[None if number != number else number for number in row] for row in rows]
    return rows
