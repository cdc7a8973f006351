"""A trial: an ordinary run, paused at rungs and resumed exactly; what its end may be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import scanline
from scanline import recipe as recipes
from scanline.api import train
from scanline.data.partition import partition
from scanline.search.decisions import Job
from scanline.search.locks import has_ended
from scanline.search.records import TrialRecord
from scanline.search.storage import StudyStorage
from scanline.search.trial import Invalid, Stopped, TrialRunner, pooled, rung_steps
from scanline.search.worker import Worker
from scanline.storage.json_files import read_json
from scanline.training.run import TrainingRun
from scanline.training.run_files import EvaluatedLine
from tests.search.problems import SETTINGS, begin

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")


def arrays() -> scanline.Arrays:
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 2
    return scanline.Arrays(draw.normal(size=(40, 6, 2)) + labels[:, None, None], labels)


def search_in(folder: Path, **changes: object):
    return begin(arrays(), folder, storage="memory", **changes)


def runner(search, stop=lambda: False) -> TrialRunner:
    data = search.files.read_data(search.definition)
    return TrialRunner(search.definition, data, search.files.folder / "trials", stop, "cpu")


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model/model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("folds", [0, 2])
def test_a_trial_paused_at_every_rung_has_the_bits_of_an_undisturbed_run(tmp_path, folds):
    search = search_in(tmp_path / "study", folds=folds)
    settings = {"model.readout": "last", "model.hidden_size": 4}
    trial = TrialRecord(0, 0, settings, "running")
    scores = [runner(search).train(trial, rung) for rung in range(3)]
    assert [each.fraction for each in scores] == [0.25, 0.5, 1.0]
    # The same run by `scanline train`, without a pause.
    whole = search.definition.trial_recipe(settings, fold=folds // 2)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(whole.to_toml())
    undisturbed = train(arrays(), recipe=recipe, run=tmp_path / "run", log=None)
    name = "0000-fold-1" if folds else "0000"
    assert digest(tmp_path / "study/trials" / name) == digest(undisturbed.path)
    assert "validation" in undisturbed.result
    if not folds:
        assert scores[2].score == undisturbed.result["validation"]["accuracy"]
        assert scores[2].total == 10  # 0.3 of the 32 that are not tested


def test_a_trial_stopped_between_rungs_continues_with_the_same_bits(tmp_path):
    search = search_in(tmp_path / "study")
    trial = TrialRecord(0, 0, {"model.readout": "max", "model.hidden_size": 4}, "running")
    for _ in range(3):  # one step each
        with pytest.raises(Stopped):
            runner(search, stop=lambda: True).train(trial, 2)
    again = runner(search).train(trial, 2)
    other = TrialRecord(1, 0, trial.settings, "running")
    assert runner(search).train(other, 2) == again
    assert digest(tmp_path / "study/trials/0000") == digest(tmp_path / "study/trials/0001")


def test_a_trial_whose_checkpoints_are_damaged_is_trained_again(tmp_path):
    search = search_in(tmp_path / "study")
    trial = TrialRecord(0, 0, {"model.readout": "max", "model.hidden_size": 4}, "running")
    first = runner(search).train(trial, 0)
    whole = runner(search).train(trial, 2)
    run = tmp_path / "study/trials/0000"
    (run / "result.json").unlink()
    for file in run.glob("checkpoints/step-*/*"):
        file.write_bytes(b"damaged")
    assert runner(search).train(trial, 0) == first
    assert runner(search).train(trial, 2) == whole
    assert (tmp_path / "study/trials/0000-unusable-1").is_dir()


def test_a_rung_that_was_passed_is_read_and_not_trained(tmp_path, monkeypatch):
    search = search_in(tmp_path / "study")
    trial = TrialRecord(0, 0, {"model.readout": "max", "model.hidden_size": 4}, "running")
    scores = [runner(search).train(trial, rung) for rung in (1, 2)]
    monkeypatch.setattr(TrainingRun, "events", None)
    assert [runner(search).train(trial, rung) for rung in (1, 2)] == scores


def test_settings_that_are_refused_are_invalid(tmp_path):
    search = search_in(tmp_path / "study")
    for settings in ({"model.dropout_on": "between"}, {"train.shift": 1}, {"model.classes": 5}):
        with pytest.raises(Invalid, match=next(iter(settings))):
            runner(search).train(TrialRecord(0, 0, settings, "running"), 0)
    assert not (tmp_path / "study/trials/0000").exists()


def test_rungs_are_rounded_up_to_validations(tmp_path):
    search = search_in(tmp_path / "study")
    recipe = search.definition.trial_recipe({"train.epochs": 7})
    n_train = len(partition(search.files.read_data(search.definition), recipe.split).train)
    limited = recipe.model_copy(update={"train": recipe.train.limited(n_train)})
    total = limited.train.total_steps
    for every, expected in ((1, [-(-total // 4), -(-total // 2), total]), (total, [total] * 3)):
        train = limited.train.model_copy(update={"validate_every": every})
        assert rung_steps(limited.model_copy(update={"train": train}), search.definition) == expected


# --- the worker


def work(search) -> list[TrialRecord]:
    search.run()
    return [each.record for each in search.storage.trials()]


def test_trials_whose_settings_do_not_fit_are_recorded_as_invalid_and_others_continue(tmp_path):
    space = {"model.layers": [1, 2], "model.dropout_on": ["between", "every"]}
    search = search_in(tmp_path / "study", space=space, trials=6)
    trials = work(search)
    invalid = [each for each in trials if each.state == "invalid"]
    assert invalid
    for each in invalid:
        assert each.settings == {"model.layers": 1, "model.dropout_on": "between"}
        assert "model.dropout must be 0 for a single layer" in each.message
        assert each.scores == ()
    assert {each.state for each in trials} <= {"invalid", "complete", "stopped"}
    assert search.finish().winner.state == "complete"


def test_trials_that_diverge_are_recorded_and_the_search_ends(tmp_path):
    space = {"train.learning_rate": [0.003, 10.0]}
    settings = SETTINGS | {"train.clip_norm": 0.0, "train.optimizer": "adam", "train.schedule": "constant"}
    search = search_in(tmp_path / "study", space=space, settings=settings, trials=6)
    original = TrainingRun.start

    def start(recipe, data, *others):
        run = original(recipe, data, *others)
        if recipe.train.learning_rate == 10.0:
            run.state.network.head.weight.data.fill_(float("inf"))
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "start", start)
        trials = work(search)
    diverged = [each for each in trials if each.settings["train.learning_rate"] == 10.0]
    assert diverged
    assert {each.state for each in diverged} == {"diverged"}
    assert all(each.message.startswith("training diverged") or "loss" in each.message for each in diverged)
    assert search.finish().winner.settings == {"train.learning_rate": 0.003}


def test_a_search_without_any_validation_says_why(tmp_path):
    search = search_in(tmp_path / "study", trials=1, space={"train.shift": [1, 2]}, settings=SETTINGS)
    assert [each.state for each in work(search)] == ["complete"]  # trial 0 is the recipe
    empty = search_in(tmp_path / "other", minutes=1e-9, trials=None)
    assert not empty.run()
    with pytest.raises(scanline.ScanlineError, match=r"no validated trial .*; repeat the command"):
        empty.finish()


def test_the_trial_of_a_worker_that_is_gone_is_taken_over(tmp_path):
    search = search_in(tmp_path / "study")
    data = search.files.read_data(search.definition)
    search.storage.set_attribute("limit", 1)
    worker = Worker(search.storage, search.definition, data, search.files.folder)
    (stored, job), _ = worker._claim(None)
    assert job == Job(0, 0)
    lock = search.files.folder / "workers" / f"{worker.name}.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()  # as of a process that was killed: none holds it
    Worker(search.storage, search.definition, data, search.files.folder).work()
    (trial,) = search.storage.trials()
    assert trial.record.state == "complete"
    assert trial.worker != worker.name
    assert stored.record.number == 0
    assert has_ended(lock.parent, worker.name)  # also for a process that asks later


def test_a_trial_is_an_ordinary_run(tmp_path):
    search = search_in(tmp_path / "study", trials=1)
    work(search)
    run = tmp_path / "study/trials/0000"
    assert read_json(run / "result.json")["training"]["status"] == "finished"
    assert scanline.load(run).predict(arrays().values[:2]).shape == (2,)


def test_a_trial_that_stops_early_has_the_validation_of_its_best_weights(tmp_path):
    settings = SETTINGS | {"train.epochs": 40, "train.patience": 2, "train.validate_every": 2}
    search = search_in(tmp_path / "study", settings=settings)
    trial = TrialRecord(0, 0, {"model.readout": "max", "model.hidden_size": 4}, "running")
    scores = [runner(search).train(trial, rung) for rung in range(3)]
    result = read_json(tmp_path / "study/trials/0000/result.json")
    assert result["training"]["status"] == "stopped early"
    assert scores[2].score == result["validation"]["accuracy"]
    assert [runner(search).train(trial, rung) for rung in range(3)][2] == scores[2]


def test_a_run_is_paused_after_a_step_with_a_checkpoint_and_a_model(tmp_path):
    search = search_in(tmp_path / "study")
    recipe = search.definition.trial_recipe({})
    data = partition(search.files.read_data(search.definition), recipe.split)
    run = TrainingRun.start(recipe, data, tmp_path / "run", "cpu")
    asked: list[int] = []
    for _ in run.events(lambda step: asked.append(step) or step == 3):
        pass
    assert asked == [1, 2, 3]
    assert run.finished().training.status == "paused"
    assert run.finished().training.steps == 3
    assert max(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == "step-000003"
    assert scanline.load(tmp_path / "run").predict(arrays().values[:2]).shape == (2,)


def test_a_generation_whose_asking_was_interrupted_is_completed_before_it_is_compared(tmp_path):
    whole = search_in(tmp_path / "whole", trials=8)
    expected = work(whole)
    search = search_in(tmp_path / "study", trials=8)
    data = search.files.read_data(search.definition)
    search.storage.set_attribute("limit", 8)
    worker = Worker(search.storage, search.definition, data, search.files.folder)
    asked = []

    def add(*values):
        if len(asked) == 3:
            raise KeyboardInterrupt  # as if killed between two writes
        asked.append(values)
        return StudyStorage.add(search.storage, *values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.storage, "add", add)
        with pytest.raises(KeyboardInterrupt):
            worker.work()
    assert len(search.storage.trials()) == 3
    assert work(search) == expected


def test_folds_with_as_many_correct_predictions_have_equal_scores():
    def lines(*counts: int) -> list[EvaluatedLine]:
        known = {"event": "judged", "step": 1, "part": "validation", "loss": 0.5, "total": 49}
        made = [known | {"correct": correct, "accuracy": correct / 49} for correct in counts]
        return [EvaluatedLine.model_validate(each) for each in made]

    one, two = pooled(0, 0.25, lines(0, 0, 27)), pooled(0, 0.25, lines(9, 9, 9))
    assert one.order == two.order
    assert one.score == 27 / 147


def test_a_recipe_with_the_splits_of_a_winner_or_a_trial_can_be_searched(tmp_path):
    settings = SETTINGS | {"split.use_validation": False}
    path = tmp_path / "winner.toml"
    path.write_text(recipes.load("sequences", settings).to_toml())
    search = search_in(tmp_path / "one", recipe=str(path), settings={}, folds=0)
    assert search.definition.base().split.use_validation
    path.write_text(recipes.load("sequences", SETTINGS | {"split.folds": 3, "split.fold": 1}).to_toml())
    search = search_in(tmp_path / "two", recipe=str(path), settings={}, folds=0)
    assert search.definition.trial_recipe({}).split.folds == 0


def test_an_ensemble_of_one_trial_is_none(tmp_path):
    search = search_in(tmp_path / "study", trials=1, ensemble=2)
    work(search)
    found = search.finish()
    assert found.members == 1
    assert found.notes == ("no ensemble is made, as all validated trials have the same settings",)
