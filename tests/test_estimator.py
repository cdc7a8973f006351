"""The scikit-learn interface: scikit-learn's checks, and more."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import scanline
from scanline import recipe
from scanline.errors import ModelError
from scanline.estimator import GRUClassifier, LSTMClassifier, RNNClassifier

CLASSIFIERS = [LSTMClassifier, GRUClassifier, RNNClassifier]
SMALL = {"hidden_size": 16, "epochs": 20, "random_state": 0}


@parametrize_with_checks([LSTMClassifier(hidden_size=16, epochs=20)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.campaign
@parametrize_with_checks([GRUClassifier(hidden_size=16, epochs=20), RNNClassifier(hidden_size=16, epochs=20)])
def test_scikit_learns_own_checks_of_the_other_cells(estimator, check):
    check(estimator)


def turns(n: int = 40, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences of 3 to 12 steps of 2 features that rise or fall, and the names of what they do."""
    draw = np.random.default_rng(seed)
    X = []
    for index in range(n):
        steps = np.arange(draw.integers(3, 13))
        rise = np.stack([steps, draw.normal(size=len(steps))], axis=1)
        X.append((rise if index % 2 else -rise) + draw.normal(size=rise.shape) * 0.1)
    return X, np.array(["falls", "rises"])[np.arange(n) % 2]


@pytest.fixture(scope="module")
def fitted() -> LSTMClassifier:
    return LSTMClassifier(**SMALL).fit(*turns())


def test_sequences_of_different_lengths_are_read(fitted):
    X, y = turns(seed=1)
    assert fitted.score(X, y) == 1.0
    assert fitted.classes_.tolist() == ["falls", "rises"]
    assert fitted.n_features_in_ == 2
    assert fitted.predict_proba(X).shape == (40, 2)


def test_logarithms_are_those_of_the_probabilities(fitted):
    X, _ = turns(seed=1)
    assert fitted.predict_log_proba(X) == pytest.approx(np.log(fitted.predict_proba(X)), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 15), min_size=1, max_size=8),
    padding=st.sampled_from([0.0, 1.0, np.nan, -1e30]),
    seed=st.integers(0, 1000),
)
def test_a_prediction_depends_only_on_its_sequence(fitted, lengths, padding, seed):
    draw = np.random.default_rng(seed)
    X = [draw.normal(size=(length, 2)) * 3 for length in lengths]
    together = fitted.predict_proba(X)
    padded = np.full((len(X), max(lengths) + 2, 2), padding)
    for row, sequence in zip(padded, X, strict=True):
        row[: len(sequence)] = sequence
    with_lengths = fitted.model_.predict_proba(padded, lengths)
    for index, sequence in enumerate(X):
        assert np.abs(fitted.predict_proba([sequence])[0] - together[index]).max() <= 1e-6
        assert np.abs(with_lengths[index] - together[index]).max() <= 1e-6


def test_the_same_data_in_any_type_give_the_same_classifier():
    """A table, an array, lists, tensors: T * F columns are T steps of F features."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(24, 5, 3)).astype(np.float32), np.arange(24) % 3
    X[:, :, 0] += y[:, None]
    kinds = {
        "array": X,
        "list of arrays": list(X),
        "nested lists": X.tolist(),
        "tensor": torch.tensor(X),
        "list of tensors": [torch.tensor(each) for each in X],
        "objects": np.array([*X, None], dtype=object)[:-1],
        "table": X.reshape(24, 15),
    }
    predicted = {}
    for name, dress in kinds.items():
        classifier = LSTMClassifier(**SMALL | {"epochs": 3}, features_per_step=3).fit(dress, y)
        predicted[name] = classifier.predict_proba(dress)
        assert classifier.n_features_in_ == (15 if name == "table" else 3)
    for name, item in predicted.items():
        assert np.array_equal(item, predicted["array"]), name


def test_a_list_of_plain_rows_is_a_table_of_single_values():
    X = [[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]] * 5
    classifier = LSTMClassifier(**SMALL).fit(X, ["up", "down"] * 5)
    assert classifier.n_features_in_ == 3
    assert classifier.predict(X[:2]).tolist() == ["up", "down"]


def test_series_of_one_feature_may_be_one_dimensional():
    X = [np.arange(3.0), -np.arange(5.0), np.arange(4.0), -np.arange(2.0)] * 4
    classifier = LSTMClassifier(**SMALL).fit(X, ["up", "down"] * 8)
    assert classifier.n_features_in_ == 1
    assert classifier.predict([np.arange(6.0)]).tolist() == ["up"]
    assert classifier.predict(np.arange(4.0)[None]).tolist() == ["up"]  # (n, T), as one feature needs no axis


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([np.zeros((3, 2)), np.zeros((4, 3))], "X: sequence 1: expected 2 features as in sequence 0"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], "X: sequence 1: expected shape .* found \\(0, 2\\)"),
        ([np.zeros((3, 2)), np.full((4, 2), np.nan)], "X: sequence 1, step 0, feature 0: expected a finite"),
        ([np.zeros((3, 2)), np.full((4, 2), "a")], "expected an array of numbers"),
        (np.full((2, 3, 2), np.inf), "sequence 0, step 0, feature 0: expected a finite number, found inf"),
        (np.zeros((2, 3, 2, 2)), "expected <= 2|expected values of shape|dim 4"),
        (np.zeros((2, 7)), "features_per_step must divide the 7 columns of X, got 2"),
    ],
)
def test_unreadable_input_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        LSTMClassifier(**SMALL, features_per_step=2).fit(X, [0, 1])


def test_steps_of_another_width_are_refused(fitted):
    with pytest.raises(ValueError, match="X has steps of 3 features, but LSTMClassifier is expecting 2"):
        fitted.predict([np.zeros((4, 3))])
    with pytest.raises(ValueError, match=r"expected X of shape \(n, T, 2\), or a list of \(T, 2\) arrays"):
        fitted.predict(np.zeros((4, 6)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be >= 1, got 0"),
        ({"readout": "first"}, "readout must be one of 'last', 'mean'"),
        ({"patience": 3}, "patience requires a validation split"),
        (
            {"settings": {"train.precission": "bfloat16"}},
            "unknown key 'train.precission'; did you mean 'train.precision'",
        ),
        ({"learning_rate": -1.0}, "learning_rate must be > 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_the_recipes_rules(parameters, message):
    with pytest.raises(ValueError, match=message):
        LSTMClassifier(**SMALL | parameters).fit(*turns())


def test_the_defaults_are_those_of_the_sequences_recipe():
    plan, classifier = recipe.load("sequences"), LSTMClassifier()
    assert (
        classifier.get_params()
        | {
            "hidden_size": plan.model.hidden_size,
            "layers": plan.model.layers,
            "bidirectional": plan.model.bidirectional,
            "readout": plan.model.readout,
            "dropout": plan.model.dropout,
            "scaling": plan.input.scaling,
            "epochs": plan.train.epochs,
            "batch_size": plan.train.batch_size,
            "learning_rate": plan.train.learning_rate,
            "noise": plan.train.noise,
        }
        == classifier.get_params()
    )


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_cell_is_the_one_of_the_name(kind):
    classifier = kind(**SMALL | {"epochs": 1}).fit(*turns(8))
    assert kind.__name__.lower().startswith(classifier.model_.network.architecture.cell)


def test_a_seed_decides_everything_and_no_seed_draws_another():
    X, y = turns(12)
    one, two = (LSTMClassifier(**SMALL).fit(X, y).predict_proba(X) for _ in range(2))
    assert np.array_equal(one, two)
    other = LSTMClassifier(**SMALL | {"random_state": 1}).fit(X, y).predict_proba(X)
    drawn = LSTMClassifier(**SMALL | {"random_state": None}).fit(X, y).predict_proba(X)
    generator = np.random.RandomState(3)
    first, second = (
        LSTMClassifier(**SMALL | {"random_state": generator}).fit(X, y).predict_proba(X) for _ in range(2)
    )
    assert len({a.tobytes() for a in (one, other, drawn, first, second)}) == 5


def test_the_order_of_the_samples_makes_no_difference():
    X, y = turns(16)
    order = np.random.default_rng(0).permutation(16)
    one = LSTMClassifier(**SMALL).fit(X, y)
    two = LSTMClassifier(**SMALL).fit([X[i] for i in order], y[order])
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_weight_of_two_is_the_sample_twice_also_for_sequences_of_different_lengths():
    X, y = turns(12)
    weights = np.array([2, 0, 1] * 4)
    weighted = LSTMClassifier(**SMALL).fit(X, y, sample_weight=weights)
    index = np.repeat(np.arange(12), weights)
    repeated = LSTMClassifier(**SMALL).fit([X[i] for i in index], y[index])
    assert np.array_equal(weighted.predict_proba(X), repeated.predict_proba(X))
    assert not np.array_equal(weighted.predict_proba(X), LSTMClassifier(**SMALL).fit(X, y).predict_proba(X))


def test_balanced_classes_predict_the_rare_one_more_often():
    draw = np.random.default_rng(0)
    y = np.array([0] * 90 + [1] * 10)
    X = draw.normal(size=(100, 6)) + 0.4 * y[:, None]
    plain = LSTMClassifier(**SMALL).fit(X, y)
    balanced = LSTMClassifier(**SMALL, class_weight="balanced").fit(X, y)
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1


def test_a_validation_split_can_be_drawn_and_stop_training_early():
    X, y = turns(60)
    classifier = LSTMClassifier(**SMALL, validation_fraction=0.3, patience=2, batch_size=8)
    classifier.set_params(epochs=200).fit(X, y)
    assert classifier._state.step < 200 * 42 // 8
    assert classifier.score(X, y) > 0.9


def test_a_pickled_estimator_predicts_the_same(fitted):
    X, _ = turns(seed=1)
    held = fitted.__getstate__()
    assert sorted(held["_model"]) == ["model.json", "model.safetensors"]
    assert isinstance(held["_optimizer"], bytes)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_pickle_whose_weights_were_changed_is_refused(fitted):
    content = pickle.dumps(fitted)
    weights = fitted.__getstate__()["_model"]["model.safetensors"]
    changed = content.replace(weights, weights[:-1] + bytes([weights[-1] ^ 1]))
    assert changed != content
    with pytest.raises(ModelError, match=r"is damaged: tensor .* is not the one that was saved"):
        pickle.loads(changed)


def test_training_on_after_a_pickle_is_training_on():
    X, y = turns(16)
    one = LSTMClassifier(**SMALL).partial_fit(X, y, classes=["falls", "rises"])
    two = pickle.loads(pickle.dumps(one))
    for changed in (one, two):
        changed.partial_fit(X, y)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_passes_over_parts_of_the_data_learn():
    X, y = turns(60)
    classifier = LSTMClassifier(**SMALL, learning_rate=0.01)
    for begin in [0, 20, 40] * 6:
        classifier.partial_fit(X[begin : begin + 20], y[begin : begin + 20], classes=["falls", "rises"])
    assert classifier.score(*turns(seed=2)) > 0.9


def test_fit_starts_again_and_partial_fit_continues():
    X, y = turns(16)
    classifier = LSTMClassifier(**SMALL).fit(X, y)
    before = classifier.predict_proba(X)
    classifier.partial_fit(X, y)
    assert not np.array_equal(classifier.predict_proba(X), before)
    assert np.array_equal(classifier.fit(X, y).predict_proba(X), before)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({}, None, "classes must be given at the first call of partial_fit"),
        ({"classes": [0, 1]}, {"classes": [0, 1, 2]}, "classes must be those of the first call"),
        ({"classes": [0, 1]}, {"y": [0, 2]}, "y holds the class 2, which is not in classes"),
    ],
)
def test_classes_are_settled_by_the_first_call_of_partial_fit(first, then, message):
    X = np.zeros((2, 3, 1))
    X[1] = 1
    classifier = LSTMClassifier(**SMALL)
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(X, [0, 1], **first).partial_fit(X, **{"y": [0, 1]} | (then or {}))


def test_one_class_is_not_enough():
    with pytest.raises(ValueError, match=r"LSTMClassifier expected at least 2 classes, got 1 class: x"):
        LSTMClassifier(**SMALL).fit(turns(4)[0], ["x"] * 4)


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_pipelines_searches_and_cross_validation_accept_it(n_jobs):
    draw = np.random.default_rng(0)
    y = np.array(["a", "b"] * 20)
    X = draw.normal(size=(40, 12)) + (y == "a")[:, None]
    pipeline = make_pipeline(StandardScaler(), LSTMClassifier(**SMALL, features_per_step=3))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.8
    search = GridSearchCV(
        LSTMClassifier(**SMALL), {"hidden_size": [4, 16], "features_per_step": [2, 3]}, cv=2, n_jobs=n_jobs
    )
    search.fit(X, y)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_score_ > 0.8


def test_searches_take_sequences_of_different_lengths():
    X, y = turns(24)
    search = GridSearchCV(LSTMClassifier(**SMALL), {"bidirectional": [False, True]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.8
    steps = make_pipeline(
        FunctionTransformer(lambda X: [each[:, :1] for each in X]), LSTMClassifier(**SMALL)
    ).fit(X, y)
    assert steps.score(X, y) == 1.0


def test_an_unfitted_estimator_raises_and_a_clone_is_unfitted(fitted):
    with pytest.raises(NotFittedError):
        LSTMClassifier().predict([np.zeros((3, 2))])
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict([np.zeros((3, 2))])


def test_it_shows_itself_in_notebooks(fitted):
    assert "LSTMClassifier" in fitted._repr_html_()
    assert "hidden_size" in fitted._repr_html_()


def test_the_model_behind_it_is_one_of_scanline(fitted):
    X, _ = turns(seed=1)
    model = fitted.model_
    assert isinstance(model, scanline.Model)
    assert model.classes.tolist() == ["falls", "rises"]
    assert np.array_equal(model.predict_proba(X), fitted.predict_proba(X))


def test_importing_scanline_imports_no_scikit_learn():
    import subprocess
    import sys

    program = "import sys, scanline; print([m for m in ('sklearn', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"validation_fraction": 2.0}, "validation_fraction must be a number from 0 to below 1, got 2.0"),
        ({"hidden_size": -1, "dropout": 2}, "hidden_size must be >= 1, got -1; dropout must be < 1, got 2"),
        ({"patience": 3}, "patience requires a validation split: set validation_fraction above 0"),
    ],
)
def test_a_parameter_that_is_not_valid_is_named_as_the_estimator_has_it(parameters, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LSTMClassifier(**parameters).fit([np.ones((3, 1))] * 4, [0, 1, 0, 1])


def test_missing_values_are_refused_in_terms_of_python_and_replaced_on_request():
    X = [np.array([[np.nan], [number]]) for number in (0.0, 1.0, 0.0, 1.0)]
    with pytest.raises(ValueError, match=r"use settings\[.input\.missing.\]='forward-fill', zero or mean"):
        LSTMClassifier(epochs=1).fit(X, [0, 1, 0, 1])
    filled = LSTMClassifier(epochs=1, hidden_size=4, settings={"input.missing": "zero"}).fit(X, [0, 1, 0, 1])
    zeros = [np.nan_to_num(each) for each in X]
    assert np.array_equal(filled.predict_proba(X), filled.predict_proba(zeros))
    table = np.array([[np.nan, 0.0], [np.nan, 1.0]] * 2)
    assert filled.fit(table, [0, 1, 0, 1]).predict_proba(table).shape == (4, 2)
