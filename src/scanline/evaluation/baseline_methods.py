"""The methods that serve as baselines: from scikit-learn, and from aeon where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

MAJORITY = "majority class"
# Speeds on two cores of 2.6 GHz; only their order of magnitude matters. Multiplications of distances, cells
# of warping matrices, and values that 10,000 kernels transform, all per second.
_PRODUCTS, _CELLS, _TRANSFORMED = 3e10, 2e8, 4e5
# Warping paths may leave the diagonal by a tenth of the length: the usual window, which is also faster.
_WINDOW = 0.1
_COMPILING_S = 10.0  # numba compiles aeon's functions when they are first called
# In steps: kernels have 9 values; a window of less than a step would leave the Euclidean distance.
_SHORTEST_KERNEL, _SHORTEST_WARPED = 9, round(1 / _WINDOW)


@dataclass(frozen=True)
class Size:
    """Numbers of sequences that a method is fitted to and predicts, and the shape of a sequence."""

    fitted: int
    predicted: int
    features: int
    steps: int


@dataclass(frozen=True)
class Method:
    """A method with the interface of scikit-learn.

    Attributes:
        name: Its name.
        words: What it does.
        make: Makes the estimator from a seed.
        seconds: Estimates how long fitting and predicting take.
        takes: What it takes: nothing but the targets, sequences as vectors (N, F * T), or (N, F, T).
        package: What it needs.
        shortest: Smallest T.
    """

    name: str
    words: str
    make: Callable[[int], Any]
    seconds: Callable[[Size], float] = lambda size: 0.0
    takes: Literal["targets", "vectors", "sequences"] = "vectors"
    package: str = "sklearn"
    shortest: int = 1

    def obstacle(self, sizes: list[Size], limit_s: float) -> str:
        """Return why the method cannot be used for sequences of these sizes, "" if it can."""
        if importlib.util.find_spec(self.package) is None:
            return f"{self.package} is not installed: pip install {self.package}"
        steps = min((size.steps for size in sizes), default=self.shortest)
        if steps < self.shortest:
            return f"needs sequences of at least {self.shortest} steps, found {steps}"
        seconds = sum(map(self.seconds, sizes))
        if seconds > limit_s:
            return f"would take about {_duration(seconds)}, the limit is {_duration(limit_s)}"
        return ""


def methods(numbers: bool) -> tuple[Method, ...]:
    """Return the baselines for targets that are classes, or numbers; the simplest first."""
    return _OF_NUMBERS if numbers else _OF_CLASSES


def _majority(seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="most_frequent")


def _mean(seed: int) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="mean")


def _nearest(seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    # Trees are slower than brute force for vectors of hundreds of values.
    return KNeighborsClassifier(1, algorithm="brute")


def _nearest_number(seed: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(1, algorithm="brute")


def _nearest_warped(seed: int) -> Any:
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    return KNeighborsTimeSeriesClassifier(distance="dtw", distance_params={"window": _WINDOW})


def _rocket(seed: int) -> Any:
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed)


def _pairs(size: Size) -> float:
    return float(size.fitted) * size.predicted


def _rocket_seconds(size: Size) -> float:
    values = (size.fitted + size.predicted) * size.features * size.steps
    # The ridge classifier decomposes a matrix of as many rows as there are sequences.
    return _COMPILING_S + values / _TRANSFORMED + 3 * (size.fitted / 2000) ** 2


_OF_CLASSES = (
    Method(
        MAJORITY,
        "predicts the most frequent class of the training sequences",
        _majority,
        takes="targets",
    ),
    Method(
        "1-nearest neighbour",
        "the class of the training sequence at the smallest Euclidean distance (scikit-learn)",
        _nearest,
        lambda size: _pairs(size) * size.features * size.steps / _PRODUCTS,
    ),
    Method(
        "1-nearest neighbour, DTW",
        "the class of the training sequence at the smallest dynamic time warping distance, with a window of "
        f"{100 * _WINDOW:.0f} % of the length (aeon)",
        _nearest_warped,
        lambda size: _COMPILING_S / 2 + _pairs(size) * size.features * 2 * _WINDOW * size.steps**2 / _CELLS,
        takes="sequences",
        package="aeon",
        shortest=_SHORTEST_WARPED,
    ),
    Method(
        "MiniRocket",
        "a ridge classifier on 10,000 random convolution kernels (aeon)",
        _rocket,
        _rocket_seconds,
        takes="sequences",
        package="aeon",
        shortest=_SHORTEST_KERNEL,
    ),
)
_OF_NUMBERS = (
    Method("mean", "predicts the mean of the training targets", _mean, takes="targets"),
    Method(
        "1-nearest neighbour",
        "the number of the training sequence at the smallest Euclidean distance (scikit-learn)",
        _nearest_number,
        lambda size: _pairs(size) * size.features * size.steps / _PRODUCTS,
    ),
)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
