"""The estimator that searches its settings: parameters become a study, `scanline.search` does the rest."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils import indexable

from scanline.data.class_names import name_classes
from scanline.data.labels import as_class_name
from scanline.data.memory import MemorySource
from scanline.data.readers.arrays import Arrays
from scanline.device import choose_device
from scanline.errors import DataError, Interrupted, ScanlineError
from scanline.estimator.documentation import SEARCH_PARAMETERS
from scanline.estimator.prediction import SequenceClassifier
from scanline.model.artifact import Model
from scanline.model.ensemble import Ensemble
from scanline.model.loading import load
from scanline.search import check_installed
from scanline.search.records import StudyRecord

# What a request names otherwise than the estimator.
_PARAMETERS = {"split.folds": "cv", "folds": "cv", "trials": "n_trials", "workers": "n_jobs"}


class SequenceClassifierCV(SequenceClassifier):
    __doc__ = f"""Recurrent network as a scikit-learn classifier whose settings are searched in `fit`.

    Trials with different settings are validated by folds or on a held-out part of the samples, and the worse
    ones are stopped early. The best settings are then trained on all samples. It accepts what
    `LSTMClassifier` accepts: tables (n, T * features_per_step), arrays (n, T, F) and lists of arrays (T_i, F)
    of different lengths.
    {SEARCH_PARAMETERS}"""
    _parameters = _PARAMETERS
    _columns: NDArray[np.int64]  # of the model's outputs, for each of `classes_`
    class_weight = None

    def __init__(
        self,
        *,
        n_trials: int | None = 20,
        minutes: float | None = None,
        cv: int | None = None,
        space: Any = None,
        recipe: Any = None,
        ensemble: int = 0,
        features_per_step: int = 1,
        refit: bool = True,
        study: Any = None,
        settings: Any = None,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_trials = n_trials
        self.minutes = minutes
        self.cv = cv
        self.space = space
        self.recipe = recipe
        self.ensemble = ensemble
        self.features_per_step = features_per_step
        self.refit = refit
        self.study = study
        self.settings = settings
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Search settings, then train a classifier with the best ones on all samples.

        Args:
            X: (n, T * features_per_step), (n, T, F), or a list of n arrays (T_i, F) or (T_i,) of different
                lengths.
            y: (n,) class names.
            groups: (n,) samples of the same group are never in two folds.

        Raises:
            ValueError: If X and y do not fit, have fewer than two classes, or hold NaN; or if a parameter is
                not valid.
        """
        sequences, labels = self._read_samples(X, y, reset=True)
        self._refuse_names(type(self).__name__, "scanline.tune reads texts and categories")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._check_classes(codes)
        self._check_parameters()
        for name in ("_model", "cv_results_", "best_params_", "best_score_", "best_index_"):
            self.__dict__.pop(name, None)
        with self._as_value_errors(), self._folder() as folder:
            self._search(self._arrays(sequences, codes.reshape(-1), groups), folder)
        return self

    def _search(self, data: Arrays, folder: str) -> None:
        # Imported here: Optuna is an optional dependency.
        check_installed()
        from scanline.search.request import Request
        from scanline.search.storage import MEMORY, record_of
        from scanline.search.study import Search

        workers, seed = self._workers(), self._seed()
        given = {"data.picture": "none", "data.pad_value": "none", "seed": seed}
        request = Request(
            data=data,
            recipe=None if self.recipe is None else os.fspath(self.recipe),
            # All samples are trained on: those that are held out are taken away before.
            settings=given | dict(self.settings or {}) | {"split.test": 0.0},
            space=None if self.space is None else _plain(self.space),
            trials=self.n_trials,
            minutes=self.minutes,
            workers=workers,
            study=folder,
            storage=MEMORY if self.study is None and not workers else None,
            seed=seed,
            folds=self.cv,
            ensemble=self.ensemble,
            baselines=False,
            device=self._device(),
        )
        with contextlib.closing(Search.begin(request)) as search:
            search.run(self._show)
            study = record_of(search.storage, search.definition)
            if self.refit or study.best is None:
                found = search.finish()
                path = search.files.ensemble if found.members > 1 else search.files.winner
                self._model = load(path, self._device())
        self._set_results(study)

    def _set_results(self, study: StudyRecord) -> None:
        """Set what was found as attributes."""
        best = study.best
        assert best is not None
        assert best.last is not None
        self.best_params_, self.best_score_, self.best_index_ = best.settings, best.last.score, best.number
        trials, ranks = study.trials, {each.number: rank for rank, each in enumerate(study.ranked, 1)}
        last = [each.last for each in trials]
        self.cv_results_: dict[str, Any] = {
            **{f"param_{key}": _objects([each.settings.get(key) for each in trials]) for key in study.space},
            "params": [each.settings for each in trials],
            "mean_test_score": np.array([np.nan if each is None else each.score for each in last]),
            "mean_test_loss": np.array([np.nan if each is None else each.loss for each in last]),
            "rank_test_score": np.array([ranks.get(each.number, len(trials)) for each in trials], np.int32),
            "state": np.array([each.state for each in trials]),
            "rung": np.array([len(each.scores) - 1 for each in trials]),
        }

    def _show(self, study: StudyRecord) -> None:
        best = study.best
        if self.verbose and best is not None and best.last is not None:
            print(f"{len(study.trials)} trials: best {study.metric} {best.last.score:.4f} ({best.settings})")

    # --- from samples to a study

    def _arrays(self, sequences: MemorySource, codes: NDArray[np.int64], groups: Any) -> Arrays:
        names = [as_class_name(name) for name in self.classes_]
        known, self._columns = name_classes(names, np.arange(len(names)), "y", lambda *_: "y", typed=True)
        if len(known) < len(names):
            raise DataError("y: expected class names that differ in more than blanks around them")
        indexable(codes, groups)
        batch = sequences.gather(np.arange(len(sequences)))
        labels = np.asarray([names[code] for code in codes])
        lengths = None if sequences.uniform else sequences.lengths
        return Arrays(batch.values, labels, lengths, None if groups is None else np.asarray(groups))

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        """Yield the folder of the study: the one that is kept, or one that is removed afterwards."""
        if self.study is not None:
            yield str(Path(self.study).absolute())
            return
        with tempfile.TemporaryDirectory(prefix="scanline-") as folder:
            yield str(Path(folder) / "study")

    @contextlib.contextmanager
    def _as_value_errors(self) -> Iterator[None]:
        """Raise what a user can cause as scikit-learn expects it."""
        try:
            yield
        except Interrupted:
            # Searches of scikit-learn would take it for a bad setting.
            raise KeyboardInterrupt from None
        except ScanlineError as error:
            raise ValueError(self._in_parameters(str(error))) from error

    def _workers(self) -> int:
        """Return the number of worker processes; 0: trials are trained in this one."""
        jobs = 1 if self.n_jobs is None else self.n_jobs
        if jobs < 0:
            jobs = max(1, (os.cpu_count() or 1) + 1 + jobs)
        return 0 if jobs == 1 else jobs

    def _check_parameters(self) -> None:
        """Raise ValueError for what a request would report under another name."""
        for name, least in (("n_trials", 1), ("cv", 0), ("n_jobs", -1), ("ensemble", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            wrong = not whole or value < least or (name == "n_jobs" and value == 0)
            if wrong if value is not None else name == "ensemble":
                raise ValueError(f"{name} must be a whole number >= {least or 0}, got {value!r}")
        if self.cv == 1 or self.ensemble == 1:
            name = "cv" if self.cv == 1 else "ensemble"
            raise ValueError(f"{name} must be 0 or at least 2, got 1")
        if not isinstance(self.space, Mapping | None):
            raise ValueError(f"space must be a dict or None, got {type(self.space).__name__}")
        if self.n_trials is None and self.minutes is None:
            raise ValueError("n_trials or minutes must be given, the size of the search")

    # --- prediction

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        if hasattr(self, "cv_results_") and not hasattr(self, "_model"):
            raise NotFittedError(f"this {type(self).__name__} has no model: set refit=True")
        with self._as_value_errors():
            outputs: NDArray[np.float32] = super()._outputs(X)[:, self._columns]
        return outputs

    # --- pickling, as of the other estimators

    def __getstate__(self) -> dict[str, Any]:
        held = dict(super().__getstate__())
        if "_model" in held:
            held["_ensemble"] = isinstance(self._model, Ensemble)
            held["_model"] = self._model.to_bytes()
        return held

    def __setstate__(self, held: Mapping[str, Any]) -> None:
        held = dict(held)
        if "_model" in held:
            kind = Ensemble if held.pop("_ensemble") else Model
            held["_model"] = kind.from_bytes(held["_model"], choose_device(held["device"]))
        super().__setstate__(held)


def _objects(values: list[Any]) -> NDArray[Any]:
    """Return values as an array of objects, as scikit-learn has them."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain(value: Any) -> Any:
    """Return a space without NumPy's types, with lists for tuples and arrays."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist()) if isinstance(value, np.ndarray) else value.item()
    return [_plain(each) for each in value] if isinstance(value, list | tuple | range) else value
