"""The classifiers: samples become a dataset, and the base does the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from scanline.estimator.documentation import PARAMETERS
from scanline.estimator.prediction import SEEDS, SequenceClassifier
from scanline.estimator.recurrent import RecurrentEstimator
from scanline.estimator.samples import merge_duplicates
from scanline.training.state import BestValidation


class _RecurrentClassifier(SequenceClassifier, RecurrentEstimator):
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
        recipe: Any = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_size=hidden_size,
            layers=layers,
            bidirectional=bidirectional,
            readout=readout,
            dropout=dropout,
            features_per_step=features_per_step,
            scaling=scaling,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            noise=noise,
            validation_fraction=validation_fraction,
            patience=patience,
            settings=settings,
            recipe=recipe,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    # --- what scikit-learn calls

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new classifier. The order of the samples makes no difference.

        Args:
            X: (n, T * features_per_step), (n, T, F), or a list of n arrays (T_i, F) or (T_i,) of different
                lengths; a list of n texts; or a data frame, or a list of n data frames, whose columns of
                text and categories are embedded.
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
        state = self._begin(prepared)
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
        self._refuse_names("partial_fit", "use fit, whose vocabulary is that of all samples")
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
        # Network and optimiser moments are carried over; the step restarts with each pass.
        state = self._begin(prepared) if first else replace(self._state, step=0, best=BestValidation())
        self._train(state, prepared)
        self._first_seed, self._passes = seed, passes + 1
        return self


class LSTMClassifier(_RecurrentClassifier):
    __doc__ = f"""Long short-term memory network as a scikit-learn classifier.

    It accepts tables (n, T * features_per_step), arrays (n, T, F), lists of arrays (T_i, F) of different
    lengths, lists of texts, and data frames, whose columns of names are embedded. Its running time grows with
    the real steps only, not with padding.
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
