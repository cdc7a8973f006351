"""Runs beside each other: real ones, counted again from their answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint

from scanline.api import train
from scanline.data import catalogue as catalog
from scanline.data.readers.arrays import Arrays
from scanline.errors import DataError, ModelError, UsageError
from scanline.evaluation import comparison
from scanline.evaluation.evaluate import evaluate_run
from scanline.metrics.intervals import PairedCounts, paired_interval
from scanline.model.loading import load
from scanline.tasks.classification import Classification

SHORT = {"train.samples": 4000}
FEW = {"train.samples": 0, "train.epochs": 0, "train.steps": 20, "model.hidden_size": 6}
COUNTS = ("both_right", "first_alone_right", "second_alone_right", "neither_right")


def compare_runs(*arguments, **options) -> dict:
    return comparison.compare_runs(*arguments, **options).to_json()


@pytest.fixture(scope="session")
def three(tmp_path_factory) -> list[str]:
    """Runs on the digits: two that differ in their seed alone, one that reads columns with a small GRU."""
    folder = tmp_path_factory.mktemp("three")
    settings = {"one": SHORT, "two": SHORT | {"seed": 1}}
    settings["gru"] = SHORT | {
        "input.view": "columns", "model.cell": "gru", "model.hidden_size": 12, "model.bidirectional": True,
    }  # fmt: skip
    for name, own in settings.items():
        train("digits", settings=own, run=folder / name, log=None)
    return [str(folder / name) for name in settings]


@pytest.fixture(scope="session")
def compared(three) -> dict:
    return compare_runs(three)


def rights(run: str) -> np.ndarray:
    """(360,) whether each test picture is answered rightly, from the pictures themselves."""
    test = catalog.load("digits").test
    return load(run).predict(test.values) == test.targets


def test_every_run_and_every_pair_is_compared(compared, three):
    assert (compared["data"], compared["n"]) == ("digits", 360)
    assert [sheet["run"] for sheet in compared["runs"]] == three
    assert [(pair["first"], pair["second"]) for pair in compared["pairs"]] == list(combinations(three, 2))


def test_the_counts_are_those_of_the_predictions(compared):
    for pair in compared["pairs"]:
        one, other = rights(pair["first"]), rights(pair["second"])
        expected = [one & other, one & ~other, ~one & other, ~one & ~other]
        assert [pair[key] for key in COUNTS] == [int(which.sum()) for which in expected]
        assert sum(pair[key] for key in COUNTS) == compared["n"]
        assert pair["difference"] == pytest.approx(one.mean() - other.mean())


def test_the_interval_and_the_test_are_of_those_counts(compared):
    for pair in compared["pairs"]:
        both, first, second, neither = (pair[key] for key in COUNTS)
        assert first != second  # else this shows nothing
        assert pair["mcnemar_p"] == pytest.approx(binomtest(first, first + second, 0.5).pvalue)
        assert tuple(pair["ci95"]) == paired_interval(PairedCounts(both, first, second, neither))
        low, high = pair["ci95"]
        assert low < pair["difference"] < high


def test_disagreements_are_listed(compared):
    test = catalog.load("digits").test
    for pair in compared["pairs"]:
        one, other = (load(pair[side]).predict(test.values) for side in ("first", "second"))
        expected = [
            (index, index, str(test.targets[index]), str(one[index]), str(other[index]))
            for index in np.flatnonzero(one != other)
        ]
        assert [tuple(each.values()) for each in pair["disagree_on"]] == expected
        assert pair["disagreements"] == len(expected)
        assert len(expected) >= pair["first_alone_right"] + pair["second_alone_right"]
        assert list(pair["disagree_on"][0]) == ["index", "sequence", "true", "first", "second"]


def test_each_figure_names_the_run(compared, three):
    labels, values = catalog.load("digits").test.targets, catalog.load("digits").test.values
    for sheet, run in zip(compared["runs"], three, strict=True):
        result = json.loads((Path(run) / "result.json").read_text())
        right = rights(run)
        assert (sheet["correct"], sheet["accuracy"]) == (right.sum(), pytest.approx(right.mean()))
        assert sheet["ci95"] == pytest.approx(proportion_confint(right.sum(), 360, method="wilson"))
        assert sheet["loss"] == pytest.approx(log_loss(labels, load(run).predict_proba(values)))
        assert sheet["calibration_error"] == result["test"]["calibration"]["error"]
        assert sheet["weights_bytes"] == (Path(run) / "model" / "model.safetensors").stat().st_size
        assert sheet["training_seconds"] == result["training"]["seconds"]
        assert sheet["training_samples"] == 3968  # 124 batches of 32
        assert sheet["sequences_per_s"] > 0
    assert [sheet["network"] for sheet in compared["runs"]] == [
        "1 x lstm 128", "1 x lstm 128", "1 x gru 12, bidirectional",
    ]  # fmt: skip
    assert [sheet["view"] for sheet in compared["runs"]] == ["rows", "rows", "columns"]
    # an LSTM: 4 gates of 128 x (8 + 128) weights and 2 biases, a head of 10 x 128 and 10
    assert compared["runs"][0]["parameters"] == 4 * 128 * (8 + 128 + 2) + 10 * 129
    # a GRU, twice: 3 gates of 12 x (8 + 12) and 2 biases, a head of 10 x 24 and 10
    assert compared["runs"][2]["parameters"] == 2 * 3 * 12 * (8 + 12 + 2) + 10 * 25


def test_turned_round_the_difference_turns_round(three, compared):
    (turned,) = compare_runs([three[1], three[0]], measure_speed=False)["pairs"]
    pair = compared["pairs"][0]
    assert turned["difference"] == -pair["difference"]
    assert turned["ci95"] == pytest.approx([-limit for limit in reversed(pair["ci95"])])
    assert turned["mcnemar_p"] == pair["mcnemar_p"]
    assert [turned[key] for key in COUNTS] == [pair[COUNTS[index]] for index in (0, 2, 1, 3)]


def test_speed_is_measured_only_if_asked(three):
    result = compare_runs(three[:2], measure_speed=False)
    assert [sheet["sequences_per_s"] for sheet in result["runs"]] == [None, None]


def test_a_bundle_is_compared_with_a_run_and_its_copy_with_itself(three, compared, tmp_path):
    shutil.copytree(Path(three[0]) / "model", tmp_path / "alone")
    result = compare_runs([str(tmp_path / "alone"), three[1]], measure_speed=False)
    assert result["pairs"][0] | {"first": three[0]} == compared["pairs"][0]
    assert result["runs"][0]["training_seconds"] is None
    (same,) = compare_runs([three[0], str(tmp_path / "alone")], measure_speed=False)["pairs"]
    assert (same["difference"], same["mcnemar_p"], same["disagreements"]) == (0, 1, 0)
    assert same["both_right"] + same["neither_right"] == 360
    low, high = same["ci95"]
    assert low == pytest.approx(-high)
    assert 0 < high < 0.02


def test_naming_the_data_that_both_were_trained_on_changes_nothing(three, compared):
    result = compare_runs(three[:2], "digits", measure_speed=False)
    assert result["pairs"] == compared["pairs"][:1]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_are_refused(three, count):
    with pytest.raises(UsageError, match=f"at least two runs to compare, got {count}"):
        compare_runs(three[:count])


@pytest.mark.parametrize("again", ["{}", "{}/", "{}/model", "{}/../one"])
def test_a_run_is_not_compared_with_itself_however_it_is_spelt(three, again):
    other = again.format(three[0])
    with pytest.raises(UsageError, match="expected different runs to compare") as caught:
        compare_runs([three[1], three[0], other])
    assert f"{three[0]} and {other}" in str(caught.value)


def test_a_run_that_is_missing_is_named(three):
    with pytest.raises(ModelError, match=r"there is no run .*/onee; did you mean 'one'"):
        compare_runs([three[0], three[0] + "e"])


def recordings(seed: int = 0, n: int = 60) -> pd.DataFrame:
    """A long table of recordings of 3 to 6 steps that rise or fall, more or less."""
    draw = np.random.default_rng(seed)
    rows = []
    for recording in range(n):
        start = draw.normal()
        slope = 1 if recording % 2 else -1
        for time in range(int(draw.integers(3, 7))):
            value = start + slope * 0.4 * time + draw.normal()
            rows.append((f"r{recording}", time, round(value, 3), "rises" if recording % 2 else "falls"))
    return pd.DataFrame(rows, columns=["id", "time", "x", "label"])


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """A folder with a table, two runs on it, and a third on another part of it."""
    folder = tmp_path_factory.mktemp("tables")
    recordings().to_csv(folder / "mine.csv", index=False)
    for name, own in {"a": {}, "b": {"seed": 1}, "c": {"split.seed": 1}}.items():
        train(folder / "mine.csv", settings=FEW | {"split.test": 0.4} | own, run=folder / name, log=None)
    return folder


def test_sequences_of_a_table_are_called_by_their_names(tables):
    result = compare_runs([str(tables / "a"), str(tables / "b")], measure_speed=False)
    assert result["data"] == str(tables / "mine.csv")
    evaluation = evaluate_run(str(tables / "a"), None)
    assert result["n"] == len(evaluation.source) == 24
    (pair,) = result["pairs"]
    assert pair["disagreements"]
    names = evaluation.predictions().sequence
    for each in pair["disagree_on"]:
        assert each["sequence"] == names[each["index"]]
        assert {each["first"], each["second"]} == {"rises", "falls"}
    assert result["runs"][0]["view"] is None


def test_runs_on_different_data_are_refused_with_both(three, tables):
    with pytest.raises(
        DataError,
        match=r"one and .*/a: expected the same test sequences, got "
        r"digits \(360, SHA-256 [0-9a-f]{12}\.\.\.\) and "
        r".*mine\.csv \(24, SHA-256 [0-9a-f]{12}\.\.\.\); name one dataset with --data",
    ):
        compare_runs([three[0], str(tables / "a")])


def test_runs_with_different_test_splits_of_one_table_are_refused(tables):
    with pytest.raises(DataError, match=r"mine\.csv \(24, SHA-256 .*mine\.csv \(24, SHA-256"):
        compare_runs([str(tables / "a"), str(tables / "c")])


def test_runs_with_different_test_splits_are_compared_on_new_data(tables):
    recordings(seed=7, n=30).to_csv(tables / "new.csv", index=False)
    result = compare_runs(
        [str(tables / "a"), str(tables / "c")], str(tables / "new.csv"), measure_speed=False
    )
    assert (result["data"], result["n"]) == (str(tables / "new.csv"), 30)
    own = [
        np.array(evaluate_run(str(tables / name), str(tables / "new.csv")).predictions().predicted)
        for name in "ac"
    ]
    assert result["pairs"][0]["disagreements"] == (own[0] != own[1]).sum()


def test_data_that_one_of_them_cannot_read_is_refused(three, tables):
    with pytest.raises(DataError, match=r"digits: expected shape \(N, steps, 1\), found \(360, 8, 8\)"):
        compare_runs([three[0], str(tables / "a")], "digits")


def test_runs_on_arrays_of_a_program_require_data(tmp_path):
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(40, 5, 2)).astype(np.float32), np.arange(40) % 2
    X[:, :, 0] += y[:, None]
    runs = []
    for seed in (0, 1):
        given = Arrays(X, y, test=(X[:6], y[:6]), name="mine")
        runs.append(str(train(given, settings=FEW, seed=seed, run=tmp_path / str(seed), log=None).path))
    with pytest.raises(
        UsageError, match=r"0 was trained on the mine of a program: name its path with --data"
    ):
        compare_runs(runs)
    np.savez(tmp_path / "test.npz", X=X, y=y)
    result = compare_runs(runs, str(tmp_path / "test.npz"), measure_speed=False)
    assert result["n"] == 40
    rights = [load(run).predict(X) == y for run in runs]
    assert [sheet["correct"] for sheet in result["runs"]] == [right.sum() for right in rights]


def test_classes_are_matched_by_name_whatever_their_order(three, compared, tmp_path):
    """A copy of a model that knows its classes in another order answers the same."""
    model = load(three[0])
    order = np.random.default_rng(0).permutation(10)
    with torch.no_grad():
        for weight in (model.network.head.weight, model.network.head.bias):
            weight.copy_(weight[torch.from_numpy(order)])
    turned = replace(model, task=Classification(tuple(model.class_names[index] for index in order)))
    turned.save(tmp_path / "turned", "0.0.0")
    result = compare_runs([str(tmp_path / "turned"), three[1], three[0]], measure_speed=False)
    assert result["pairs"][0] | {"first": three[0]} == compared["pairs"][0]
    assert result["pairs"][1]["disagreements"] == 0
