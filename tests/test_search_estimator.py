"""The estimator that searches its settings: scikit-learn's checks, and more."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import scanline
from scanline.estimator import SequenceClassifierCV

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")

SMALL = {
    "n_trials": 2,
    "cv": 0,
    "space": {"model.readout": ["last", "max"]},
    "settings": {
        "model.hidden_size": 8,
        "train.epochs": 12,
        "train.batch_size": 32,
        "train.learning_rate": 0.02,
    },
}


@pytest.fixture(autouse=True)
def fast_temporary_folder(monkeypatch):
    """Let the temporary folder of a search be in memory, where there is such a place."""
    if Path("/dev/shm").is_dir():
        monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")


@parametrize_with_checks([SequenceClassifierCV(**SMALL)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def turns(n: int = 24, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences of 3 to 12 steps of 2 features that rise or fall, and the names of what they do."""
    draw = np.random.default_rng(seed)
    X = []
    for index in range(n):
        steps = np.arange(draw.integers(3, 13))
        rise = np.stack([steps, draw.normal(size=len(steps))], axis=1)
        X.append((rise if index % 2 else -rise) + draw.normal(size=rise.shape) * 0.1)
    return X, np.array(["falls", "rises"])[np.arange(n) % 2]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> SequenceClassifierCV:
    study = tmp_path_factory.mktemp("kept") / "study"
    return SequenceClassifierCV(**SMALL | {"n_trials": 3, "cv": 2}, study=study, random_state=0).fit(*turns())


def test_sequences_of_different_lengths_are_classified_with_the_best_settings(fitted):
    X, y = turns(seed=1)
    assert fitted.score(X, y) == 1.0
    assert fitted.classes_.tolist() == ["falls", "rises"]
    assert fitted.n_features_in_ == 2
    assert fitted.predict_proba(X).shape == (24, 2)
    assert fitted.predict_proba(X).argmax(1).tolist() == [0, 1] * 12
    assert isinstance(fitted.model_, scanline.Model)
    assert fitted.model_.network.architecture.readout == fitted.best_params_["model.readout"]


def test_the_results_name_each_trial_its_score_and_its_rank(fitted):
    results = fitted.cv_results_
    best = fitted.best_index_
    assert results["rank_test_score"][best] == 1
    assert results["params"][best] == fitted.best_params_
    assert results["mean_test_score"][best] == fitted.best_score_
    assert results["param_model.readout"][best] == fitted.best_params_["model.readout"]
    assert {len(each) for each in results.values()} == {3}
    assert set(results["state"]) <= {"complete", "stopped"}
    assert results["rung"][best] == 2
    assert sorted(results["rank_test_score"]) == [1, 2, 3]


def test_all_samples_are_trained_on_and_none_is_tested(fitted):
    folder = Path(fitted.study)
    assert {name: split["n"] for name, split in read(folder / "winner/split.json")["parts"].items()} == {
        "train": 24
    }
    assert read(folder / "winner/result.json")["test"] is None
    for trial in folder.glob("trials/*"):
        sizes = {name: split["n"] for name, split in read(trial / "split.json")["parts"].items()}
        assert sizes == {"train": 12, "validation": 12}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_study_that_is_kept_is_continued(fitted):
    before = sorted((Path(fitted.study) / "trials").iterdir())
    again = clone(fitted).fit(*turns())
    assert again.cv_results_["params"] == fitted.cv_results_["params"]
    assert sorted((Path(fitted.study) / "trials").iterdir()) == before
    with pytest.raises(ValueError, match="other sequences than"):
        clone(fitted).fit(*turns(seed=1))


def test_nothing_is_kept_without_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one, two = (SequenceClassifierCV(**SMALL, random_state=3).fit(*turns()) for _ in range(2))
    assert list(tmp_path.iterdir()) == []
    X, _ = turns(seed=1)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_samples_of_a_group_are_never_in_two_folds(tmp_path):
    groups = np.repeat(np.arange(6), 4)
    SequenceClassifierCV(**SMALL | {"n_trials": 1, "cv": 3}, study=tmp_path / "study").fit(*turns(), groups)
    held = [
        read(path)["parts"]["validation"]["groups"] for path in tmp_path.glob("study/trials/*/split.json")
    ]
    assert sorted(group for each in held for group in each) == ["0", "1", "2", "3", "4", "5"]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SequenceClassifierCV(**SMALL).fit(*turns(), groups[1:])


def test_class_names_keep_their_type_and_column():
    X, y = turns()
    for names in ([10, 9], [True, False], ["10", "9"]):
        labels = np.array(names)[(y == "rises").astype(int)]
        classifier = SequenceClassifierCV(**SMALL | {"n_trials": 1}, random_state=0).fit(X, labels)
        assert classifier.classes_.tolist() == sorted(names)
        assert classifier.predict(X).tolist() == labels.tolist()
        assert classifier.classes_[classifier.predict_proba(X).argmax(1)].tolist() == labels.tolist()


def test_without_refit_there_are_results_and_no_model():
    classifier = SequenceClassifierCV(**SMALL, refit=False).fit(*turns())
    assert classifier.best_params_["model.readout"] in ("last", "max")
    with pytest.raises(NotFittedError, match="set refit=True"):
        classifier.predict(turns()[0])


def test_the_best_trials_predict_together_also_after_a_pickle():
    classifier = SequenceClassifierCV(**SMALL, ensemble=2, random_state=0).fit(*turns())
    assert isinstance(classifier.model_, scanline.Ensemble)
    X, y = turns(seed=1)
    assert classifier.score(X, y) == 1.0
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))


def test_a_pickle_holds_no_objects_of_torch(fitted):
    X, _ = turns(seed=1)
    content = pickle.dumps(fitted)
    assert b"torch" not in content.replace(b"safetensors", b"")
    assert np.array_equal(pickle.loads(content).predict_proba(X), fitted.predict_proba(X))


def test_pipelines_and_cross_validation_accept_it():
    draw = np.random.default_rng(0)
    y = np.array(["a", "b"] * 15)
    X = draw.normal(size=(30, 12)) + 3 * (y == "a")[:, None]
    classifier = SequenceClassifierCV(**SMALL, features_per_step=3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), classifier)
    assert cross_val_score(clone(pipeline), X, y, cv=2).mean() > 0.8


@pytest.mark.campaign
def test_worker_processes_train_the_same_settings():
    one, two = (SequenceClassifierCV(**SMALL, random_state=0, n_jobs=n).fit(*turns()) for n in (None, 2))
    assert one.cv_results_["params"] == two.cv_results_["params"]
    assert two.score(*turns(seed=1)) == 1.0


def test_it_prints_its_progress_on_request(capsys, monkeypatch):
    monkeypatch.setattr("scanline.search.study._LOOK_S", 0.0)
    SequenceClassifierCV(**SMALL, verbose=True).fit(*turns())
    assert "trials: best accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_trials": 0}, "n_trials must be a whole number >= 1, got 0"),
        ({"cv": 1}, "cv must be 0 or at least 2, got 1"),
        ({"ensemble": None}, "ensemble must be a whole number >= 0, got None"),
        ({"n_trials": None}, "n_trials or minutes must be given, the size of the search"),
        ({"minutes": -1.0}, "minutes must be above 0, got -1.0"),
        ({"space": ["model.layers"]}, "space must be a dict or None, got list"),
        ({"space": {}}, "space: .search. is empty"),
        ({"space": {"model.layer": [1, 2]}}, "unknown setting 'model.layer'; did you mean 'model.layers'"),
        ({"space": {"model.layers": {"low": 3, "high": 1}}}, "low must be below high, got 3 and 1"),
        ({"space": {"split.test": [0.1]}}, "must not have split.test"),
        ({"cv": 20}, "expected at least 20 sequences of a class for cv = 20, found 12; lower cv"),
        ({"settings": {"model.hidden_sise": 3}}, "unknown key 'model.hidden_sise'"),
    ],
)
def test_a_parameter_that_is_not_valid_is_named_as_the_estimator_has_it(parameters, message):
    with pytest.raises(ValueError, match=message):
        SequenceClassifierCV(**SMALL | parameters).fit(*turns())


def test_a_space_may_have_types_of_numpy():
    space = {
        "model.hidden_size": np.array([4, 8]),
        "train.noise": (0.0, np.float64(0.1)),
        "train.learning_rate": {"low": np.float64(0.001), "high": 0.1, "log": True},
    }
    classifier = SequenceClassifierCV(n_trials=2, cv=0, space=space, settings={"train.epochs": 1})
    found = classifier.fit(*turns()).cv_results_["params"][1]
    assert {key: type(value) for key, value in found.items()} == {
        "model.hidden_size": int,
        "train.noise": float,
        "train.learning_rate": float,
    }
