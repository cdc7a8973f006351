"""What a loaded model answers: the bytes that go out for what was read from requests."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from scanline import cells
from scanline.data.memory import MemorySource
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError, UsageError
from scanline.explanation.attribution import baseline
from scanline.explanation.trace import Trace, trace
from scanline.model.artifact import Model
from scanline.model.model_files import DESCRIPTION
from scanline.serving.limits import Limits
from scanline.serving.problems import Problem
from scanline.serving.reading import Wish
from scanline.storage.digest import sha256

_DIGITS = 7  # of values in traces


class Predictor:
    """One model and the shape of its answers. Several threads may ask at once."""

    def __init__(self, model: Model, version: str) -> None:
        self.model, self.version = model, version
        model.network.eval()  # for good: two threads ask it
        files = model.to_bytes(version)
        self.digest = sha256(files[DESCRIPTION])[:12]
        self._head = b'{"schema":1,"model":"%s","predictions":[' % self.digest.encode()

    def probabilities(self, sequences: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """(N, K) for N arrays (T_i, F), as `Reader` gives them."""
        widths = {each.shape[1] for each in sequences}
        if len(widths) == 1:
            return self.model.probabilities(_together(sequences))
        groups: dict[int, list[int]] = defaultdict(list)
        for index, each in enumerate(sequences):
            groups[each.shape[1]].append(index)
        shares = np.empty((len(sequences), self.model.task.output_size))
        for chosen in groups.values():
            shares[chosen] = self.model.probabilities(_together([sequences[index] for index in chosen]))
        return shares

    def answer_all(self, wishes: Sequence[Wish]) -> list[bytes]:
        """The answers to plain requests, computed together."""
        shares = self.probabilities([each for wish in wishes for each in wish.sequences])
        rows = self.rows(shares)
        answers, start = [], 0
        for wish in wishes:
            end = start + len(wish.sequences)
            answers.append(self._head + ",".join(rows[start:end]).encode() + b"]}")
            start = end
        return answers

    def rows(self, shares: NDArray[np.float64]) -> list[str]:
        """Each row of probabilities (N, K) as JSON."""
        return self.model.task.json_rows(shares)

    def show(self, wish: Wish) -> bytes:
        """The answer to a request that wants to see what was read, or what happened. Raises Problem."""
        form = self.model.preprocessing
        predictions = []
        for sequence in wish.sequences:
            part = form.prepare(_together([sequence]))
            values, told = part.steps_of(0), None
            if wish.trace or wish.what_if is not None:
                told = self._trace(values, wish)
                shares = told.probabilities[-1]
            else:
                shares = self.model.task.probabilities(self.model.outputs(part))[0]
            found = self.model.task.decode(shares).to_json()
            if wish.seen:
                found["seen"] = self._seen(sequence, values)
            if wish.trace and told is not None:
                found["trace"] = told.to_json()
            predictions.append(found)
        return to_json({"schema": 1, "model": self.digest, "predictions": predictions})

    def _trace(self, values: NDArray[Any], wish: Wish) -> Trace:
        bundle = self.model
        if wish.what_if is not None:
            faults = wish.what_if.faults(bundle.network.architecture, len(values))
            if faults:
                raise Problem("wrong-values", faults[0], tuple((_pointer(each), each) for each in faults))
        nothing = baseline(bundle.network, bundle.preprocessing.picture is not None)
        return trace(bundle.network, values, bundle.class_names, self.model.divisor, wish.what_if, nothing)

    def _seen(self, sequence: NDArray[np.float32], values: NDArray[Any]) -> list[Any]:
        form = self.model.preprocessing.picture
        if form is None:
            steps: list[Any] = np.round(values.astype(np.float64), _DIGITS).tolist()
            return steps
        shape = (form.height, form.width) + ((3,) if form.channels == 3 else ())
        whole = np.array_equal(sequence, np.rint(sequence))
        picture: list[Any] = sequence.astype(np.int64 if whole else np.float64).reshape(shape).tolist()
        return picture

    def warm_up(self) -> None:
        """Answer once what costs more the first time."""
        form = self.model.preprocessing
        shape = (5, form.source_features)
        if form.picture is not None:
            shape = form.picture.height, form.picture.width * form.picture.channels
        nothing = np.zeros(shape, np.float32)
        self.answer_all([Wish((nothing,))])
        self.show(Wish((nothing,), seen=True, trace=True))
        if form.picture is not None:
            ink = np.zeros((form.picture.height, form.picture.width, form.picture.channels), np.uint8)
            ink[len(ink) // 4 : -len(ink) // 4, ink.shape[1] // 2] = 255
            with contextlib.suppress(DataError):
                fit_picture(ink, form.picture, "a stroke")

    def describe(self, name: str, limits: Limits) -> dict[str, Any]:
        """What `/v1/model` tells. name: what the model is called."""
        bundle = self.model
        a, tested = bundle.network.architecture, bundle.provenance.test
        return {
            "schema": 1,
            "name": name,
            "model": self.digest,
            "version": self.version,
            "trained_on": bundle.data,
            "classes": list(bundle.class_names),
            "input": _describe_input(self.model),
            "network": {
                "cell": a.cell,
                "layers": a.layers,
                "hidden_size": a.hidden_size,
                "bidirectional": a.bidirectional,
                "readout": a.readout,
                "parts": list(cells.get(a.cell).traced),
                "gates": list(cells.get(a.cell).clampable),
                "parameters": bundle.network.parameter_count,
            },
            "accuracy": None
            if tested is None
            else {"accuracy": tested.accuracy, "ci95": list(tested.ci95), "n": tested.n},
            "licence": bundle.provenance.licence or None,
            "calibrated": self.model.calibrated,
            "streams": streams(self.model),
            "limits": {
                "body_bytes": limits.body_bytes,
                "sequences": limits.sequences,
                "steps": limits.steps,
                "traced_steps": limits.traced_steps,
                "traced_numbers": limits.traced_numbers,
                "pixels": limits.pixels,
            },
        }


def streams(model: Model) -> bool:
    """Whether the model can answer while the steps come."""
    try:
        model.stream()
    except UsageError:
        return False
    return True


def _pointer(fault: str) -> str:
    """Of "what_if.clamp[0].gate must be ..."."""
    return "/" + re.sub(r"[.\[]", "/", fault.partition(" ")[0]).replace("]", "")


def _together(sequences: Sequence[NDArray[np.float32]]) -> MemorySource:
    return MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), "inputs")


def _describe_input(model: Model) -> dict[str, Any]:
    form = model.preprocessing
    picture, view = form.picture, form.seen
    if picture is None or view is None:
        names = list(form.settings.feature_columns)
        return {
            "kind": "sequence",
            "features": form.source_features,
            "names": names if len(names) == form.source_features else None,
            "missing": form.missing,
            "unit": "step",
        }
    steps = picture.height * picture.width * picture.channels // form.features
    numbers = np.repeat(np.arange(1, steps + 1), form.features).reshape(1, steps, form.features)
    places = view.undo(numbers)[0].reshape(picture.height, picture.width, picture.channels)
    return {
        "kind": "picture",
        "height": picture.height,
        "width": picture.width,
        "channels": picture.channels,
        "levels": picture.levels,
        "fit": picture.fit,
        "view": form.view,
        "unit": view.unit,
        "steps": steps,
        "features": form.features,
        "step_of_pixel": places[..., 0].tolist(),
    }
