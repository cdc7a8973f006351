"""The scikit-learn face: `LSTMClassifier`, `GRUClassifier`, `RNNClassifier`.

Thin: inputs become Sequences, parameters a recipe, and the loop of `scanline.training` does the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from scanline import recipe
from scanline.data.found import check_values
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import as_numbers, from_arrays
from scanline.data.splits import Dataset, hold_out
from scanline.data.transforms.scaler import Scaler
from scanline.device import choose_device
from scanline.errors import DataError, ScanlineError
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model
from scanline.recipe import UNSAID, Recipe
from scanline.storage.tensors import pack_tensors
from scanline.training.events import Stepped
from scanline.training.preparation import Prepared, prepare
from scanline.training.state import BestValidation, TrainState, initial_state
from scanline.training.step import choose_computation, make_optimizer
from scanline.training.trainer import Trainer

_SETTINGS = UNSAID.model_copy(update={"picture": "none"})
_SEEDS = 2**31 - 1


class _RecurrentClassifier(ClassifierMixin, BaseEstimator):
    _cell: str
    _flat: bool  # whether X was a table in fit
    _width: int  # features of a step
    _model: Model
    _state: TrainState
    _plan: Recipe
    _first_seed: int
    _passes: int

    def __init__(
        self,
        *,
        hidden_size: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        readout: str = "max",
        dropout: float = 0.3,
        features_per_step: int = 1,
        scaling: str = "standard",
        epochs: int = 100,
        batch_size: int = 16,
        learning_rate: float = 0.003,
        noise: float = 0.3,
        class_weight: Any = None,
        validation_fraction: float = 0.0,
        patience: int = 0,
        settings: Any = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_size = hidden_size
        self.layers = layers
        self.bidirectional = bidirectional
        self.readout = readout
        self.dropout = dropout
        self.features_per_step = features_per_step
        self.scaling = scaling
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.noise = noise
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.settings = settings
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # --- what scikit-learn calls

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train anew.

        X: (n, T * features_per_step), (n, T, F), or a list of n arrays (T_i, F) or (T_i,) of different
        lengths. y: (n,) class names. sample_weight: (n,), not negative; 2 is the same as that sample twice,
        0 the same as without it. The order of the samples makes no difference.
        Raises ValueError if they do not fit, have fewer than two classes, or hold NaN.
        """
        sequences, labels = self._training_data(X, y, reset=True)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        part = _unique(*self._weighted(sequences, codes, sample_weight))
        self._check_classes(part)
        seed = self._seed()
        ready = self._ready(part, seed)
        scaler = Scaler.fit(ready.data.train, ready.recipe.input.scaling)
        state = initial_state(
            ready.recipe, ready.architecture, scaler.shift, scaler.scale, choose_device(self.device)
        )
        self._train(state, ready)
        self._first_seed, self._passes = seed, 1
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on with one pass over X, at a constant learning rate.

        classes: all class names that will ever come, needed at the first call. Scaling is learnt from the
        first call's samples, or from `fit`. X, y, sample_weight: as for `fit`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight must be None or a dict for partial_fit, which never sees all samples"
            )
        first = not hasattr(self, "_state")
        sequences, labels = self._training_data(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes must be given at the first call of partial_fit")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}, got {classes}")
        strange = np.setdiff1d(labels, self.classes_)
        if strange.size:
            raise ValueError(f"y holds the class {strange[0]}, which is not in classes {self.classes_}")
        codes = np.searchsorted(self.classes_, labels)
        part = _unique(*self._weighted(sequences, codes, sample_weight))
        seed, passes = (self._seed(), 0) if first else (self._first_seed, self._passes)
        ready = self._ready(part, (seed + passes) % _SEEDS, one_pass=True)
        if first:
            scaler = Scaler.fit(ready.data.train, ready.recipe.input.scaling)
            state = initial_state(
                ready.recipe, ready.architecture, scaler.shift, scaler.scale, choose_device(self.device)
            )
        else:
            state = replace(self._state, step=0, best=BestValidation())
        self._train(state, ready)
        self._first_seed, self._passes = seed, passes + 1
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) class names. X: as for `fit`."""
        chosen = self._logits(X).argmax(1)
        answers: NDArray[Any] = self.classes_[chosen]
        return answers

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, K) probabilities, a column for each of `classes_`. X: as for `fit`."""
        return softmax(self._logits(X))

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, K) logarithms of the probabilities. X: as for `fit`."""
        logits = self._logits(X).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        shares: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return shares

    @property
    def model_(self) -> Model:
        """The trained network as a `scanline.Model`, which can be saved, judged and exported.

        Its classes are those of `classes_` as whole numbers or text.
        """
        check_is_fitted(self)
        return self._model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # --- from what was given to what is trained on

    def _training_data(self, X: Any, y: Any, reset: bool) -> tuple[MemorySource, NDArray[Any]]:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        sequences = self._sequences(X, reset, y)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        check_consistent_length(sequences, labels)
        return sequences, labels

    def _sequences(self, X: Any, reset: bool, y: Any = None) -> MemorySource:
        """X as sequences; sets, or compares with, `n_features_in_` and `feature_names_in_`."""
        X, is_table = _as_given(X)
        if not is_table:
            return self._listed(X, reset)
        if not reset and not self._flat:
            if self._width > 1:
                raise ValueError(
                    f"expected X of shape (n, T, {self._width}), or a list of (T, {self._width}) arrays, "
                    f"as in fit, found shape {np.shape(X)}"
                )
            return self._listed(X, reset)
        given = (X,) if y is None else (X, y)
        checked = validate_data(self, *given, reset=reset, dtype=np.float32)
        table = checked if y is None else checked[0]
        width = self.features_per_step
        if width < 1 or table.shape[1] % width:
            raise ValueError(f"features_per_step must divide the {table.shape[1]} columns of X, got {width}")
        if reset:
            self._flat, self._width = True, width
        return self._checked(table.reshape(len(table), -1, width))

    def _listed(self, X: Any, reset: bool) -> MemorySource:
        sequences = self._checked(X)
        width = sequences.features
        if reset:
            self._flat, self._width, self.n_features_in_ = False, width, width
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
        elif width != self._width:
            raise ValueError(
                f"X has steps of {width} features, but {type(self).__name__} is expecting {self._width} "
                "features as input"
            )
        return sequences

    def _checked(self, X: Any) -> MemorySource:
        try:
            found = from_arrays(X, settings=_SETTINGS, source="X")
            check_values(found, missing=False)
        except DataError as error:
            raise ValueError(str(error)) from error
        return found.sequences

    def _weighted(
        self, sequences: MemorySource, codes: NDArray[np.int64], sample_weight: Any
    ) -> tuple[MemorySource, NDArray[np.float64]]:
        """Labelled sequences without those of weight 0, and their weights."""
        names = tuple(
            int(name) if isinstance(name, int | np.integer) else str(name) for name in self.classes_
        )
        weights = np.ones(len(sequences))
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, np.empty(len(sequences)), dtype=np.float64, ensure_non_negative=True
            )
            if not weights.any():
                raise ValueError("sample weights must not all be zero")
        part = replace(sequences, targets=codes.reshape(-1).astype(np.int64), classes=names)
        if self.class_weight is not None:
            of_class = compute_class_weight(
                self.class_weight,
                classes=self.classes_,
                y=self.classes_[part.targets],
                **({} if sample_weight is None else {"sample_weight": weights}),
            )
            weights = weights * of_class[part.targets]
        kept = np.flatnonzero(weights > 0)
        return (part, weights) if len(kept) == len(part) else (part.take(kept), weights[kept])

    def _check_classes(self, part: MemorySource) -> None:
        present = np.unique(part.targets)
        if len(present) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes to tell apart, found 1 class: "
                f"{self.classes_[present[0]]}"
            )

    # --- from parameters to training

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(_SEEDS))

    def _recipe(self, seed: int, count: int, one_pass: bool) -> Recipe:
        batch_size = min(self.batch_size, count)
        chosen = {
            "seed": seed,
            "input.scaling": self.scaling,
            "model.cell": self._cell,
            "model.hidden_size": self.hidden_size,
            "model.layers": self.layers,
            "model.bidirectional": self.bidirectional,
            "model.readout": self.readout,
            "model.dropout": self.dropout,
            "train.batch_size": batch_size,
            "train.learning_rate": self.learning_rate,
            "train.noise": self.noise,
            "train.samples": 0,
            "train.steps": -(-(1 if one_pass else self.epochs) * count // batch_size),
            "train.epochs": 0,
            "train.log_every": 100 if self.verbose else 0,
            "train.validate_every": 0 if one_pass else max(1, count // batch_size),
            "train.patience": 0 if one_pass else self.patience,
        }
        if one_pass or self.patience:  # who may stop at any time cannot wait for the rate to fall
            chosen["train.schedule"] = "constant"
        return recipe.load("sequences", chosen | dict(self.settings or {}))

    def _ready(self, part: MemorySource, seed: int, one_pass: bool = False) -> Prepared:
        """Raises ValueError if the parameters make no sense."""
        held: MemorySource | None = None
        try:
            if self.validation_fraction and not one_pass:
                kept, out = hold_out(part, self.validation_fraction, seed)
                held, part = part.take(out), part.take(kept)
            plan = self._recipe(seed, len(part), one_pass)
            data = Dataset("arrays", part, held, None, settings=_SETTINGS)
            return prepare(plan, data)
        except ScanlineError as error:
            raise ValueError(str(error)) from error

    def _train(self, state: TrainState, ready: Prepared) -> None:
        for event in Trainer(state, ready.recipe, ready.data, ready.task).events():
            if self.verbose and not isinstance(event, Stepped):
                print(event.line())
        if state.best.weights:
            state.network.load_state_dict(dict(state.best.weights))
        state.network.eval()
        self._state, self._plan = state, ready.recipe
        self._model = Model(state.network, ready.task, ready.preprocessing, ready.data.title)

    def _logits(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        sequences = self._sequences(X, reset=False)
        return self._model.outputs(self._model.preprocessing.prepare(sequences))

    # --- pickling: weights as safetensors, the rest as JSON, checked against their digests on loading

    def __getstate__(self) -> dict[str, Any]:
        held = dict(super().__getstate__())
        if "_model" in held:
            state = held.pop("_state")
            held["_plan"] = held["_plan"].to_toml()
            held["_model"] = held["_model"].to_bytes()
            held["_optimizer"] = pack_tensors(state.optimizer_tensors())
        return held

    def __setstate__(self, held: Mapping[str, Any]) -> None:
        held = dict(held)
        if "_bundle" in held:  # pickled before models had one class
            held["_model"] = held.pop("_bundle")
        if "_model" in held:
            loaded = Model.from_bytes(held["_model"], choose_device(held["device"]))
            plan = recipe.parse(held["_plan"])
            choose_computation(loaded.network, plan.train)
            state = TrainState(loaded.network, make_optimizer(loaded.network, plan.train))
            state.load_optimizer_tensors(safetensors.torch.load(held.pop("_optimizer")))
            held |= {"_model": loaded, "_plan": plan, "_state": state}
        super().__setstate__(held)


def _as_given(X: Any) -> tuple[Any, bool]:
    """X, and whether it is a table; otherwise it is an array (n, T, F) or a list of unequal ones."""
    if hasattr(X, "detach"):
        X = as_numbers(X, "X")
    if isinstance(X, np.ndarray):
        if X.dtype != object or X.ndim != 1:
            return X, X.ndim != 3
        X = list(X)
    if not isinstance(X, list | tuple):
        return X, True
    try:
        array = np.asarray([as_numbers(each, "X") if hasattr(each, "detach") else each for each in X])
    except ValueError:  # of different lengths
        return X, False
    return (array, False) if array.ndim == 3 else (X, True)


def _unique(part: MemorySource, weights: NDArray[np.float64]) -> MemorySource:
    """Equal sequences of one label as one that weighs as much as all of them, in an order of their own.

    Weights have mean 1; None if all are the same. So the order in which samples come makes no difference,
    and a weight of 2 is the same as the sample twice.
    """
    first: dict[bytes, int] = {}
    sums: dict[bytes, float] = {}
    for index in range(len(part)):
        label = b"%d" % part.targets[index]
        key = hashlib.blake2b(
            np.ascontiguousarray(part.steps_of(index)).data, digest_size=16, salt=label
        ).digest()
        first.setdefault(key, index)
        sums[key] = sums.get(key, 0.0) + float(weights[index])
    order = sorted(first)
    unique = part.take(np.array([first[key] for key in order]))
    merged = np.array([sums[key] for key in order])
    if (merged == merged[0]).all():
        return unique
    return replace(unique, weights=(merged / merged.mean()).astype(np.float32))


_PARAMETERS = """
    Parameters
    ----------
    hidden_size : units of each layer and direction.
    layers, bidirectional : of the network.
    readout : "last", "mean" or "max" of the outputs, from which the answer is read.
    dropout : share of every layer's outputs dropped in training.
    features_per_step : F, how many columns of a 2-D X make one step.
    scaling : "standard" gives each feature mean 0 and deviation 1 over the training steps; "none".
    epochs : passes over the training samples in `fit`.
    batch_size, learning_rate : of Adam, whose rate rises and falls in one cycle unless `patience` is set.
    noise : deviation of the normal noise that scaled values get in training.
    class_weight : None, "balanced", or a dict of class to weight.
    validation_fraction, patience : hold out so many samples, train at a constant rate, stop after so many
        epochs without a better accuracy on them, and keep the best weights; 0: do not.
    settings : further keys of Scanline's recipe, as {"train.precision": "bfloat16"}.
    device : "cpu", "cuda" or "auto".
    random_state : the same number gives the same classifier, bit for bit, on one machine and thread count.
    verbose : print the course.

    Attributes
    ----------
    classes_ : (K,) class names.
    n_features_in_ : columns of a 2-D X, or features of a step of any other.
    model_ : the trained `scanline.Model`.
    """


class LSTMClassifier(_RecurrentClassifier):
    __doc__ = f"""A long short-term memory network as a scikit-learn classifier.

    It reads (n, T * features_per_step) tables, (n, T, F) arrays and lists of (T_i, F) arrays of different
    lengths, in time that grows with the real steps alone.
    {_PARAMETERS}"""
    _cell = "lstm"


class GRUClassifier(_RecurrentClassifier):
    __doc__ = f"""A network of gated recurrent units as a scikit-learn classifier; see `LSTMClassifier`.
    {_PARAMETERS}"""
    _cell = "gru"


class RNNClassifier(_RecurrentClassifier):
    __doc__ = f"""A plain recurrent network (tanh) as a scikit-learn classifier; see `LSTMClassifier`.
    {_PARAMETERS}"""
    _cell = "rnn"
