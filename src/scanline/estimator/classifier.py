"""The estimators: parameters become a recipe, samples a dataset, and `scanline.training` does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import safetensors.torch
from sklearn.utils.validation import check_is_fitted

from scanline import recipe
from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.splits import hold_out
from scanline.data.transforms.scaler import Scaler
from scanline.device import choose_device
from scanline.errors import ScanlineError
from scanline.estimator.documentation import PARAMETERS
from scanline.estimator.prediction import SEEDS, SequenceClassifier
from scanline.estimator.samples import merge_duplicates
from scanline.model.artifact import Model
from scanline.recipe import Recipe
from scanline.storage.tensors import pack_tensors
from scanline.training.events import Stepped
from scanline.training.preparation import Prepared, prepare
from scanline.training.state import BestValidation, TrainState, initial_state
from scanline.training.step import choose_computation, make_optimizer
from scanline.training.trainer import Trainer

# Keys of the recipe and the parameters that set them.
_PARAMETERS = {
    "input.scaling": "scaling",
    "model.hidden_size": "hidden_size",
    "model.layers": "layers",
    "model.bidirectional": "bidirectional",
    "model.readout": "readout",
    "model.dropout": "dropout",
    "train.batch_size": "batch_size",
    "train.learning_rate": "learning_rate",
    "train.noise": "noise",
    "train.patience": "patience",
    "split.validation": "validation_fraction",
}


class _RecurrentClassifier(SequenceClassifier):
    _parameters = _PARAMETERS
    _cell: str
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
        """Train a new classifier. The order of the samples makes no difference.

        Args:
            X: (n, T * features_per_step), (n, T, F), or a list of n arrays (T_i, F) or (T_i,) of different
                lengths.
            y: (n,) class names.
            sample_weight: (n,), not negative; 2 is the same as the sample twice, 0 the same as without it.

        Raises:
            ValueError: If X and y do not fit, have fewer than two classes, or hold NaN.
        """
        # Parameters are validated here and not in `__init__`, which only stores them: scikit-learn's
        # `clone` and `set_params` rely on that.
        sequences, labels = self._read_samples(X, y, reset=True)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        source = merge_duplicates(*self._weight_samples(sequences, codes, sample_weight))
        self._check_classes(source.targets)
        seed = self._seed()
        prepared = self._prepare(source, seed)
        scaler = Scaler.fit(prepared.data.train, prepared.recipe.input.scaling)
        state = initial_state(
            prepared.recipe, prepared.architecture, scaler.shift, scaler.scale, self._device()
        )
        self._train(state, prepared)
        self._first_seed, self._passes = seed, 1
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Continue training with one pass over X, at a constant learning rate.

        The scaling is that of the first call's samples, or of `fit`.

        Args:
            X: As for `fit`.
            y: As for `fit`.
            classes: All class names of this and later calls; required in the first call.
            sample_weight: As for `fit`.

        Raises:
            ValueError: If X and y do not fit, or y has a class that is not in `classes`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight must be None or a dict for partial_fit, which never sees all samples"
            )
        first = not hasattr(self, "_state")
        sequences, labels = self._read_samples(X, y, reset=first)
        if first:
            if classes is None:
                raise ValueError("classes must be given at the first call of partial_fit")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}, got {classes}")
        unknown = np.setdiff1d(labels, self.classes_)
        if unknown.size:
            raise ValueError(f"y holds the class {unknown[0]}, which is not in classes {self.classes_}")
        # `classes_` is sorted and contains every label (checked above), so the positions are exact.
        codes = np.searchsorted(self.classes_, labels)
        source = merge_duplicates(*self._weight_samples(sequences, codes, sample_weight))
        # A different seed for each pass, derived from the first: passes differ in batch order and dropout,
        # and a sequence of calls stays reproducible.
        seed, passes = (self._seed(), 0) if first else (self._first_seed, self._passes)
        prepared = self._prepare(source, (seed + passes) % SEEDS, one_pass=True)
        if first:
            scaler = Scaler.fit(prepared.data.train, prepared.recipe.input.scaling)
            state = initial_state(
                prepared.recipe, prepared.architecture, scaler.shift, scaler.scale, self._device()
            )
        else:
            # Network and optimiser moments are carried over; the step restarts with each pass.
            state = replace(self._state, step=0, best=BestValidation())
        self._train(state, prepared)
        self._first_seed, self._passes = seed, passes + 1
        return self

    @property
    def model_(self) -> Model:
        """The trained `scanline.Model`, which can be saved, evaluated and exported.

        Its class names are `classes_`.
        """
        check_is_fitted(self)
        return self._model

    # --- from parameters to training

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
        if one_pass or self.patience:  # training that may end early must not rely on a falling rate
            chosen["train.schedule"] = "constant"
        given = dict(self.settings or {})
        # Settings come last: of train.steps and train.samples, the later one counts.
        return recipe.load("sequences", {key: chosen[key] for key in chosen if key not in given} | given)

    def _prepare(self, source: MemorySource, seed: int, one_pass: bool = False) -> Prepared:
        """Return recipe, data and architecture. Raises ValueError if the parameters are not valid."""
        held: MemorySource | None = None
        self._check_parameters()
        try:
            if self.validation_fraction and not one_pass:
                # Split after duplicates are merged, so that equal samples cannot be in both splits.
                kept, out = hold_out(source, self.validation_fraction, seed)
                held, source = source.take(out), source.take(kept)
            plan = self._recipe(seed, len(source), one_pass)
            splits = {"train": source} if held is None else {"train": source, "validation": held}
            data = Dataset("arrays", splits)
            return prepare(plan, data)
        except ScanlineError as error:
            raise ValueError(self._in_parameters(str(error))) from error

    def _check_parameters(self) -> None:
        """Raise ValueError for what the recipe cannot report, as it is computed from the parameters."""
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        fraction = self.validation_fraction
        if not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise ValueError(f"validation_fraction must be a number from 0 to below 1, got {fraction!r}")

    def _train(self, state: TrainState, prepared: Prepared) -> None:
        for event in Trainer(state, prepared.recipe, prepared.data, prepared.task).events():
            if self.verbose and not isinstance(event, Stepped):
                print(event.line())
        # Early stopping keeps the best validation weights; empty if validation did not select any.
        if state.best.weights:
            state.network.load_state_dict(dict(state.best.weights))
        state.network.eval()
        self._state, self._plan = state, prepared.recipe
        self._model = Model(state.network, prepared.task, prepared.preprocessing, prepared.data.title)

    # --- pickling: weights as safetensors, the rest as JSON, verified against their digests on loading

    def __getstate__(self) -> dict[str, Any]:
        held = dict(super().__getstate__())
        if "_model" in held:
            state = held.pop("_state")
            # Tensors as bytes of their own format: a pickle contains no torch objects and depends on no
            # torch version.
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
            # As in training, so that `partial_fit` continues with the same kernels after unpickling.
            choose_computation(loaded.network, plan.train)
            state = TrainState(loaded.network, make_optimizer(loaded.network, plan.train))
            state.load_optimizer_tensors(safetensors.torch.load(held.pop("_optimizer")))
            held |= {"_model": loaded, "_plan": plan, "_state": state}
        super().__setstate__(held)


class LSTMClassifier(_RecurrentClassifier):
    __doc__ = f"""Long short-term memory network as a scikit-learn classifier.

    It accepts tables (n, T * features_per_step), arrays (n, T, F) and lists of arrays (T_i, F) of different
    lengths. Its running time grows with the real steps only, not with padding.
    {PARAMETERS}"""
    _cell = "lstm"


class GRUClassifier(_RecurrentClassifier):
    __doc__ = f"""Network of gated recurrent units as a scikit-learn classifier; see `LSTMClassifier`.
    {PARAMETERS}"""
    _cell = "gru"


class RNNClassifier(_RecurrentClassifier):
    __doc__ = f"""Plain recurrent network (tanh) as a scikit-learn classifier; see `LSTMClassifier`.
    {PARAMETERS}"""
    _cell = "rnn"
