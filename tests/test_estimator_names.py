"""Estimators with texts and with data frames whose columns name categories."""

import pickle

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from scanline import LSTMClassifier, LSTMRegressor, SequenceClassifierCV

TEXTS = [f"a {word} film , number {number}" for number in range(16) for word in ("fine", "dull")]
LABELS = np.array(["good", "bad"] * 16)
SETTINGS = {"input.minimum_count": 1, "model.embedding_size": 4}
SMALL = {"hidden_size": 6, "random_state": 0, "batch_size": 8, "learning_rate": 0.02}


def _texts(**options):
    return LSTMClassifier(**SMALL | {"settings": SETTINGS} | options)


@pytest.fixture(scope="module")
def fitted():
    return _texts(epochs=20).fit(TEXTS, LABELS)


def _frames(n=24):
    draw = np.random.default_rng(0)
    frames = []
    for index in range(n):
        length = int(draw.integers(2, 5))
        verb = ["GET" if index % 2 else "PUT"] * length
        frames.append(pandas.DataFrame({"size": draw.normal(size=length), "verb": verb}))
    return frames, np.arange(n) % 2


def test_texts_are_fitted_with_the_recipe_of_texts(fitted):
    assert fitted.score(TEXTS, LABELS) == 1.0
    assert fitted.model_.preprocessing.settings.tokens == "words"
    plan = fitted._plan
    assert (plan.name, plan.model.hidden_size, plan.train.noise, plan.train.unknown) == ("text", 6, 0.0, 0.1)
    # 20 epochs differ from the default of the estimator and change the recipe; without, its own 12 count.
    assert fitted._recipe(0, 32, False).train.steps == 20 * 4
    default = clone(fitted).set_params(epochs=100)
    default._reads = fitted._reads
    assert default._recipe(0, 32, False).train.steps == 12 * 4


def test_the_order_of_texts_and_the_container_make_no_difference(fitted):
    other = _texts(epochs=20).fit(pandas.Series(TEXTS[::-1]), LABELS[::-1])
    assert (other.predict_proba(TEXTS) == fitted.predict_proba(np.array(TEXTS))).all()


def test_a_classifier_of_texts_is_pickled_and_cross_validated(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    assert (loaded.predict_proba(TEXTS) == fitted.predict_proba(TEXTS)).all()
    assert cross_val_score(_texts(epochs=20), TEXTS, LABELS, cv=2).mean() > 0.9


def test_texts_are_read_as_the_settings_say():
    model = _texts(epochs=1, settings=SETTINGS | {"data.tokens": "characters", "data.maximum_length": 3})
    model.fit(TEXTS, LABELS)
    assert sorted(model.model_.preprocessing.vocabularies[0].names) == [" ", "a", "d", "f"]


def test_a_number_is_predicted_from_texts():
    model = LSTMRegressor(**SMALL, settings=SETTINGS, epochs=11)
    assert model.fit(TEXTS, (LABELS == "good").astype(float)).predict(TEXTS[:2]).shape == (2,)


def test_columns_of_names_in_a_list_of_frames_are_embedded():
    frames, y = _frames()
    model = LSTMClassifier(**SMALL, epochs=12).fit(frames, y)
    assert model.score(frames, y) == 1.0
    assert [each.feature for each in model.model_.preprocessing.vocabularies] == [1]
    expected = model.predict_proba(frames)
    typed = [frame.astype({"verb": "category"})[["verb", "size"]] for frame in frames]
    assert (model.predict_proba(typed) == expected).all()
    assert (pickle.loads(pickle.dumps(model)).predict_proba(frames) == expected).all()
    again = LSTMClassifier(**SMALL, epochs=12).fit(frames[::-1], y[::-1])
    assert (again.predict_proba(frames) == expected).all()


def test_a_frame_has_a_sequence_in_each_row():
    draw = np.random.default_rng(1)
    frame = pandas.DataFrame({f"{kind}{step}": draw.normal(size=20) for step in (0, 1) for kind in "xk"})
    for step in (0, 1):
        frame[f"k{step}"] = pandas.Categorical(np.where(np.arange(20) % 2, "u", "v"))
    model = LSTMClassifier(**SMALL, epochs=15, features_per_step=2).fit(frame, np.arange(20) % 2)
    assert model.score(frame, np.arange(20) % 2) == 1.0
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.n_features_in_ == 4
    (vocabulary,) = model.model_.preprocessing.vocabularies
    assert (vocabulary.feature, sorted(vocabulary.names)) == (1, ["u", "v"])
    steps = model._read_sequences(frame, reset=False)
    assert np.allclose(steps.steps_of(3)[:, 0], frame.loc[3, ["x0", "x1"]].astype(float))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"x0": "z"}))


def test_what_does_not_fit_is_refused(fitted):
    frames, y = _frames()
    named = LSTMClassifier(**SMALL, epochs=1).fit(frames, y)
    with pytest.raises(ValueError, match="expected numbers, as in fit, found 'x'"):
        named.predict([frames[0].astype({"size": object}).assign(size="x")])
    with pytest.raises(ValueError, match="expected a list of data frames"):
        named.predict(np.zeros((2, 3, 2)))
    with pytest.raises(ValueError, match="expected a list of texts"):
        fitted.predict(np.zeros((2, 3, 1)))
    with pytest.raises(ValueError, match=r"text 1: expected a text with .*, found none"):
        _texts().fit(["fine", ""], ["a", "b"])
    with pytest.raises(ValueError, match="partial_fit: expected X of numbers, got texts"):
        _texts().partial_fit(TEXTS, LABELS, classes=["bad", "good"])
    with pytest.raises(ValueError, match="SequenceClassifierCV: expected X of numbers, got categories"):
        SequenceClassifierCV().fit(frames, y)
