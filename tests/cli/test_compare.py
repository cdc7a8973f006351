"""`scanline compare`, and `scanline evaluate` of the same runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from scanline.api import train
from scanline.cli.compare import _details, _ranking
from scanline.data.readers.arrays import Arrays

COUNTS = ("both_right", "first_alone_right", "second_alone_right", "neither_right")
FEW = {"train.samples": 0, "train.epochs": 0, "train.steps": 3, "model.hidden_size": 4}


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with two runs on the digits that differ in their seed alone."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("one", "two")):
        train("digits", settings={"train.samples": 4000}, seed=seed, run=folder / name, log=None)
    return folder


@pytest.fixture
def here(runs, monkeypatch) -> Path:
    monkeypatch.chdir(runs)
    return runs


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def strict(text: str) -> dict:
    """JSON that has no NaN and no infinity, which are none."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    content: dict = json.loads(text, parse_constant=refuse)
    return content


def listed_predictions(scanline, run: str) -> list[tuple[str, ...]]:
    """(sequence, predicted, true) of every test sequence, as `evaluate --list` prints them."""
    out = scanline("evaluate", run, "--list")[1]
    return [tuple(line.split("\t")) for line in out.splitlines()[1:361]]


def test_compare_in_json_counts_what_evaluate_lists(scanline, here):
    code, out, err = scanline("compare", "one", "two", "--json")
    assert (code, err) == (0, "")
    content = strict(out)
    assert (content["schema"], content["data"], content["n"]) == (1, "digits", 360)
    one, two = listed_predictions(scanline, "one"), listed_predictions(scanline, "two")
    counts = dict.fromkeys(COUNTS, 0)
    apart = []
    for (name, first, true), (again, second, same) in zip(one, two, strict=True):
        assert (name, true) == (again, same)
        key = (
            ("both_right" if second == true else "first_alone_right")
            if first == true
            else ("second_alone_right" if second == true else "neither_right")
        )
        counts[key] += 1
        if first != second:
            apart.append((int(name), true, first, second))
    (pair,) = content["pairs"]
    assert {key: pair[key] for key in COUNTS} == counts
    assert sum(counts.values()) == content["n"]
    result = [
        tuple(each[key] for key in ("sequence", "true", "first", "second")) for each in pair["disagree_on"]
    ]
    assert result == apart
    alone = counts["first_alone_right"], counts["second_alone_right"]
    assert pair["mcnemar_p"] == pytest.approx(binomtest(alone[0], sum(alone)).pvalue)
    assert pair["difference"] == pytest.approx((alone[0] - alone[1]) / 360)


def test_compare_and_evaluate_agree(scanline, here):
    content = strict(scanline("compare", "one", "two", "--json")[1])
    for sheet, run in zip(content["runs"], ("one", "two"), strict=True):
        test = strict(scanline("evaluate", run, "--json")[1])["test"]
        assert sheet["run"] == run
        assert [sheet[key] for key in ("correct", "accuracy", "ci95", "loss")] == [
            test[key] for key in ("correct", "accuracy", "ci95", "loss")
        ]
        assert sheet["calibration_error"] == test["calibration"]["error"]


def test_compare_names_both_and_fits_a_terminal(scanline, here):
    code, out, err = scanline("compare", "one", "two")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "360 test sequences of digits"
    (pair,) = strict(scanline("compare", "one", "two", "--json")[1])["pairs"]
    for run in ("one", "two"):
        at = lines.index(f"{run}: 1 x lstm 128, rows")
        assert re.fullmatch(r"  \d+ correct, accuracy 0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)", lines[at + 1])
        assert re.fullmatch(r"  cross-entropy 0\.\d{4}, calibration error 0\.\d{4}", lines[at + 2])
        assert re.fullmatch(r"  71,946 weights, 0\.29 MB; [\d,]+ predictions per second", lines[at + 3])
        assert re.fullmatch(r"  trained for \d+\.\d s on 3,968 sequences", lines[at + 4])
    at = lines.index("one minus two")
    low, high = pair["ci95"]
    assert lines[at + 1] == (f"  accuracy {pair['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
    verdict = "not significant at 5 %" if pair["mcnemar_p"] > 0.05 else "significant at 5 %"
    assert lines[at + 2] == f"  McNemar p = {pair['mcnemar_p']:.3g}: {verdict}"
    counts = [int(count) for count in re.findall(r"\d+", lines[at + 3])]
    assert counts == [pair[key] for key in COUNTS]
    assert lines[at + 4] == f"  different predictions: {pair['disagreements']}"
    shown = lines[at + 5 :]
    for line, each in zip(shown[:10], pair["disagree_on"], strict=False):
        true, first, second = (each[key] for key in ("true", "first", "second"))
        assert line == f"    sequence {each['sequence']}: true {true}, first {first}, second {second}"
    assert pair["disagreements"] > 10
    assert shown[10:] == [f"    and {pair['disagreements'] - 10} more (--json lists them)"]


def test_three_runs_make_three_pairs(scanline, here, trained):
    content = strict(scanline("compare", "one", "two", trained, "--json")[1])
    assert [(pair["first"], pair["second"]) for pair in content["pairs"]] == [
        ("one", "two"), ("one", str(trained)), ("two", str(trained)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Missing argument 'RUNS...'"),
        (["one"], 2, "expected at least two runs to compare, got 1"),
        (["one", "one"], 2, "different runs to compare, got one and one,"),
        (["one", "two", "one/"], 2, "different runs to compare, got one and one/,"),
        (["one", "twoo"], 4, "there is no run twoo; did you mean 'two'?"),
        (["one", "two", "--device", "tpu"], 2, "device must be one of auto, cpu, cuda, cuda:N, got 'tpu'"),
        (["one", "two", "--data", "imagenet"], 2, "unknown data set 'imagenet'"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_one_line(scanline, here, arguments, code, message):
    result, out, err = scanline("compare", *arguments)
    assert (result, out) == (code, "")
    assert message in one_line(err)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Path:
    """A folder with two runs on arrays of a program, a file of such sequences, and a run on that."""
    folder = tmp_path_factory.mktemp("made-up")
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(40, 5, 2)).astype(np.float32), np.arange(40) % 2
    for seed in (0, 1):
        train(Arrays(X, y), settings=FEW, seed=seed, run=folder / f"run-{seed}", log=None)
    np.savez(folder / "new.npz", X=X, y=y)
    train(folder / "new.npz", settings=FEW, run=folder / "filed", log=None)
    return folder


def test_runs_on_different_data_are_one_line_and_exit_with_3(scanline, here, made_up):
    code, out, err = scanline("compare", "one", made_up / "filed")
    assert (code, out) == (3, "")
    assert f"one and {made_up}/filed: expected the same test sequences, got digits (360, " in one_line(err)


def test_data_that_a_run_cannot_read_are_one_line_and_exit_with_3(scanline, here, made_up):
    code, out, err = scanline("compare", "one", made_up / "run-0", "--data", made_up / "new.npz")
    assert (code, out) == (3, "")
    assert "new.npz, X: expected shape (N, 8, 8), found (40, 5, 2)" in one_line(err)


def test_runs_trained_on_arrays_are_compared_with_data(scanline, made_up):
    runs = made_up / "run-0", made_up / "run-1"
    code, out, err = scanline("compare", *runs)
    assert (code, out) == (2, "")
    assert "run-0 was trained on the arrays of a program: name its path with --data" in one_line(err)
    code, out, err = scanline("compare", *runs, "--data", made_up / "new.npz", "--json")
    assert (code, err) == (0, "")
    content = strict(out)
    assert content["n"] == 40
    listed = [
        scanline("evaluate", run, "--data", made_up / "new.npz", "--list")[1].splitlines()[1:41]
        for run in runs
    ]
    rows = [[line.split("\t") for line in lines] for lines in listed]
    assert [sheet["correct"] for sheet in content["runs"]] == [
        sum(predicted == true for _, predicted, true in lines) for lines in rows
    ]


@pytest.mark.parametrize(
    ("training", "line"),
    [
        ({"seconds": 1.5}, "  trained for 1.5 s"),
        ({"samples_seen": 1000}, "  trained on 1,000 sequences"),
        ({"seconds": 1.5, "samples_seen": 1000}, "  trained for 1.5 s on 1,000 sequences"),
        ({}, None),
    ],
)
def test_the_known_training_cost_is_shown(training, line):
    figures = dict.fromkeys(("accuracy", "loss", "calibration_error", "sequences_per_s"), 0.5)
    figures |= dict.fromkeys(("correct", "parameters", "weights_bytes"), 1)
    cost = {"training_seconds": training.get("seconds"), "training_samples": training.get("samples_seen")}
    named = {"run": "one", "network": "gru", "view": None, "ci95": (0.0, 1.0)}
    assert _details(SimpleNamespace(**figures | cost | named))[5:] == ([line] if line else [])


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ([1], "training: "),
        ({"seconds": "long"}, r"training\.seconds: "),
        ({"samples_seen": 1e99}, r"training\.samples_seen: "),
        ({"seconds": float("nan")}, r"training\.seconds: "),
    ],
)
def test_a_result_of_another_shape_is_named_in_one_line(scanline, runs, tmp_path, spoilt, message):
    for name in ("one", "two"):
        shutil.copytree(runs / name, tmp_path / name)
    path = tmp_path / "one" / "result.json"
    result = json.loads(path.read_text())
    result["training"] = spoilt if isinstance(spoilt, list) else result["training"] | spoilt
    path.write_text(json.dumps(result))
    code, out, err = scanline("compare", tmp_path / "one", tmp_path / "two")
    assert (code, out) == (4, "")
    assert re.search(rf"one/result\.json is damaged: .*{message}", one_line(err))


def compared(name, accuracy, network="1 x lstm 128", parameters=83_850):
    ends = [accuracy - 0.002, accuracy + 0.002]
    figures = {"accuracy": accuracy, "ci95": ends, "parameters": parameters, "sequences_per_s": 21_345.6}
    return SimpleNamespace(run=name, network=network, **figures)


def test_the_table_ranks_runs_by_accuracy_and_compares_each_with_the_best():
    runs = [
        compared("runs/a", 0.95),
        compared("runs/b", 0.97),
        compared("runs/c", 0.96, "2 x gru 64", 1_250_000),
    ]
    pairs = [
        SimpleNamespace(first="runs/a", second="runs/b", difference=-0.02, mcnemar_p=0.0001),
        SimpleNamespace(first="runs/a", second="runs/c", difference=-0.01, mcnemar_p=0.5),
        SimpleNamespace(first="runs/b", second="runs/c", difference=0.01, mcnemar_p=0.043),
    ]
    lines = _ranking(SimpleNamespace(runs=runs, pairs=pairs), 80)
    assert [line.split() for line in lines[1:]] == [
        ["#", "run", "network", "accuracy", "%", "(95", "%)", "vs", "best", "p", "params", "seq/s"],
        ["1", "b", "lstm", "128", "97.00", "(96.8-97.2)", "-", "-", "83.8k", "21.3k"],
        ["2", "c", "2xgru", "64", "96.00", "(95.8-96.2)", "-1.00", "0.04", "1.25M", "21.3k"],
        ["3", "a", "lstm", "128", "95.00", "(94.8-95.2)", "-2.00", "1e-04", "83.8k", "21.3k"],
    ]
    assert len(set(map(len, lines[1:]))) == 1


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_table_fits_the_terminal_where_80_columns_are_enough(columns):
    long = "runs/a-run-with-a-long-name-about-everything-that-was-tried-with-sensors-"
    network = "2 x lstm 128, bidirectional"
    runs = [compared(f"{long}{number}", 0.95 - number / 100, network) for number in (1, 2)]
    names = {"first": runs[0].run, "second": runs[1].run}
    pairs = [SimpleNamespace(**names, difference=0.01, mcnemar_p=1.2e-11)]
    lines = _ranking(SimpleNamespace(runs=runs, pairs=pairs), columns)
    assert max(map(len, lines)) <= max(columns, 80)
    assert lines[2].split()[1].endswith("sors-1")


def test_two_equally_accurate_runs_differ_by_plus_zero_in_the_table():
    runs = [compared("runs/a", 0.95), compared("runs/b", 0.95)]
    pairs = [SimpleNamespace(first="runs/a", second="runs/b", difference=0.0, mcnemar_p=1.0)]
    *_, last = _ranking(SimpleNamespace(runs=runs, pairs=pairs), 80)
    assert last.split()[6:8] == ["+0.00", "1.00"]
