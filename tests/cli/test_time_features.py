"""Features of the time, from the training to a stream, and the intervals that `data show` prints."""

import io
import json
import random
import re
from datetime import datetime, timedelta

import pytest

from scanline.api import load, train

FEW = {
    "train.samples": 3_200,
    "train.learning_rate": 0.02,
    "model.hidden_size": 8,
    "model.bidirectional": False,
}
CHOSEN = {"data.time_features": ["log-delta", "hour"]}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Sequences of noise, whose class only the intervals between their steps show."""
    folder = tmp_path_factory.mktemp("times")
    for name, count in (("train", 80), ("new", 8)):
        draw, lines = random.Random(1), ["id,when,x,label"]
        for index in range(count):
            slow, time = index % 2, datetime(2026, 3, 1) + timedelta(hours=draw.random() * 100)
            for _ in range(draw.randint(4, 6)):
                time += timedelta(seconds=draw.uniform(0.5, 1.5) * (600 if slow else 1))
                lines.append(f"s{index},{time:%Y-%m-%d %H:%M:%S.%f},{draw.gauss(0, 1):.3f},{'fs'[slow]}")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    settings = FEW | CHOSEN | {"data.time_column": "when"}
    train(folder / "train.csv", settings=settings, run=folder / "run", log=None)
    return folder


def _json(scanline, *command):
    code, out, messages = scanline(*command, "--json")
    assert code == 0, messages
    return json.loads(out), messages


def test_the_class_is_learned_from_the_times_alone(tables, scanline):
    found, _ = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    assert [each["label"] for each in found["predictions"]] == ["f", "s"] * 4
    assert load(tables / "run").evaluate(tables / "new.csv").accuracy == 1.0
    names = load(tables / "run").preprocessing.feature_names
    assert names == ("x", "when:log-delta", "when:hour:sin", "when:hour:cos")


@pytest.mark.parametrize("form", ["header", "json"])
def test_a_stream_with_the_time_predicts_what_the_file_does(tables, scanline, monkeypatch, form):
    lines = (tables / "new.csv").read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines if line.startswith(("s0,", "s1,"))]
    out, last = (["when,x"] if form == "header" else []), rows[0][0]
    for name, time, x, _ in rows:
        if name != last:
            out.append("")
            last = name
        out.append(f"{time},{x}" if form == "header" else json.dumps({"x": float(x), "when": time}))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(out).encode())))
    _, printed, _ = scanline("predict", tables / "run", "-", "--stream", "--json")
    by_sequence = {line["sequence"]: line for line in map(json.loads, printed.splitlines())}
    found, _ = _json(scanline, "predict", str(tables / "run"), str(tables / "new.csv"))
    for index in (0, 1):
        expected = found["predictions"][index]["probabilities"]
        assert by_sequence[index]["probabilities"] == pytest.approx(expected, abs=1e-15)


def test_a_stream_without_the_time_is_refused(tables, scanline, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"x": 0.5}\n')))
    code, _, messages = scanline("predict", tables / "run", "-", "--stream")
    assert code
    assert "line 1: expected the features x, when, got x" in messages


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("score RUN DATA --to scores", "features of the time"),
        ("data pack DATA --to packed --time-features delta", "packed data have no time features"),
        ("train DATA --time-features delta --run r", "need a column of times: give it with --time-column"),
        ("train DATA --time-column when --time-features delta,delta --run r", "name each feature once"),
        ("train DATA --time-column when --time-features our --run r", "did you mean 'hour'"),
        ("train digits --time-features delta --run r", "time_features"),
    ],
)
def test_what_does_not_apply_is_refused_in_one_line(tables, scanline, monkeypatch, command, message):
    monkeypatch.chdir(tables)
    names = {"RUN": "run", "DATA": "train.csv"}
    code, _, messages = scanline(*(names.get(word, word) for word in command.split()))
    assert code
    assert re.search(message, messages.splitlines()[-1]), messages
    assert "Traceback" not in messages


def test_times_of_another_kind_than_in_training_are_refused(tables, scanline, tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("id,when,x\ns0,1,0.5\ns0,2,0.5\n")
    code, _, messages = scanline("predict", tables / "run", path)
    assert code
    assert "got numbers" in messages


def test_data_show_prints_the_intervals_and_the_largest_gap(tmp_path, scanline):
    path = tmp_path / "gaps.csv"
    times = ["10:00:00", "10:00:01", "10:00:02", "10:00:09"]
    path.write_text("id,time,x,label\n" + "".join(f"a,2026-01-31 {time},1,p\n" for time in times))
    code, out, _ = scanline("data", "show", path, "--shape", "long")
    assert code == 0
    assert out.splitlines()[-1] == (
        "  intervals: median 1 s, 1 to 7 s, 33.3 % irregular; 1 gap of more than 1.5 times the median, the "
        "largest 7 s in sequence a after 2026-01-31 10:00:02"
    )
    found, _ = _json(scanline, "data", "show", str(path), "--shape", "long")
    (intervals,) = found["intervals"]
    assert (intervals["median"], intervals["gaps"], intervals["count"]) == (1, 1, 3)
    assert intervals["largest"] == {"sequence": "a", "step": 4, "interval": 7, "after": "2026-01-31 10:00:02"}


def test_a_time_column_in_two_formats_names_the_first_row_of_each(tmp_path, scanline):
    path = tmp_path / "mixed.csv"
    rows = ["a,2026-01-31 10:00:00,1,p"] * 2 + ["a,31.01.2026 11:00,1,p"]
    path.write_text("id,time,x,label\n" + "\n".join(rows) + "\n")
    code, _, messages = scanline("train", path, "--run", tmp_path / "run", "--shape", "long")
    assert code == 3
    line = messages.splitlines()[-1]
    assert "line 4, column time" in line
    assert "line 2" in line
    assert "31.01.2026 11:00" in line
