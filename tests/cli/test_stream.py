"""`scanline predict RUN - --stream`: a line in, an answer out."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from scanline.api import train
from scanline.data.readers.arrays import Arrays
from scanline.errors import DataError
from scanline.evaluation.predict_lines import predict_lines
from scanline.model.loading import load


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run on a small CSV of two named features, in one direction."""
    folder = tmp_path_factory.mktemp("named")
    draw, lines = np.random.default_rng(0), ["id,label,x,y"]
    for number in range(60):
        kind = number % 2
        lines += [
            f"{number},{'ab'[kind]},{draw.normal() + 2 * kind:.3f},{draw.normal():.3f}" for _ in range(6)
        ]
    (folder / "small.csv").write_text("\n".join(lines) + "\n")
    settings = {"model.bidirectional": False, "model.hidden_size": 8, "train.steps": 30, "train.samples": 0}
    train(folder / "small.csv", settings=settings, run=folder / "run", log=None)
    return folder / "run"


@pytest.fixture
def stream(monkeypatch, scanline):
    def run(path, text, *options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return scanline("predict", path, "-", "--stream", *options)

    return run


STEPS = np.array([[0.5, -1.0], [2.0, 0.25], [1.5, 3.0]], np.float32)


@pytest.mark.parametrize(
    "text",
    [
        "0.5,-1\n2,0.25\n1.5,3\n",
        "[0.5, -1]\n[2, 0.25]\n[1.5, 3]",
        '{"x": 0.5, "y": -1}\n{"y": 0.25, "x": 2}\n{"x": 1.5, "y": 3}\n',
        "y,when,x\n-1,10,0.5\n0.25,11,2\n3,12,1.5\n",
        '\n"0.5","-1"\r\n2,0.25\r\n1.5,3\r\n',
    ],
)
def test_every_line_format_gives_the_same_predictions(named, stream, text):
    code, out, err = stream(named, text, "--json")
    assert (code, err) == (0, "")
    predictions = [json.loads(line) for line in out.splitlines()]
    assert [(each["schema"], each["sequence"], each["step"]) for each in predictions] == [
        (1, 0, 1), (1, 0, 2), (1, 0, 3),
    ]  # fmt: skip
    model = load(named)
    for end, prediction in enumerate(predictions, 1):
        expected = model.predict_proba(STEPS[None, :end])[0]
        np.testing.assert_allclose(list(prediction["probabilities"].values()), expected, rtol=0, atol=1e-6)
        assert prediction["label"] == model.predict(STEPS[None, :end])[0]


@pytest.mark.parametrize("text", ["x,y\r\n0.5,-1\r\n", "0.5,-1\n", "[0.5, -1]\n", '{"y": -1, "x": 0.5}\n'])
def test_a_byte_order_mark_is_skipped(named, stream, text):
    assert stream(named, "\ufeff" + text) == stream(named, text)
    first = next(predict_lines(load(named), ("\ufeff" + text).splitlines()))
    assert first.prediction == next(predict_lines(load(named), text.splitlines())).prediction


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("0,5;-1\n", ("--decimal", ",")),
        ("y;x\n-1,0;0,5\n", ("--decimal", ",")),
        ('"0,5",-1\n', ("--decimal", ",", "--separator", ",")),
        ("0.5\t-1\n", ("--separator", "tab")),
        ("0,5   -1\n", ("--separator", "blanks", "--decimal", ",")),
    ],
)
def test_lines_may_have_another_dialect(named, stream, text, options):
    assert stream(named, text, *options) == stream(named, "0.5,-1\n")


def test_a_comma_between_decimals_separates_no_features(named, stream):
    code, out, err = stream(named, "1,5\n", "--decimal", ",")
    assert (code, out) == (3, "")
    assert "line 1: the steps: expected shape" in err


def test_a_byte_order_mark_within_the_stream_is_no_number(named, stream):
    code, _, err = stream(named, "0.5,-1\n\ufeff2,0.25\n")
    assert code == 3
    assert "line 2: expected a number" in err


def test_an_empty_line_begins_another_sequence(named, stream):
    _, out, _ = stream(named, "0.5,-1\n2,0.25\n\n\n0.5,-1\n")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[:2] for row in rows] == [["0", "1"], ["0", "2"], ["1", "1"]]
    assert rows[0][2:] == rows[2][2:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n1,2,3\n", r"line 2: the steps: expected shape .*2.*, found \(1, 3\)"),
        ("1,fast\n", "line 1: expected a number, got 'fast'"),
        ("1,nan\n", "line 1: the steps: expected finite numbers, found nan"),
        ("1,\n", "line 1: the steps: expected finite numbers, found nan"),
        ("[1, 2\n", "line 1: not valid JSON"),
        ('{"x": 1}\n', "line 1: expected the features x, y, got x"),
        ("[1, [2]]\n", r"line 1: expected a number, got '\[2\]'"),
        ("[" * 100_000 + "\n", "line 1: not valid JSON"),
        ("1" * 2_000_000, "line 1: expected at most 1,000,000 characters"),
        ("x,y\n1\n", "line 2: expected 2 cells or more, got 1"),
        ("1e999,0\n", "line 1: the steps: expected finite numbers, found inf"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(named, stream, text, message):
    code, _, err = stream(named, text)
    assert code == 3
    assert err.count("\n") == 1
    assert re.search(message, err), err


def test_a_stream_needs_both_the_dash_and_the_option(named, scanline):
    for arguments in (("-",), ("a.csv", "--stream"), ("-", "b.csv", "--stream")):
        code, _, err = scanline("predict", named, *arguments)
        assert code == 2
        assert "expected `scanline predict RUN - --stream`" in err


def test_a_bidirectional_model_refuses_to_stream(stream, tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 5, 2)).astype(np.float32)
    settings = {"model.hidden_size": 4, "train.steps": 5, "train.samples": 0}
    train(Arrays(values, np.arange(40) % 2), settings=settings, run=tmp_path / "run", log=None)
    code, out, err = stream(tmp_path / "run", "1,2\n")
    assert (code, out) == (2, "")
    assert "reads in both directions" in err


def test_a_prediction_is_printed_before_the_next_line_is_sent(named):
    command = [sys.executable, "-m", "scanline", "predict", str(named), "-", "--stream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        for step, line in enumerate(("0.5,-1\n", "2,0.25\n"), 1):
            program.stdin.write(line)
            program.stdin.flush()
            assert program.stdout.readline().split("\t")[1] == str(step)
        program.stdin.close()
        assert program.wait(30) == 0


@pytest.mark.parametrize("before", ["", "1,2\n"])
def test_a_line_that_is_no_csv_is_named(named, stream, before):
    code, _, err = stream(named, f'{before}"{"1" * 200_000}",2\n')
    assert code == 3
    assert re.search(rf"line {1 + bool(before)}: not valid CSV", err), err
    assert err.count("\n") == 1


def test_a_line_from_a_program_may_hold_a_carriage_return(named):
    model = load(named)
    with pytest.raises(DataError, match="line 1: not valid CSV"):
        next(predict_lines(model, ["1,\r2"]))
    assert next(predict_lines(model, ["[0.5,\r-1]"])).step == 1
