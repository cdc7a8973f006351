"""Formats predictions as the bytes of responses."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from scanline.data.memory import MemorySource
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError
from scanline.explanation.attribution import baseline, integrated_gradients
from scanline.explanation.trace import Trace, trace
from scanline.formats.text import is_number
from scanline.model.artifact import TrainedModel
from scanline.model.model_files import DESCRIPTION
from scanline.serving.requests import Request, coder_of
from scanline.storage.digest import sha256
from scanline.tasks.base import JsonObject

_DECIMALS = 7  # of values in traces
_NODES = 256  # at which gradients of an attribution are evaluated; a server does not refine it further


class Responder:
    """Computes and formats the responses of one model. Several threads may use it.

    Args:
        model: The model; its network stays in evaluation mode.
        version: Of Scanline; part of the digest.

    Attributes:
        digest: The first 12 digits of the SHA-256 of the model's description.
        coder: Codes the steps of a model with categories; None for other models.
    """

    def __init__(self, model: TrainedModel, version: str) -> None:
        self.model, self.version, self.coder = model, version, coder_of(model)
        for each in model.models:
            each.network.eval()
        files = model.to_bytes(version)
        self.digest = sha256(files[DESCRIPTION])[:12]
        # All responses of a model begin with the same bytes.
        self._head = b'{"schema":1,"model":"%s","predictions":[' % self.digest.encode()

    def respond_all(self, requests: Sequence[Request]) -> list[bytes]:
        """Return the responses to plain requests, computed together."""
        texts = self._texts([each for request in requests for each in request.sequences])
        responses, start = [], 0
        for request in requests:
            end = start + len(request.sequences)
            responses.append(self._head + ",".join(texts[start:end]).encode() + b"]}")
            start = end
        return responses

    def respond(self, request: Request) -> bytes:
        """Return the response to a request that is not plain: with inputs, traces, what-ifs."""
        preprocessing = self.model.preprocessing
        predictions = []
        for number, sequence in enumerate(request.sequences):
            source = preprocessing.prepare(self._source([sequence]))
            values, traced = source.steps_of(0), None
            if request.trace or request.what_if is not None:
                traced = self._trace(values, request)
                probabilities = traced.probabilities
            else:
                probabilities = self.model.probabilities_of_steps(source)
            decode = self.model.task.decode
            if self.model.task.per_step:
                prediction: JsonObject = {"steps": [decode(row).to_json() for row in probabilities]}
            else:
                prediction = decode(probabilities[-1]).to_json()  # after the last step of a trace
            if self.coder is not None:
                prediction["unknown"] = self.coder.unknown(sequence)
            if request.show_input:
                prediction["seen"] = self._input(sequence, values)
                if request.given:
                    prediction["seen"] = self._named(request.given[number])
            if request.attribution:
                prediction["attribution"] = self._attribution(values, probabilities[-1])
            if request.trace and traced is not None:
                prediction["trace"] = traced.to_json()
            predictions.append(prediction)
        return to_json({"schema": 1, "model": self.digest, "predictions": predictions})

    def predictions(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Return each row of (N, K) probabilities as JSON."""
        return self.model.task.json_rows(probabilities)

    def _texts(self, sequences: Sequence[NDArray[np.float32]]) -> list[str]:
        """Return the prediction for each sequence, or those for each of its steps, as JSON."""
        if not self.model.task.per_step:
            return self._counted(self.predictions(self._probabilities(sequences)), sequences)
        texts = [""] * len(sequences)
        for chosen in _by_width(sequences).values():
            steps = self.model.steps(self._source([sequences[index] for index in chosen]))
            rows = iter(self.predictions(self.model.probabilities_of_steps(steps)))
            for index, length in zip(chosen, steps.lengths.tolist(), strict=True):
                texts[index] = f'{{"steps":[{",".join(itertools.islice(rows, length))}]}}'
        return self._counted(texts, sequences)

    def _counted(self, texts: list[str], sequences: Sequence[NDArray[np.float32]]) -> list[str]:
        """Return predictions as JSON objects with the number of unknown categories, if the model has any."""
        if self.coder is None:
            return texts
        counts = map(self.coder.unknown, sequences)
        return [f'{text[:-1]},"unknown":{count}}}' for text, count in zip(texts, counts, strict=True)]

    def _named(self, rows: list[list[Any]]) -> list[Any]:
        """Return the cells that the network read: of a text its tokens."""
        assert self.coder is not None
        return [row[0] for row in rows] if self.coder.reads_text else rows

    def _source(self, sequences: Sequence[NDArray[np.float32]]) -> MemorySource:
        if self.coder is not None:
            return self.coder.source(sequences)
        return MemorySource.from_list(sequences, np.zeros(len(sequences), np.int64), (), "inputs")

    def warm_up(self) -> None:
        """Compute one response of each kind, since the first one takes longer."""
        preprocessing = self.model.preprocessing
        shape = (5, preprocessing.source_features)
        if preprocessing.picture is not None:
            picture = preprocessing.picture
            shape = picture.height, picture.width * picture.channels
        pad_value = preprocessing.settings.pad_value
        # Zeros, unless they are padding, of which a sequence cannot consist.
        values = np.full(shape, is_number(pad_value) and float(pad_value) == 0, np.float32)
        self.respond_all([Request((values,))])
        self.respond(Request((values,), show_input=True, trace=len(self.model.models) == 1))
        if preprocessing.picture is not None:
            image = np.zeros((picture.height, picture.width, picture.channels), np.uint8)
            # A vertical stroke, so that the image is not empty.
            image[len(image) // 4 : -len(image) // 4, image.shape[1] // 2] = 255
            with contextlib.suppress(DataError):  # too small to hold a stroke
                fit_picture(image, picture, "a stroke")

    def _probabilities(self, sequences: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return (N, K) for N arrays (T_i, F_i), each as wide as the source or as the network's input."""
        # A source has one width; requests may mix both accepted widths, which then takes one pass for each.
        groups = _by_width(sequences)
        if len(groups) == 1:
            return self.model.probabilities(self._source(sequences))
        # Float64, as `Model.probabilities` returns; filled group by group, in the order of the requests.
        probabilities = np.empty((len(sequences), self.model.task.output_size))
        for chosen in groups.values():
            own = self._source([sequences[index] for index in chosen])
            probabilities[chosen] = self.model.probabilities(own)
        return probabilities

    def _trace(self, values: NDArray[Any], request: Request) -> Trace:
        model = self.model.one_network("a trace")
        blank = baseline(model.network, model.preprocessing.picture is not None)
        return trace(model.network, values, model.task, model.divisor, request.what_if, blank)

    def _attribution(self, values: NDArray[Any], probabilities: NDArray[np.float64]) -> JsonObject:
        """Return how much each value contributed to the output that is explained."""
        model = self.model.one_network("an attribution")
        background = baseline(model.network, model.preprocessing.picture is not None)
        target = model.task.explained_output(probabilities)
        found = integrated_gradients(model.network, values, target, background, _NODES)
        return {
            "of": model.task.output_names[target],
            "values": np.round(found.values, _DECIMALS).tolist(),
            "sum": float(found.values.sum()),
            "error": found.error,
        }

    def _input(self, sequence: NDArray[np.float32], values: NDArray[Any]) -> list[Any]:
        """Return what the network read: an image as it was given, or (T, F)."""
        picture = self.model.preprocessing.picture
        if picture is None:
            steps: list[Any] = np.round(values.astype(np.float64), _DECIMALS).tolist()
            return steps
        shape = (picture.height, picture.width) + ((3,) if picture.channels == 3 else ())
        whole = np.array_equal(sequence, np.rint(sequence))
        pixels: list[Any] = sequence.astype(np.int64 if whole else np.float64).reshape(shape).tolist()
        return pixels


def _by_width(sequences: Sequence[NDArray[np.float32]]) -> dict[int, list[int]]:
    """Return the indices of the sequences of each width."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, each in enumerate(sequences):
        groups[each.shape[1]].append(index)
    return groups
