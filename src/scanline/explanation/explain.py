"""An explanation of one answer: trace and attribution together, from a file, a test sequence or an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.found import check_values, some
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.data.reading import TO_PREDICT, exists, read_source
from scanline.data.transforms.views import View
from scanline.errors import DataError, UsageError
from scanline.evaluation.evaluate import own_split
from scanline.evaluation.predict_files import holds_several
from scanline.explanation.attribution import Attribution, baseline, in_place, integrated_gradients
from scanline.explanation.trace import Trace, trace
from scanline.model.artifact import Model
from scanline.training.run_directory import trained_on


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model answered as it did for one sequence of T steps.

    name: of the sequence. trace: what it would have answered after each step, gates and states. attribution:
    how much each value moved the logit of the answer. values: (T, F), as the network's steps. picture: as it
    is seen, (height, width) or (height, width, 3), or None. places: the attribution in the picture's place.
    view: how it was cut into steps. true: the class name that it has, if that is known.
    """

    name: str
    trace: Trace
    attribution: Attribution
    values: NDArray[Any]
    picture: NDArray[np.uint8] | None
    places: NDArray[np.float64] | None
    view: View | None = None
    true: int | str | None = None

    @property
    def label(self) -> int | str:
        """The answer's class name."""
        return self.trace.classes[self.trace.answer]

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        attribution = self.attribution
        return {
            "sequence": self.name,
            "true": self.true,
            **self.trace.to_json(),
            "attribution": {
                "of": self.trace.classes[attribution.target],
                "values": attribution.values.tolist(),
                "sum": float(attribution.values.sum()),
                "difference_of_logits": attribution.difference,
                "error": attribution.error,
            },
            "values": np.asarray(self.values, np.float64).tolist(),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The same as arrays, for an .npz file."""
        return {
            **self.trace.arrays(),
            "attribution": self.attribution.values,
            "values": self.values,
            "classes": np.array([str(name) for name in self.trace.classes]),
        }

    def lines(self) -> list[str]:
        """What to tell of it in words."""
        t, steps = self.trace, len(self.trace.probabilities)
        unit = "step" if self.view is None else self.view.unit
        told = f"{self.name}: {self.label} ({t.probabilities[-1, t.answer]:.4f})"
        if self.true is not None:
            told += ", which is right" if str(self.true) == str(self.label) else f"; it is {self.true}"
        mind = "never changed its mind" if not t.changes else f"changed its mind {t.changes} times"
        mind = mind.replace(" 1 times", " once")
        return [
            told,
            f"  first answered so after {unit} {t.first_reached}, for good from {unit} {t.settled} "
            f"of {steps} on; {mind}",
        ]

    def _repr_html_(self) -> str:
        from scanline.explanation.show import explanation_html

        return explanation_html(self)


def explain(model: Model, values: Any, name: str = "the given sequence") -> Explanation:
    """Why `model` answers as it does for one sequence.

    values: (T, F), (T,) for one feature, or a picture (height, width) or (height, width, 3), as for
    `Model.predict`. Raises DataError naming the expected and the found shape.
    """
    part = model.read(_alone(model.preprocessing, values))
    if len(part) != 1:
        raise DataError(f"expected one sequence to explain, found {len(part)}")
    return explain_part(model, part, 0, name)


def _alone(form: Preprocessing, values: Any) -> Any:
    """`values` so that `Model.read` takes them for one sequence, also where a step has one feature."""
    if form.picture is not None:
        return values
    try:
        shape = np.shape(values)
    except ValueError:  # sequences of different lengths: more than one, which is said elsewhere
        return values
    if len(shape) == 1:
        shape = (*shape, 1)
    elif len(shape) != 2 or shape[1] not in (form.source_features, form.features):
        return values
    return (values if hasattr(values, "reshape") else np.asarray(values)).reshape(1, *shape)


def explain_part(model: Model, part: MemorySource, index: int, name: str | None = None) -> Explanation:
    """Why `model` answers as it does for the sequence at `index` of `part`, which are its steps already."""
    network, form = model.network, model.preprocessing
    values = part.steps_of(index)
    temperature = model.divisor
    seen = trace(network, values, model.class_names, temperature)
    nothing = baseline(network, form.picture is not None)
    shares = integrated_gradients(network, values, seen.answer, nothing)
    view = form.seen
    return Explanation(
        name or part.describe(index),
        seen,
        shares,
        values,
        form.as_picture(values),
        None if view is None else in_place(shares.values, view),
        view,
        part.classes[part.targets[index]] if part.has_targets else None,
    )


def explain_input(model: Model, run: str, given: str, sequence: str | None = None) -> Explanation:
    """Why `model` answers as it does for `given`: a picture, a file of sequences, or a number of the test
    part.

    run: where the model came from, for its test part. sequence: name or number of the one that is meant
    where a file has several; None takes the first. Raises DataError or UsageError naming what cannot be
    used.
    """
    path = Path(given)
    if given.isdecimal() and not exists(path):
        if sequence is not None:
            raise UsageError(
                f"--sequence is for files of several sequences; {given} is a number of the test part"
            )
        _, test = own_split(model, run, trained_on(Path(run)), "test")
        index = _index(test, given)
        return explain_part(model, model.fit(test), index, f"test {test.describe(index)}")
    form = model.preprocessing
    if form.picture is not None and not holds_several(given):
        if sequence is not None:
            raise UsageError(f"--sequence is for files of several sequences; {given} is a picture")
        return explain(model, model.prepare(path), given)
    found = next(iter(read_source(path, form.settings, TO_PREDICT).values()))
    check_values(found, form.missing != "error")
    index = 0 if sequence is None else _index(found.sequences, sequence)
    known = bool(found.sequences.classes)
    part = model.fit(found.sequences) if known else form.prepare(found.sequences)
    return explain_part(model, part, index, f"{given}, {found.sequences.describe(index)}")


def _index(part: MemorySource, name: str) -> int:
    """Which sequence `name` means: one called so, or the one of that number."""
    if part.ids is not None:
        known = [str(each) for each in part.ids]
        if name in known:
            return known.index(name)
    if name.isdecimal() and int(name) < len(part):
        return int(name)
    names = f"0 to {len(part) - 1}" if part.ids is None else some([str(each) for each in part.ids])
    raise UsageError(f"{part.name} has no sequence {name!r}: expected one of {names}")
