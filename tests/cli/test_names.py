"""Names from untrusted sources - classes, files and runs - in the output of the program."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scanline.cli.output import print_text, say, shown_name
from scanline.data.preprocessing import Preprocessing
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification

FORGED = "cat (1.0)\nbank.csv: 0: genuine (1.0000)\tx\u202e"
SHOWN = r"cat (1.0)\nbank.csv: 0: genuine (1.0000)\tx\u202e"
QUICK = ("--set", "train.samples=0", "--set", "train.steps=2", "--set", "model.hidden_size=4")


def saved(folder: Path, *classes: str) -> Path:
    """A bundle of an untrained network that reads two features."""
    classifier = Network(Architecture("gru", 2, 4, 1, False, 0.0, "between", "last", len(classes)))
    form = Preprocessing(None, "rows", 0, 2, 2, "error", (), DEFAULT_DATA)
    Model(classifier, Classification(classes), form, "x").save(folder, "0.0.0")
    return folder


@pytest.fixture
def new(tmp_path) -> Path:
    path = tmp_path / "new.npz"
    np.savez(path, X=np.random.default_rng(0).normal(size=(6, 3, 2)).astype(np.float32))
    return path


def test_a_name_stays_on_one_line(capsys):
    assert shown_name(FORGED) == SHOWN
    assert shown_name(7) == "7"
    assert shown_name("x" * 10**6, 40) == "x" * 37 + "..."
    assert shown_name("x" * 40, 40) == "x" * 40
    print_text(shown_name(FORGED))
    say(FORGED)
    assert [captured.count("\n") for captured in capsys.readouterr()] == [1, 1]


def test_a_class_name_adds_no_line(scanline, tmp_path, new):
    model = saved(tmp_path / "model", FORGED, FORGED + "2")
    code, out, err = scanline("predict", model, new)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 6
    assert all(line.startswith(f"{new}: {number}: {SHOWN}") for number, line in enumerate(lines))
    code, out, _ = scanline("explain", model, new)
    assert code == 0
    assert len(out.splitlines()) == 6
    assert "\nbank" not in out
    prediction = json.loads(scanline("predict", model, new, "--json")[1])["predictions"]
    assert {each["label"] for each in prediction} <= {FORGED, FORGED + "2"}


def test_a_class_name_adds_no_line_to_a_stream(tmp_path):
    model = saved(tmp_path / "model", FORGED, FORGED + "2")
    ran = subprocess.run(
        [sys.executable, "-m", "scanline", "predict", str(model), "-", "--stream"],
        input="1,2\n3,4\n", capture_output=True, text=True,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line.split("\t")[2].rstrip("2") for line in ran.stdout.splitlines()] == [SHOWN, SHOWN]


def test_a_model_of_a_single_class_is_refused(scanline, tmp_path, new):
    """Older versions imported networks with one output so, and predicted that class for everything."""
    code, out, err = scanline("explain", saved(tmp_path / "model", "only"), new)
    assert (code, out) == (4, "")
    assert "at least 2 classes, got 1; import the network again" in err


def test_long_names_are_cut_in_the_tables(scanline, tmp_path):
    names = ["a" * 4000, "b" * 4000 + "\nforged"]
    models = [saved(tmp_path / each, *names) for each in ("one", "two")]
    draw = np.random.default_rng(0)
    labels = np.array(names, dtype=object)[np.arange(40) % 2].astype(str)
    np.savez(tmp_path / "d.npz", X=draw.normal(size=(40, 3, 2)).astype(np.float32), y=labels)
    for command in (["evaluate", models[0]], ["compare", *models]):
        code, out, err = scanline(*command, "--data", tmp_path / "d.npz")
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) < 200
        assert "\nforged" not in out
    assert "a" * 37 + "..." in scanline("evaluate", models[0], "--data", tmp_path / "d.npz")[1]


ODD_NAME = "e\x1b[31m\n.csv"


def write_a_file_with_an_odd_name(folder: Path) -> None:
    (folder / ODD_NAME).write_text(
        "id,time,x,label\n" + "".join(f"{n},{t},{n * t % 5},{n % 2}\n" for n in range(40) for t in range(3))
    )


def test_control_characters_in_a_file_name_are_escaped(scanline, tmp_path, monkeypatch):
    write_a_file_with_an_odd_name(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, err = scanline("train", ODD_NAME, *QUICK)
    assert code == 0, err
    assert "\x1b[31m" not in out + err
    assert r"training sequences on e\x1b[31m" in err
    assert out.splitlines()[-1].startswith("run:  runs/e")


def test_control_characters_in_a_file_name_are_escaped_on_a_terminal(tmp_path):
    write_a_file_with_an_odd_name(tmp_path)
    command = [sys.executable, "-m", "scanline", "train", ODD_NAME, *QUICK]
    ours, theirs = pty.openpty()
    ran = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs,
        env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert ran.returncode == 0, shown
    assert b"\x1b[31m" not in ran.stdout + shown
    assert rb"training sequences on e\x1b[31m" in shown
    assert ran.stdout.splitlines()[-1].startswith(b"run:  runs/e")
