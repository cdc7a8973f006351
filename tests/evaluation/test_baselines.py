"""Baselines: expected values are counted by hand or come from scikit-learn called directly."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from scanline.data import catalogue
from scanline.data.dataset import Dataset
from scanline.data.memory import MemorySource
from scanline.data.source_info import SourceInfo
from scanline.errors import ModelError
from scanline.evaluation import baseline_methods
from scanline.evaluation.baseline_records import Baseline, Baselines
from scanline.evaluation.baselines import measure_baselines
from scanline.evaluation.fixed_length import fixed_length
from scanline.model.loading import load
from scanline.recipe import DEFAULT_DATA


def source(levels: list[float], classes: str, lengths: list[int] | None = None) -> MemorySource:
    """Sequences with a constant value each, of one feature; a class is a letter."""
    names = tuple(sorted(set(classes)))
    sequences = [
        np.full((length, 1), level, np.float32)
        for level, length in zip(levels, lengths or [3] * len(levels), strict=True)
    ]
    targets = np.array([names.index(each) for each in classes])
    return MemorySource.from_list(sequences, targets, names, "made up")


def dataset(**splits: MemorySource) -> Dataset:
    return Dataset("made up", splits)


def named(baselines: Baselines, name: str) -> Baseline:
    (found,) = [each for each in baselines.measured if each.name == name]
    return found


def counts(baseline: Baseline) -> tuple:
    return tuple(
        None if score is None else (score.correct, score.total)
        for score in (baseline.validation, baseline.test)
    )


NEAREST = "1-nearest neighbour"


def test_the_majority_is_that_of_the_sequences_it_is_fitted_to():
    data = dataset(
        train=source([0, 1, 2], "aab"), validation=source([3, 4, 5], "bba"), test=source([6, 7], "bb")
    )
    # Validated: "a" is predicted, once correctly. Tested: three of six are "b", and ties go to "a".
    assert counts(named(measure_baselines(data), "majority class")) == ((1, 3), (0, 2))
    data = data.with_splits(validation=source([3, 4, 5, 6], "bbab"))
    assert counts(named(measure_baselines(data), "majority class")) == ((1, 4), (2, 2))


def test_the_nearest_neighbour_of_a_test_sequence_may_be_of_the_validation_split():
    data = dataset(train=source([0, 10], "ab"), validation=source([1, 4], "ab"), test=source([4.9, 9], "bb"))
    # 4 is nearer to 0 than to 10, so its "b" is missed; 4.9 is nearest to 4.
    assert counts(named(measure_baselines(data), NEAREST)) == ((1, 2), (2, 2))


def test_folds_are_counted_together():
    data = dataset(train=source([0, 1, 10, 11], "aabb"), test=source([2], "b"))
    folds = [(np.array([0, 2, 3]), np.array([1])), (np.array([0, 1]), np.array([2, 3]))]
    found = measure_baselines(data, folds)
    assert counts(named(found, NEAREST)) == ((1, 3), (0, 1))
    assert counts(named(found, "majority class")) == ((0, 3), (0, 1))


def test_without_validation_and_test_there_are_no_scores():
    assert counts(named(measure_baselines(dataset(train=source([0, 1], "ab"))), NEAREST)) == (None, None)


def test_classes_of_splits_are_matched_by_their_names():
    data = dataset(train=source([0, 5, 9], "abc"), test=source([9, 5, 7], "cbd"))
    assert counts(named(measure_baselines(data), NEAREST)) == (None, (2, 3))


def test_features_of_different_units_count_alike():
    train = np.array([[[0, 0]], [[1, 900]], [[0, 1000]], [[1, 100]]], np.float32)
    test = np.array([[[0, 450]], [[1, 550]]], np.float32)
    data = dataset(
        train=MemorySource.from_array(train, np.array([0, 1, 0, 1]), ("x", "y"), "made up"),
        test=MemorySource.from_array(test, np.array([0, 1]), ("x", "y"), "made up"),
    )
    assert counts(named(measure_baselines(data), NEAREST))[1] == (2, 2)


def test_sequences_of_all_lengths_with_missing_values_get_one_length():
    steps = np.array([[0, 1], [np.nan, 1], [4, np.nan], [np.nan, 7]], np.float32)
    ragged = MemorySource.from_list([steps[:1], steps], np.array([0, 0]), ("a",), "made up")
    resampled = fixed_length(ragged, 7)
    assert resampled.shape == (2, 2, 7)
    assert resampled[0].tolist() == [[0] * 7, [1] * 7]
    assert resampled[1].tolist() == [[0, 1, 2, 3, 4, 4, 4], [1, 1, 1, 2.5, 4, 5.5, 7]]
    gone = MemorySource.from_list([np.full((2, 1), np.nan, np.float32)], np.array([0]), ("a",), "made up")
    assert np.isnan(fixed_length(gone, 3)).all()


def test_missing_values_and_varying_lengths_are_measured():
    train = source([0, 9, np.nan], "abb", [2, 5, 3])
    data = dataset(train=train, test=source([np.nan, 9, 1], "bba", [4, 1, 3]))
    # The missing ones take the mean of the present values; both do, so they are equal.
    assert counts(named(measure_baselines(data), NEAREST)) == (None, (3, 3))


def test_pictures_are_compared_as_scikit_learn_compares_them():
    data = catalogue.read("digits", DEFAULT_DATA)
    known = np.concatenate([data.train.values, data.validation.values]).reshape(-1, 64)
    targets = np.concatenate([data.train.targets, data.validation.targets])
    nearest = KNeighborsClassifier(1).fit(known, targets)
    expected = nearest.predict(data.test.values.reshape(-1, 64)) == data.test.targets
    score = named(measure_baselines(data), NEAREST).test
    assert (score.correct, score.total) == (expected.sum(), len(expected))
    assert score.value == expected.mean()
    assert score.interval[0] < score.value < score.interval[1]


def test_numbers_are_predicted_by_their_mean_and_by_a_neighbour():
    numbers = SourceInfo(settings=DEFAULT_DATA.model_copy(update={"targets": "numbers"}))

    def of(levels: list[float], targets: list[float]) -> MemorySource:
        made = source(levels, "a" * len(levels))
        distinct, codes = np.unique(targets, return_inverse=True)
        return replace(made, targets=codes, classes=tuple(distinct.tolist()), info=numbers)

    found = measure_baselines(dataset(train=of([0, 1, 2], [0, 3, 9]), test=of([1, 2], [4, 8])))
    assert found.metric == "mean absolute error"
    assert [(each.name, each.test.value, each.test.correct) for each in found.measured] == [
        ("mean", 2.0, None),
        (NEAREST, 1.0, None),
    ]
    assert found.measured[0].test.interval is None


def test_a_baseline_that_takes_too_long_is_left_out_with_the_reason():
    data = dataset(train=source([0, 1], "ab"), test=source([0], "a"))
    found = measure_baselines(data, limit_s=1e-12)
    assert [each.name for each in found.measured] == ["majority class"]
    reasons = {each.name: each.reason for each in found.skipped}
    assert reasons[NEAREST] == "would take about 0 s, the limit is 0 s"


def test_sequences_that_memory_does_not_hold_leave_the_majority(monkeypatch):
    from scanline.evaluation import baseline_problem

    monkeypatch.setattr(baseline_problem, "_MAX_VALUES", 8)
    found = measure_baselines(dataset(train=source([0, 1], "ab"), test=source([0], "a")))
    assert [each.name for each in found.measured] == ["majority class"]
    assert "at most 8 values, found 9" in found.skipped[0].reason


def test_a_baseline_that_fails_does_not_end_the_search(monkeypatch):
    def fail(seed: int) -> None:
        raise ZeroDivisionError("of another package")

    broken = replace(baseline_methods.methods(numbers=False)[1], make=fail)
    monkeypatch.setattr("scanline.evaluation.baselines.methods", lambda numbers: (broken,))
    found = measure_baselines(dataset(train=source([0, 1], "ab"), test=source([0], "a")))
    assert [each.reason for each in found.skipped] == ["failed: ZeroDivisionError: of another package"]


@pytest.mark.skipif(importlib.util.find_spec("aeon") is not None, reason="aeon is installed")
def test_a_baseline_of_a_package_that_is_missing_names_the_package():
    data = dataset(train=source([0, 1], "ab"), test=source([0], "a"))
    reasons = {each.name: each.reason for each in measure_baselines(data).skipped}
    assert reasons["MiniRocket"] == "aeon is not installed: pip install aeon"


def test_the_methods_of_aeon_separate_waves_of_two_frequencies():
    pytest.importorskip("aeon")
    generator = np.random.default_rng(0)
    targets = np.arange(40) % 2
    phase = generator.uniform(0, 6, (40, 1, 1))
    values = np.sin((1 + targets[:, None, None]) * np.arange(30)[:, None] / 3 + phase)
    whole = MemorySource.from_array(values.astype(np.float32), targets, ("slow", "fast"), "waves")
    data = dataset(train=whole.take(slice(0, 20)), test=whole.take(slice(20, 40)))
    found = measure_baselines(data, limit_s=100)
    assert not found.skipped
    assert named(found, "MiniRocket").test.value > 0.9
    assert named(found, "1-nearest neighbour, DTW").test.value > 0.9
    short = dataset(train=source([0, 1], "ab"), test=source([0], "a"))
    assert [each.reason for each in measure_baselines(short).skipped] == [
        "needs sequences of at least 10 steps, found 3",
        "needs sequences of at least 9 steps, found 3",
    ]


def test_the_predictions_of_the_winner_are_compared_sequence_by_sequence(trained):
    data, model = catalogue.read("digits", DEFAULT_DATA), load(trained)
    found = named(measure_baselines(data, winner=model), NEAREST)
    right = model.predict(data.test.values) == data.test.targets
    assert found.winner.both + found.winner.winner_only == right.sum()
    assert found.winner.both + found.winner.baseline_only == found.test.correct
    assert found.winner.both + found.winner.neither <= found.test.total
    assert 0 <= found.winner.mcnemar_p <= 1
    assert named(measure_baselines(data), NEAREST).winner is None


def test_the_file_reads_as_it_was_written_and_every_change_is_detected(tmp_path: Path):
    path = tmp_path / "baselines.json"
    found = measure_baselines(dataset(train=source([0, 1], "ab"), test=source([0], "a")))
    found.write(path)
    assert path.read_text().startswith('{\n  "schema": 1,')
    assert Baselines.read(path) == found
    path.write_text(path.read_text().replace('"total": 1', '"total": 2'))
    with pytest.raises(ModelError, match="not what was saved"):
        Baselines.read(path)
