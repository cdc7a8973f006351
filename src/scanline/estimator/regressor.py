"""The regressors: samples become a dataset with numbers as targets, and the base does the rest."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from scanline.estimator.documentation import REGRESSOR_PARAMETERS
from scanline.estimator.recurrent import RecurrentEstimator
from scanline.estimator.samples import merge_duplicates
from scanline.tasks.regression import Regression


class _RecurrentRegressor(RegressorMixin, RecurrentEstimator):
    _task = "regression"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new regressor. The order of the samples makes no difference.

        Args:
            X: (n, T * features_per_step), (n, T, F), or a list of n arrays (T_i, F) or (T_i,) of different
                lengths; a list of n texts; or a data frame, or a list of n data frames, whose columns of
                text and categories are embedded.
            y: (n,) numbers.
            sample_weight: (n,), not negative; 2 is the same as the sample twice, 0 the same as without it.

        Raises:
            ValueError: If X and y do not fit, all of y are equal, or they hold NaN.
        """
        sequences, numbers = self._read_numbers(X, y)
        if len(numbers) == 1:
            raise ValueError(f"{type(self).__name__} expected at least 2 samples, got 1 sample")
        distinct, codes = np.unique(numbers, return_inverse=True)
        source = self._with_numbers(sequences, distinct, codes)
        source = merge_duplicates(*self._kept(source, self._weights_of(source, sample_weight)))
        seed = self._seed()
        prepared = self._prepare(source, seed)
        self._train(self._begin(prepared), prepared)
        self._first_seed, self._passes = seed, 1
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, (n,); X as for `fit`."""
        outputs = self._outputs(X)
        numbers: NDArray[np.float64] = self._model.task.predict(outputs)
        return numbers

    def predict_interval(self, X: Any) -> NDArray[np.float64]:
        """Return the prediction intervals, (n, 2): lower and upper ends; X as for `fit`.

        They are calibrated with the samples that `validation_fraction` holds out, to contain 90 % of the
        targets.

        Raises:
            ValueError: If fewer than 9 samples, or none, were held out.
        """
        check_is_fitted(self)
        task = self._model.task
        assert isinstance(task, Regression)
        if task.half_width is None:
            raise ValueError(
                f"this {type(self).__name__} has no prediction intervals: fit it with a validation_fraction "
                "that holds out 9 samples or more"
            )
        ends: NDArray[np.float64] = self.predict(X)[:, None] + np.array([-task.half_width, task.half_width])
        return ends


class LSTMRegressor(_RecurrentRegressor):
    __doc__ = f"""Long short-term memory network as a scikit-learn regressor.

    It accepts tables (n, T * features_per_step), arrays (n, T, F), lists of arrays (T_i, F) of different
    lengths, lists of texts, and data frames, whose columns of names are embedded. Its running time grows with
    the real steps only, not with padding.
    {REGRESSOR_PARAMETERS}"""
    _cell = "lstm"


class GRURegressor(_RecurrentRegressor):
    __doc__ = f"""Network of gated recurrent units as a scikit-learn regressor; see `LSTMRegressor`.
    {REGRESSOR_PARAMETERS}"""
    _cell = "gru"


class RNNRegressor(_RecurrentRegressor):
    __doc__ = f"""Plain recurrent network (tanh) as a scikit-learn regressor; see `LSTMRegressor`.
    {REGRESSOR_PARAMETERS}"""
    _cell = "rnn"
