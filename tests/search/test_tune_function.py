"""`scanline.tune`: the search of the command, for Python programs."""

from __future__ import annotations

import numpy as np
import pytest

import scanline
from scanline.errors import UsageError

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")

SMALL = {"model.hidden_size": 8, "train.epochs": 4}
SPACE = {"model.readout": ["last", "max"]}


@pytest.fixture(scope="module")
def waves() -> scanline.Arrays:
    draw = np.random.default_rng(0)
    labels = np.array(["a", "b"])[np.arange(40) % 2]
    return scanline.Arrays(draw.normal(size=(40, 6, 2)) + (labels == "a")[:, None, None], labels)


def search(waves, folder, **changes):
    chosen = {"trials": 2, "workers": 0, "folds": 0, "space": SPACE, "settings": SMALL, "baselines": False}
    return scanline.tune(waves, study=folder, log=None, **chosen | changes)


@pytest.fixture(scope="module")
def found(waves, tmp_path_factory) -> scanline.Study:
    return search(waves, tmp_path_factory.mktemp("studies") / "waves", ensemble=2)


def test_a_search_returns_its_trials_and_the_tested_winner(found):
    assert [trial.number for trial in found.record.trials] == [0, 1]
    assert found.winner == found.record.best
    assert found.result["test"]["n"] == 8
    assert found.result["winner"]["settings"] == found.winner.settings
    assert found.run.path == found.folder / "winner"
    assert (found.folder / "trials.csv").read_text().startswith("number,generation,state,model.readout,")


def test_the_model_is_the_ensemble_if_one_was_wanted(found, waves):
    assert isinstance(found.model, scanline.Ensemble)
    assert isinstance(found.run.model, scanline.Model)
    assert found.model.predict(waves.values[:3]).shape == (3,)


def test_the_same_call_continues_and_another_space_is_refused(found, waves):
    seen = []
    more = search(waves, found.folder, trials=3, on_change=seen.append)
    assert [each.settings for each in more.record.trials[:2]] == [
        each.settings for each in found.record.trials
    ]
    assert len(more.record.trials) == 3
    with pytest.raises(UsageError, match=r"searches another space \(model.layers, model.readout differ\)"):
        search(waves, found.folder, space={"model.layers": [1, 2]})


def test_messages_name_parameters_and_no_options(waves, tmp_path):
    with pytest.raises(UsageError, match=r"^expected the size of the search: trials or minutes$"):
        search(waves, tmp_path, trials=None)
    with pytest.raises(UsageError, match="data must be a name, a path"):
        scanline.tune(3, trials=1)
