"""What tasks that predict one of K classes have in common: the class names, and how outputs become one."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.class_names import MAX_NAME_CHARACTERS
from scanline.data.labels import BytesName, class_array
from scanline.data.source import ClassName
from scanline.errors import join_names
from scanline.metrics.probabilities import softmax
from scanline.tasks.base import DecodedPrediction, JsonObject, Task

# Characters of all class names in an array of them, where each takes as many as the longest.
_NAMES_CHARACTERS = 2**24


@dataclass(frozen=True)
class ClassTask(Task):
    """A task whose predictions are one of K classes.

    Attributes:
        classes: The K class names, in the type of the labels; output k is the logit of class k.
    """

    classes: tuple[ClassName, ...]

    @property
    def output_size(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def output_names(self) -> tuple[ClassName, ...]:
        """The class names."""
        return self.classes

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the softmax of `outputs` (..., K) in float64."""
        return softmax(outputs)

    def quick_probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the softmax of `outputs` (..., K) in float64, computed by NumPy."""
        values: NDArray[np.float64] = outputs.astype(np.float64)
        if values.ndim > 1:
            # Subtracting the maximum keeps exp from overflowing; the quotient is unchanged.
            exponentials = np.exp(values - values.max(-1, keepdims=True))
            return exponentials / exponentials.sum(-1, keepdims=True)  # type: ignore[no-any-return]
        # The same for one step of a stream, in half the time: in place, without NumPy's Python wrappers.
        values -= np.maximum.reduce(values)
        np.exp(values, values)
        values /= np.add.reduce(values)
        return values

    def votes(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities, (..., K)."""
        return self.quick_probabilities(outputs)

    def outputs_of_votes(self, votes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithms of mean probabilities, (..., K)."""
        # A probability that is too small for float64 is 0.
        logarithms: NDArray[np.float64] = np.log(np.maximum(votes, np.finfo(np.float64).tiny))
        return logarithms

    def predict(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the names of the classes with the largest output, (N,)."""
        predictions: NDArray[Any] = class_array(self.classes)[outputs.argmax(-1)]
        return predictions

    def labels(self, outputs: NDArray[Any]) -> list[ClassName | float]:
        """Return the predicted class names, as they are."""
        return [self.classes[index] for index in outputs.argmax(-1)]

    def decode(self, probabilities: NDArray[np.float64]) -> DecodedPrediction:
        """Return the most probable class and the probabilities (K,) by class name."""
        best = int(probabilities.argmax())
        named = dict(zip(map(str, self.classes), probabilities.tolist(), strict=True))
        return DecodedPrediction(self.classes[best], float(probabilities[best]), named)

    def json_rows(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Return `decode` of each row as JSON text; the names are encoded once."""
        labels, keys = self._encoded_names
        texts = []
        for row, best in zip(probabilities.tolist(), probabilities.argmax(1).tolist(), strict=True):
            # repr of a float is the shortest text that reads back to the same bits, as in json.dumps.
            named = ",".join(f"{key}:{value!r}" for key, value in zip(keys, row, strict=True))
            texts.append(
                f'{{"label":{labels[best]},"probability":{row[best]!r},"probabilities":{{{named}}}}}'
            )
        return texts

    @cached_property
    def _encoded_names(self) -> tuple[list[str], list[str]]:
        labels = [json.dumps(name, ensure_ascii=False) for name in self.classes]
        return labels, [json.dumps(str(name), ensure_ascii=False) for name in self.classes]

    def explained_output(self, probabilities: NDArray[np.float64]) -> int:
        """Return the index of the most probable class."""
        return int(probabilities.argmax())

    def describe(self) -> str:
        """Return as "10 classes: 0, 1, 2, ..."."""
        return f"{len(self.classes):,} classes: {join_names(self.classes)}"

    def to_json(self) -> JsonObject:
        """Return {"classes": K names}; "bytes" has the labels that are bytes as Latin-1, by name."""
        labels = {
            str(name): name.given.decode("latin-1") for name in self.classes if isinstance(name, BytesName)
        }
        return {"classes": list(map(_plain, self.classes))} | ({"bytes": labels} if labels else {})

    @classmethod
    def from_json(cls, state: JsonObject) -> Self:
        """Return the task with the class names of `state`. Raises ValueError for fewer than two."""
        classes = state.get("classes")
        if not isinstance(classes, list) or not all(
            type(name) in (bool, int, float, str) for name in classes
        ):
            raise ValueError("expected classes, a list of integers, numbers, booleans or text")
        if not all(math.isfinite(name) for name in classes if isinstance(name, float)):
            raise ValueError("expected classes that are finite numbers")
        cls.check_names([str(name) for name in classes])
        return cls(tuple(_with_bytes(classes, state.get("bytes", {}))))

    @staticmethod
    def check_names(names: list[str]) -> None:
        """Check the class names of a saved task, as text. Raises ValueError saying what is wrong."""
        # Different as text: 3 and "3" would be the same key in JSON and in `encode`.
        if len(set(names)) != len(names):
            raise ValueError("expected classes with different names")
        # Older versions imported networks with one output, and predicted their only class for everything.
        if len(names) < 2:
            raise ValueError(f"expected at least 2 classes, got {len(names)}; import the network again")
        # json.loads accepts escaped lone surrogates, but they cannot be encoded as UTF-8 for any output.
        if re.search("[\ud800-\udfff]", "".join(names)):
            raise ValueError("expected class names in Unicode, got a lone surrogate")
        # `predict` makes a NumPy array of the names, N times as wide as the longest: one long name among
        # many classes would take gigabytes.
        longest = max(map(len, names))
        if longest > MAX_NAME_CHARACTERS or longest * len(names) > _NAMES_CHARACTERS:
            raise ValueError(f"class names are too long: {len(names)} names of up to {longest} characters")


def _plain(name: ClassName) -> ClassName:
    return str(name) if isinstance(name, BytesName) else name


def _with_bytes(classes: list[ClassName], labels: Any) -> list[ClassName]:
    """Return class names of which some are bytes. Raises ValueError if these have other names."""
    fault = ValueError("expected bytes, the labels of classes as Latin-1")
    if not isinstance(labels, dict):
        raise fault
    names = list(classes)
    for name, label in labels.items():
        try:
            index = classes.index(name)
            names[index] = BytesName(label.encode("latin-1"))
        except (AttributeError, UnicodeError, ValueError):
            raise fault from None
        if names[index] != name:
            raise fault
    return names
