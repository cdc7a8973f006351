"""What the recurrent estimators share: parameters become a recipe, and `scanline.training` does the rest."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

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
from scanline.estimator.prediction import SequenceEstimator
from scanline.estimator.samples import TEXT_RECIPE, TEXTS
from scanline.model.artifact import Model
from scanline.model.predictor import Predictor
from scanline.recipe import Recipe
from scanline.recipe import load as load_recipe
from scanline.storage.tensors import pack_tensors
from scanline.tasks import Task
from scanline.training.events import Stepped
from scanline.training.preparation import Prepared, prepare, sample_count
from scanline.training.state import TrainState, initial_state
from scanline.training.step import choose_computation, make_optimizer
from scanline.training.trainer import Trainer

SEQUENCES = "sequences"  # the recipe of all but texts
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


class RecurrentEstimator(SequenceEstimator):
    """Base of the estimators of one recurrent network."""

    _parameters = _PARAMETERS
    _cell: str
    _task = "classification"
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
        validation_fraction: float = 0.0,
        patience: int = 0,
        settings: Any = None,
        recipe: Any = None,
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
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.settings = settings
        self.recipe = recipe
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @property
    def model_(self) -> Model:
        """The trained `scanline.Model`, which can be saved, evaluated and exported."""
        check_is_fitted(self)
        return self._model

    # --- from parameters to training

    def _base(self) -> str:
        """Return the recipe that the parameters change."""
        if self.recipe is not None:
            return str(self.recipe)
        return TEXT_RECIPE if self._reads == TEXTS else SEQUENCES

    def _given(self, base: Recipe) -> dict[str, Any]:
        """Return the parameters of the recipe by name: of another than `sequences` those that are set.

        A parameter counts as set if it differs from its default.
        """
        names = [*self._parameters.values(), "epochs"]
        values = {name: getattr(self, name) for name in names}
        if self._base() == SEQUENCES:
            return values
        defaults = inspect.signature(type(self)).parameters
        values = {name: value for name, value in values.items() if value != defaults[name].default}
        return {"batch_size": base.train.batch_size, "epochs": base.train.epochs or self.epochs} | values

    def _recipe(self, seed: int, count: int, one_pass: bool) -> Recipe:
        base = self._base()
        given = self._given(load_recipe(base))
        batch_size = min(given.pop("batch_size"), count)
        epochs = given.pop("epochs")
        keys = {parameter: key for key, parameter in self._parameters.items()}
        chosen = {keys[name]: value for name, value in given.items()} | {
            "seed": seed,
            "task": self._task,
            "split.validation": self.validation_fraction,
            "model.cell": self._cell,
            "train.batch_size": batch_size,
            "train.samples": 0,
            "train.steps": -(-(1 if one_pass else epochs) * count // batch_size),
            "train.epochs": 0,
            "train.log_every": 100 if self.verbose else 0,
            "train.validate_every": 0 if one_pass else max(1, count // batch_size),
            "train.patience": 0 if one_pass else self.patience,
        }
        if one_pass or self.patience:  # training that may end early must not rely on a falling rate
            chosen["train.schedule"] = "constant"
        settings = dict(self.settings or {})
        # Settings come last: of train.steps and train.samples, the later one counts.
        return load_recipe(base, {key: chosen[key] for key in chosen if key not in settings} | settings)

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
            if plan.input.window:
                plan = self._recipe(seed, sample_count(plan, data), one_pass)
            return prepare(plan, data)
        except ScanlineError as error:
            raise ValueError(self._in_parameters(str(error))) from error

    def _begin(self, prepared: Prepared) -> TrainState:
        """Return the state before the first step; the scaling is that of the training samples."""
        plan = prepared.recipe
        scaler = Scaler.fit(prepared.data.train, plan.input.scaling)
        return initial_state(plan, prepared.architecture, scaler.shift, scaler.scale, self._device())

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
        windows = prepared.preprocessing.windows
        trainer = Trainer(state, prepared.recipe, prepared.data, prepared.task, windows=windows)
        for event in trainer.events():
            if self.verbose and not isinstance(event, Stepped):
                print(event.line())
        # Early stopping keeps the best validation weights; empty if validation did not select any.
        if state.best.weights:
            state.network.load_state_dict(dict(state.best.weights))
        state.network.eval()
        self._state, self._plan = state, prepared.recipe
        task = _calibrated(prepared, state)
        self._model = Model(state.network, task, prepared.preprocessing, prepared.data.title)

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


def _calibrated(prepared: Prepared, state: TrainState) -> Task:
    """Return the task with what it learns from held-out samples: prediction intervals, where it has them."""
    task, validation = prepared.task, prepared.data.validation
    if validation is None or task.has_accuracy:
        return task
    outputs = Predictor(state.network, joining=prepared.joining).outputs(validation)
    errors = task.calibration_errors(outputs, task.encode(validation), validation.lengths)
    return task if errors is None else task.calibrated(errors)
