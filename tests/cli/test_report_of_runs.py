"""`scanline train --report`, and reports of runs that did not finish."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scanline.api import train
from scanline.data.readers.arrays import Arrays
from tests.cli.conftest import FEW
from tests.cli.test_report import PROGRAM, everything, one_line
from tests.reporting.pages import notes, sections, sound, strict, words

# --- with training

TRAIN = ("--set", "train.samples=0", "--set", "train.epochs=0", "--set", "train.steps=3", "--report")


def test_train_report_writes_the_report_and_prints_its_path(scanline, folder, here):
    code, out, _ = scanline("train", here / "mine.npz", "--run", "new", *TRAIN)
    assert code == 0
    test, run, page = out.splitlines()
    assert re.fullmatch(r"test: \d+ of 16 correct, accuracy .*", test)
    assert (run, page) == ("run:  new", "report: new/report.html")
    twin = strict((folder / "new" / "report.json").read_text())
    assert twin["figures"] == json.loads((folder / "new" / "result.json").read_text())["test"]
    sound((folder / "new" / "report.html").read_text("utf-8"))


def test_train_report_in_json_is_pure_json_with_the_report_in_it(scanline, folder, here):
    code, out, err = scanline("train", here / "mine.npz", "--run", "new", *TRAIN, "--json")
    assert code == 0
    printed = strict(out)
    assert (printed.pop("run"), printed.pop("report")) == ("new", "new/report.html")
    assert printed == json.loads((folder / "new" / "result.json").read_text())
    assert "training sequences on" in err
    assert (folder / "new" / "report.html").is_file()


# --- runs that did not come to their end


def start_and_wait_for_a_step(run: Path) -> subprocess.Popen[str]:
    settings = (
        "train.samples=10_000_000",
        "train.log_every=2",
        "train.validate_every=3",
        "model.hidden_size=8",
    )
    changes = [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(
        [*PROGRAM, "train", "digits", "--run", str(run), *changes], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "validation" not in (line := process.stderr.readline()):
        assert process.poll() is None, line
    return process


@pytest.mark.campaign
def test_a_run_that_ctrl_c_ended_is_shown_as_far_as_it_came(scanline, folder):
    process = start_and_wait_for_a_step(folder / "cut")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    code, out, err = scanline("report", "cut")
    assert (code, out, err) == (0, "report: cut/report.html\n", "")
    twin = strict((folder / "cut" / "report.json").read_text())
    assert twin["judged"]["part"] == "validation"
    assert twin["training"]["status"] == "interrupted"
    root = sound((folder / "cut" / "report.html").read_text("utf-8"))
    first, second = notes(root)
    steps = twin["training"]["steps"]
    assert first.startswith(f"Training is interrupted, at step {steps:,}. ")
    assert "the test split is read only when training has ended" in second
    assert "of 180 sequences of the validation split of digits" in words(root)


@pytest.mark.campaign
def test_a_killed_run_shows_its_curves_and_how_to_resume(scanline, folder):
    process = start_and_wait_for_a_step(folder / "killed")
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    with (folder / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"event": "logged", "step": 99999, "lo')  # as the system may leave it
    code, out, err = scanline("report", "killed")
    assert (code, out, err) == (0, "report: killed/report.html\n", "")
    root = sound((folder / "killed" / "report.html").read_text("utf-8"))
    assert sections(root) == ["learning", "reproduce"]
    first, second = notes(root)
    assert re.match(r"Training is not finished, at step \d+\. ", first)
    assert first.endswith("scanline train --resume --run killed.")
    assert "There is no model yet" in second
    course = strict((folder / "killed" / "report.json").read_text())["course"]
    assert {each["event"] for each in course} == {"logged", "judged"}
    assert max(each["step"] for each in course) < 99999
    before = everything(folder)
    code, _, err = scanline("report", "killed", "--against", "one", "--output", "page.html")
    assert code == 4
    assert "killed has no model yet" in one_line(err)
    assert everything(folder) == before


def test_missing_data_give_a_page_with_a_note(scanline, folder):
    draw = np.random.default_rng(0)
    given = Arrays(draw.normal(size=(40, 3, 2)).astype(np.float32), np.arange(40) % 2)
    train(given, settings=FEW, run="arrays", log=None)
    assert scanline("report", "arrays") == (0, "report: arrays/report.html\n", "")
    root = sound((folder / "arrays" / "report.html").read_text("utf-8"))
    (note,) = notes(root)
    assert note.startswith("Nothing could be evaluated: arrays was trained on the arrays of a program: ")
    code, _, err = scanline("report", "arrays", "--against", "one")
    assert code == 2
    assert "arrays has nothing to be evaluated on: give data with --data" in one_line(err)


def test_help_lists_it(scanline):
    code, out, _ = scanline("--help")
    assert code == 0
    assert re.search(r"^  report +Write a run", out, re.MULTILINE)
    assert "--against RUN" in scanline("report", "--help")[1]
