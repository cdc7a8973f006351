"""The regressors of the scikit-learn interface: scikit-learn's checks, and more."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import scanline
from scanline.estimator import GRURegressor, LSTMClassifier, LSTMRegressor, RNNRegressor

REGRESSORS = [LSTMRegressor, GRURegressor, RNNRegressor]
# One of the checks requires that 200 samples of ten columns are fitted.
CHECKED = {"hidden_size": 16, "epochs": 40, "noise": 0.0, "dropout": 0.0, "learning_rate": 0.02}
SMALL = {"hidden_size": 16, "epochs": 30, "noise": 0.0, "random_state": 0}


@parametrize_with_checks([LSTMRegressor(**CHECKED)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.campaign
@parametrize_with_checks([GRURegressor(**CHECKED), RNNRegressor(**CHECKED)])
def test_scikit_learns_own_checks_of_the_other_cells(estimator, check):
    check(estimator)


def sums(n: int = 120, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences of 2 to 8 steps of 2 features, and 50 plus 10 times the mean of the first feature."""
    draw = np.random.default_rng(seed)
    X = [draw.normal(size=(int(draw.integers(2, 9)), 2)) for _ in range(n)]
    return X, np.array([50 + 10 * each[:, 0].mean() for each in X])


@pytest.fixture(scope="module")
def fitted() -> LSTMRegressor:
    return LSTMRegressor(**SMALL, validation_fraction=0.25).fit(*sums())


def test_sequences_of_different_lengths_are_read(fitted):
    X, y = sums(seed=1)
    assert fitted.score(X, y) > 0.7  # R²
    assert fitted.predict(X).dtype == np.float64
    assert not hasattr(fitted, "classes_")


@pytest.mark.parametrize("kind", REGRESSORS)
def test_every_cell_learns_and_is_reproducible(kind):
    X, y = sums()
    one, other = (kind(**SMALL).fit(X, y) for _ in range(2))
    assert one.score(X, y) > 0.5
    assert one.predict(X).tolist() == other.predict(X).tolist()


def test_held_out_samples_give_intervals(fitted):
    X, y = sums(400, seed=2)
    low, high = fitted.predict_interval(X).T
    assert ((low < fitted.predict(X)) & (fitted.predict(X) < high)).all()
    assert 0.75 < np.mean((low <= y) & (y <= high)) <= 1


def test_without_held_out_samples_there_are_no_intervals():
    X, y = sums(20)
    regressor = LSTMRegressor(**SMALL | {"epochs": 1}).fit(X, y)
    with pytest.raises(ValueError, match="LSTMRegressor has no prediction intervals: fit it with a valid"):
        regressor.predict_interval(X)


def test_a_pickle_predicts_the_same(fitted):
    X, _ = sums(seed=3)
    assert pickle.loads(pickle.dumps(fitted)).predict(X).tolist() == fitted.predict(X).tolist()


def test_the_model_is_that_of_the_task(fitted, tmp_path):
    assert fitted.model_.task.name == "regression"
    fitted.model_.save(tmp_path / "model")
    X, _ = sums(seed=3)
    assert scanline.load(tmp_path / "model").predict(X).tolist() == fitted.predict(X).tolist()


def test_cross_validation_scores_by_r2():
    X, y = sums(60)
    padded = np.stack([np.resize(each, (4, 2)) for each in X])
    scores = cross_val_score(clone(LSTMRegressor(**SMALL | {"epochs": 2})), padded, y, cv=2)
    assert scores.shape == (2,)


def test_equal_targets_are_refused():
    with pytest.raises(ValueError, match="expected targets that differ"):
        LSTMRegressor(**SMALL).fit(np.zeros((10, 3, 1)), np.ones(10))


def test_parameters_are_those_of_the_classifier_without_classes():
    of_classes = set(LSTMClassifier().get_params())
    assert of_classes - set(LSTMRegressor().get_params()) == {"class_weight"}
    assert "class" not in LSTMRegressor.__doc__.replace("classifier", "class")
