"""Runs written by an earlier version, kept in `tests/files/before`, load, predict and resume as before.

`tests/files/before/make.py` made them, with predictions by the same version. Predictions and weights are
compared bit for bit if this machine computes as that one did: processor, kernels, backend, torch and threads
are the same. Elsewhere the last bits may differ.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import scanline
from scanline.data.readers.arrays import Arrays
from scanline.errors import UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.storage.digest import sha256
from scanline.training.environment import describe
from scanline.training.events import Evaluated
from scanline.training.run import TrainingRun
from scanline.training.run_directory import RunDirectory

BEFORE = Path(__file__).parent / "files" / "before"
RUNS = ["lstm-rows", "gru-stopped", "rnn-weighted"]


@pytest.fixture(params=RUNS)
def run(request, tmp_path) -> Path:
    return copy(request.param, tmp_path)


def copy(name: str, folder: Path) -> Path:
    """A copy of a run that can be written to, its recipe naming the data in this checkout."""
    shutil.copytree(BEFORE / name / "run", folder / name)
    recipe = folder / name / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("@DATA@", str(BEFORE / name / "series.csv")))
    return folder / name


def expected(run: Path) -> dict[str, np.ndarray]:
    return dict(np.load(BEFORE / run.name / "expected.npz"))


def given(arrays: dict[str, np.ndarray]) -> np.ndarray | list[np.ndarray]:
    if "lengths" not in arrays:
        return arrays["values"]
    return [each[:length] for each, length in zip(arrays["values"], arrays["lengths"], strict=True)]


def computes_alike(run: Path) -> bool:
    then, now = RunDirectory(run).read_environment(), describe("cpu")
    same = all(getattr(then, key) == getattr(now, key) for key in ("processor", "native", "threads"))
    network = scanline.load(run).network
    same = same and then.computes.backend == network.recurrent.path(network.scale, training=True)[0]
    return same and then.packages["torch"] == now.packages["torch"]


def check(actual: np.ndarray, wanted: np.ndarray, run: Path) -> None:
    assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(actual, wanted, atol=1e-5)
    if computes_alike(run):
        assert actual.tobytes() == wanted.tobytes()


def test_they_predict_the_same_bytes(run):
    arrays = expected(run)
    check(scanline.load(run).predict_proba(given(arrays)), arrays["probabilities"], run)


def test_exported_files_hold_the_printed_values(run):
    directory = RunDirectory(run)
    result, environment = directory.read_result(), directory.read_environment()
    assert (result.training.status == "interrupted") == (run.name == "gru-stopped")
    assert environment.data["train"].n == directory.read_split().parts["train"].n
    assert directory.read_metrics()[0].step == 5


def test_a_finished_run_of_an_earlier_version_has_the_same_metrics(tmp_path):
    run = copy("lstm-rows", tmp_path)
    recorded, evaluated = RunDirectory(run).read_result().test, evaluate_run(str(run), None, "cpu")
    assert (evaluated.metrics.n, evaluated.metrics.correct) == (recorded.n, recorded.correct)
    assert evaluated.metrics.loss == pytest.approx(recorded.loss, abs=1e-5)
    with pytest.raises(UsageError, match="finished"):
        TrainingRun.resume(run=run, device="cpu")


def test_a_stopped_run_is_resumed_to_the_weights_that_it_had_there(tmp_path):
    run = copy("gru-stopped", tmp_path)
    alike = computes_alike(run)
    resumed = TrainingRun.resume(run=run, device="cpu")
    events = list(resumed.events())
    assert resumed.result.training.status == "finished"
    assert [event.step for event in events if isinstance(event, Evaluated)] == [24, 32, 40]
    arrays = expected(run)
    check(scanline.load(run).predict_proba(given(arrays)), arrays["resumed_probabilities"], run)
    if alike:
        assert sha256((run / "model" / "model.safetensors").read_bytes()) == str(arrays["resumed_sha256"])


def test_a_run_on_arrays_is_resumed_with_more_steps(tmp_path):
    run = copy("rnn-weighted", tmp_path)
    draw = np.random.default_rng(7)  # as in make.py
    X = [draw.normal(size=(int(draw.integers(2, 8)), 3)) + (index % 4 == 0) for index in range(60)]
    data = Arrays(X, np.array(["rare", "usual", "usual", "usual"] * 15), name="mine")
    resumed = TrainingRun.resume(data, None, {"train.steps": 55}, run, "cpu")
    assert [event.step for event in resumed.events()][-1] == 55
