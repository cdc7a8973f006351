"""The course of training in two lines of characters."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scanline.cli.output import sparkline
from scanline.cli.watch import curve

BLOCKS = "▁▂▃▄▅▆▇█"


def write_history(path: Path, losses: list[float], accuracies: list[float] = []) -> Path:  # noqa: B006
    """A metrics.jsonl with such losses of batches and such accuracies of the validation part."""
    logged = [
        {"event": "logged", "step": step, "loss": loss, "accuracy": 0.5}
        for step, loss in enumerate(losses, 1)
    ]
    evaluation = [
        {"event": "judged", "part": name, "step": step, "loss": 9.0, "accuracy": accuracy}
        for step, accuracy in enumerate(accuracies, 1)
        for name in ("test", "validation")
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in logged + evaluation))
    return path


def test_a_character_is_as_high_as_its_value():
    assert sparkline(range(8), 8) == BLOCKS
    assert sparkline([7, 0, 3.5], 80) == "█▁▅"
    assert sparkline([0.2, 0.9, 0.2], 3) == "▁█▁"


def test_values_that_do_not_change_are_a_line_at_the_bottom():
    assert sparkline([0.5] * 6, 80) == "▁" * 6
    assert sparkline([3], 80) == "▁"


def test_each_character_shows_the_mean_of_its_values_if_there_are_too_many():
    assert sparkline([0, 0, 7, 7, 2, 2], 3) == "▁█▃"
    # Pairs with the means 0, 7 and 2; the line reaches from -1 to 8, so these are 7/9, 56/9 and 21/9 of 7.
    assert sparkline([-1, 1, 6, 8, 1, 3], 3) == "▂▇▃"
    assert len(sparkline(range(1000), 37)) == 37
    drawn = sparkline(range(1000), 37)
    assert list(drawn) == sorted(drawn)
    assert set(drawn) == set(BLOCKS)


def test_numbers_without_measure_can_be_drawn():
    assert sparkline([10**308, -(10**308)], 20) == "█▁"
    assert sparkline([1e308, -1e308, 0.0], 20) == "█▁▅"
    assert len(sparkline([float("inf"), float("nan"), -(10**4000)], 20)) == 3
    assert len(sparkline([10**308] * 1000, 10)) == 10


def test_both_lines_state_the_first_and_the_last_value(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    # On a logarithmic scale a hundredth is twice as deep as a tenth.
    loss, accuracy = curve(write_history(tmp_path / "m", [1.0, 0.1, 0.01], [0.25, 0.75, 0.5]))
    assert loss == "loss:     1.0000 █▅▁ 0.0100"
    assert accuracy == "accuracy: 0.2500 ▁█▅ 0.5000 (validation)"


def test_a_loss_of_zero_can_be_drawn(tmp_path):
    (line,) = curve(write_history(tmp_path / "m", [1.0, 0.0]))
    assert line == "loss:     1.0000 █▁ 0.0000"


@pytest.mark.parametrize(
    ("losses", "accuracies", "heads"),
    [
        ([], [], []),
        ([1.0], [0.5], []),
        ([1.0, 0.5], [0.5], ["loss"]),
        ([1.0], [0.5, 0.6], ["accuracy"]),
        ([1.0, 0.5], [0.5, 0.6], ["loss", "accuracy"]),
    ],
)
def test_a_single_value_has_no_curve(tmp_path, losses, accuracies, heads):
    lines = curve(write_history(tmp_path / "m", losses, accuracies))
    assert [line.split(":")[0] for line in lines] == heads


def test_a_missing_or_truncated_file_is_not_an_error(tmp_path):
    assert curve(tmp_path / "nothing") == []
    path = write_history(tmp_path / "m", [1.0, 0.1, 0.01])
    path.write_text(path.read_text()[:-9])
    assert curve(path) == ["loss:     1.0000 █▁ 0.1000"]


@pytest.mark.parametrize(("columns", "most"), [("40", 40), ("59", 59), ("60", 60), ("80", 80), ("200", 80)])
def test_the_lines_fit_the_window_and_are_no_longer_than_eighty(tmp_path, monkeypatch, columns, most):
    monkeypatch.setenv("COLUMNS", columns)
    losses = [1234.5 * math.exp(-step / 100) for step in range(1000)]
    lines = curve(write_history(tmp_path / "m", losses, [step / 1000 for step in range(1000)]))
    assert len(lines) == 2
    for line in lines:
        assert most - 16 <= len(line) <= most
        assert len(re.sub(f"[^{BLOCKS}]", "", line)) >= 8
    assert lines[1].endswith("(validation)") == (most >= 60)


@pytest.mark.campaign
def test_where_there_are_no_blocks_the_curves_are_drawn_in_ascii(tmp_path):
    """A whole training in a real window of 40 columns that knows no more than ASCII."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "40", "SCANLINE_OFFLINE": "1"}
    changes = ["train.samples=0", "train.steps=30", "train.log_every=1", "train.validate_every=6"]
    settings = [word for change in [*changes, "model.hidden_size=8"] for word in ("--set", change)]
    ran = subprocess.run(
        [sys.executable, "-m", "scanline", "train", "digits", "--run", str(tmp_path / "run"), *settings],
        env=environment,
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.decode("ascii").startswith("test: ")
    lines = ran.stderr.decode("ascii").splitlines()
    loss, accuracy = (
        next(line for line in lines if line.startswith(f"{name}:")) for name in ("loss", "accuracy")
    )
    shown = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for line, head, key, event in [
        (loss, "loss:     ", "loss", "logged"),
        (accuracy, "accuracy: ", "accuracy", "judged"),
    ]:
        values = [each[key] for each in shown if each["event"] == event]
        match = re.fullmatch(rf"{head}(\d\.\d{{4}}) ([.:\-=+*#%]+) (\d\.\d{{4}})", line)
        assert match, line
        assert (match[1], match[3]) == (f"{values[0]:.4f}", f"{values[-1]:.4f}")
        assert len(line) <= 40
    assert len(re.split(" +", accuracy)[2]) == 5


def test_the_curves_are_the_last_lines_of_training(scanline, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    changes = ["train.samples=0", "train.steps=6", "train.log_every=1", "train.validate_every=2"]
    settings = [word for change in [*changes, "model.hidden_size=8"] for word in ("--set", change)]
    code, out, err = scanline("train", "digits", "--run", tmp_path / "run", "--json", *settings)
    assert code == 0
    json.loads(out)
    assert err.splitlines()[-2:] == curve(tmp_path / "run" / "metrics.jsonl")
    assert all(set(BLOCKS) & set(line) for line in err.splitlines()[-2:])
