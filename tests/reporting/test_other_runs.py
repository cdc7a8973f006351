"""Reports of unusual runs: coloured pictures, long sequences, data of a program, interrupted training."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scanline.api import train
from scanline.data.readers.arrays import Arrays
from scanline.errors import Interrupted, ModelError, UsageError
from scanline.reporting.gather import gather
from scanline.reporting.report import report
from scanline.training.events import Stepped
from scanline.training.run import TrainingRun
from tests.reporting.pages import (
    Shown,
    facts,
    labels,
    notes,
    of_class,
    rows,
    sections,
    show,
    words,
)
from tests.reporting.test_report import ALL, FEW, trained_on

# --- pictures with colours, seen in another order


def test_coloured_pictures_are_shown_as_they_were_however_they_are_read(tmp_path):
    draw = np.random.default_rng(0)
    X = draw.integers(0, 120, (40, 6, 5, 3), dtype=np.uint8)
    X[::2] += 130
    run = trained_on(tmp_path, X, np.arange(40) % 2, **{"input.view": "permuted", "train.steps": 40})
    shown = show(run.path, tmp_path / "page.html")
    test = json.loads((run.path / "split.json").read_text())["parts"]["test"]["sequences"]
    seen = set()
    for thumb in [each for item in of_class(shown.root, "examples") for each in item]:
        number = int(re.match(r"sequence (\d+)p = ", words(thumb))[1])
        data = next(thumb.iter("img")).get("src").removeprefix("data:image/png;base64,")
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert np.array_equal(np.asarray(picture), X[test[number]])
        seen.add(number)
    assert seen == set(range(len(test)))
    assert shown.twin["view"] == "permuted"


# --- very long sequences


def test_very_long_sequences_are_evaluated_without_attributions(tmp_path):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(10, 3001, 1)).astype(np.float32)
    changes = {"model.hidden_size": 1, "model.bidirectional": False, "train.steps": 1}
    run = trained_on(tmp_path, X, np.arange(10) % 2, **changes)
    content = gather(str(run.path)).to_json()
    assert content["figures"] == run.result["test"]
    assert len(content["along"]["steps"]) == 3001
    assert content["mistakes"] == []
    assert "deletion" not in content


# --- arrays of a program, which no folder holds


@pytest.fixture(scope="module")
def from_program(tmp_path_factory) -> Shown:
    folder = tmp_path_factory.mktemp("from-program")
    draw = np.random.default_rng(0)
    given = Arrays(draw.normal(size=(40, 3, 2)).astype(np.float32), np.arange(40) % 2)
    run = train(given, settings=FEW | {"train.log_every": 1}, run=folder / 'it\'s "mine"', log=None)
    return show(run.path, folder / "page.html")


def test_a_run_on_arrays_shows_curves_and_a_note(from_program):
    assert sections(from_program.root) == ["learning", "reproduce"]
    (note,) = notes(from_program.root)
    assert note.startswith("Nothing could be evaluated: ")
    assert note.endswith("was trained on the arrays of a program: name its path with --data.")
    assert labels(from_program.root) == ["Loss and accuracy over 3 training steps"]
    assert [row[0] for row in rows(from_program.root, "Training history")] == ["1", "2", "3", "3"]
    assert not of_class(from_program.root, "big")
    assert "figures" not in from_program.twin
    assert from_program.twin["training"]["status"] == "finished"


def test_a_run_on_arrays_is_reproduced_by_python_code(from_program):
    command = words(next(from_program.root.iter("pre")))
    called = []

    class Scanline:
        Arrays = staticmethod(lambda *given: given)
        train = staticmethod(lambda data, recipe: called.append(recipe))

    exec(command, {"scanline": Scanline, "values": 1, "labels": 2})
    assert called == ['it\'s "mine"/recipe.toml']


# --- runs that did not come to their end


def interrupted(folder: Path) -> Path:
    """A run on the digits that Ctrl-C stopped at its twelfth step."""
    settings = FEW | {"train.steps": 24, "train.log_every": 3, "train.validate_every": 5}
    experiment = TrainingRun.begin("digits", settings=settings, run=folder / "run", device="cpu")

    def train_and_be_stopped() -> None:
        for record in experiment.events():
            if isinstance(record, Stepped) and record.step == 12:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train_and_be_stopped()
    return folder / "run"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Shown:
    folder = tmp_path_factory.mktemp("stopped")
    return show(interrupted(folder), folder / "page.html")


def test_an_interrupted_run_is_evaluated_on_its_validation_split_with_a_note(stopped):
    twin = stopped.twin
    splits = twin["environment"]["data"]
    assert twin["judged"] == {
        "part": "validation", "data": "digits", "n": 180, "sha256": splits["validation"]["sha256"],
    }  # fmt: skip
    assert twin["figures"]["n"] == 180
    assert not twin["finished"]
    assert sections(stopped.root) == ALL
    first, second = notes(stopped.root)
    assert first == (
        f"Training is interrupted, at step 12. Resume it with scanline train --resume --run {stopped.run}."
    )
    assert words(next(of_class(stopped.root, "note")[0].iter("code"))).startswith("scanline train --resume")
    assert second.startswith("The metrics are of the validation split")
    assert second.endswith("the test split is read only when training has ended.")
    assert f"{twin['figures']['correct']} of 180 sequences of the validation split of digits" in words(
        stopped.root.find("body/header")
    )
    assert facts(stopped.root)["status"] == "interrupted"


def test_a_finding_is_about_the_more_confident_half(stopped):
    right = {
        each["coverage"]: f"{100 * each['accuracy']:.2f}" for each in stopped.twin["figures"]["coverage"]
    }
    assert right[0.5] not in (right[0.45], right[0.55])
    assert stopped.findings[2] == f"Accuracy on the more confident half of the predictions: {right[0.5]} %."


def test_a_truncated_line_of_the_history_is_skipped(stopped, tmp_path):
    shutil.copytree(stopped.run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    metrics = tmp_path / "run" / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:-20])
    shown = show(tmp_path / "run", tmp_path / "page.html")
    assert shown.twin["course"] == stopped.twin["course"][:-1]
    metrics.write_bytes(whole + b'[1, 2]\n"logged"\n{"event": "logged"}\n[[[[\n7\n\n{"event": "log')
    assert show(tmp_path / "run", tmp_path / "page.html").twin["course"] == stopped.twin["course"]
    for nothing in (b"", b"\xff\xfe\x00", None):
        metrics.unlink() if nothing is None else metrics.write_bytes(nothing)
        shown = show(tmp_path / "run", tmp_path / "page.html")
        assert shown.twin["course"] == []
        assert sections(shown.root) == ["reproduce"]


def test_a_run_without_a_model_shows_its_history_and_how_to_resume(stopped, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(stopped.run, run)
    shutil.rmtree(run / "model")
    (run / "result.json").unlink()
    shown = show(run, tmp_path / "page.html")
    assert sections(shown.root) == ["learning", "reproduce"]
    assert notes(shown.root) == [
        f"Training is not finished, at step 12. Resume it with scanline train --resume --run {run}.",
        "There is no model yet: training was interrupted before it wrote one, "
        "so there is nothing to evaluate.",
    ]
    assert words(shown.root.find("head/title")) == "run: no model yet"
    with pytest.raises(ModelError, match="has no model yet"):
        report(run, tmp_path / "none.html", against=stopped.run)
    assert not (tmp_path / "none.html").exists()


def test_a_run_without_a_result_counts_as_unfinished(stopped, tmp_path):
    shutil.copytree(stopped.run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    content = gather(str(tmp_path / "run")).to_json()
    assert content["judged"]["part"] == "validation"
    assert content["figures"] == stopped.twin["figures"]
    assert content["notes"][0].startswith("Training is not finished, at step 12. ")


def test_an_unfinished_run_is_not_compared_on_its_test_split(stopped, trained):
    with pytest.raises(UsageError, match="has not finished training: only then is its test split read"):
        gather(str(stopped.run), against=str(trained))


def test_a_pipe_in_place_of_the_numbers_is_not_waited_for(trained, tmp_path):
    os.mkfifo(tmp_path / "page.json")
    with pytest.raises(UsageError, match=r"page\.json exists and is not a file: choose another name"):
        report(trained, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
