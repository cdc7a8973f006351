"""What all estimators share: predictions of a model, and parameters that training needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from scanline.device import choose_device
from scanline.errors import ScanlineError
from scanline.estimator.samples import SampleReader
from scanline.model.artifact import TrainedModel
from scanline.python_terms import in_python

SEEDS = 2**31 - 1


class SequenceEstimator(SampleReader):
    """Base of all estimators: computes the outputs of the model that `fit` has trained."""

    # Keys of the recipe and the parameters that set them.
    _parameters: ClassVar[Mapping[str, str]] = {}
    _model: TrainedModel
    device: str
    random_state: Any

    @property
    def model_(self) -> TrainedModel:
        """The trained model, which can be saved, evaluated and exported."""
        check_is_fitted(self)
        return self._model

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Tells scikit-learn's checks that 3-D arrays are accepted beside tables.
        tags.input_tags.three_d_array = True
        return tags

    def _device(self) -> str:
        try:
            return choose_device(self.device)
        except ScanlineError as error:
            raise ValueError(self._in_parameters(str(error))) from error

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(SEEDS))

    def _in_parameters(self, message: str) -> str:
        """Return a message about a recipe with the names of the parameters that its keys come from."""
        message = in_python(message.removeprefix("recipe sequences with these settings: "))
        for key, parameter in self._parameters.items():
            if key not in (self.settings or {}):
                message = re.sub(rf"\b{re.escape(key)}\b", parameter, message)
        return message

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        sequences = self._read_sequences(X, reset=False)
        outputs: NDArray[np.float32] = self._model.outputs(self._model.preprocessing.prepare(sequences))
        return outputs


class SequenceClassifier(ClassifierMixin, SequenceEstimator):
    """Base of the classifiers: predicts classes with the model that `fit` has trained."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predicted class names, (n,); X as for `fit`."""
        chosen = self._outputs(X).argmax(1)
        predictions: NDArray[Any] = self.classes_[chosen]
        return predictions

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities (n, K), a column for each of `classes_`; X as for `fit`."""
        outputs = self._outputs(X)
        return self._model.task.probabilities(outputs)

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of the probabilities, (n, K); X as for `fit`."""
        # Log-softmax with the maximum subtracted, in float64: the logarithm of a probability that
        # underflowed would be -inf.
        logits = self._outputs(X).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        logarithms: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return logarithms

    def _check_classes(self, codes: NDArray[np.int64]) -> None:
        present = np.unique(codes)
        if len(present) < 2:
            raise ValueError(
                f"{type(self).__name__} expected at least 2 classes, got 1 class: {self.classes_[present[0]]}"
            )
