"""The result of a training has the same bits for any number of processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scanline.kernels.library import load
from tests.crash.campaign import digests
from tests.training.distributed.processes import Ended, train_alone, train_together

DIGITS = {
    "train.samples": 0, "train.steps": 24, "train.checkpoint_every": 7, "train.validate_every": 5,
    "train.test_every": 9, "train.log_every": 3, "train.shift": 1, "model.hidden_size": 8,
    "model.layers": 2, "model.dropout": 0.3,
}  # fmt: skip
SERIES = {
    "train.samples": 0, "train.steps": 30, "train.batch_size": 11, "train.class_weights": "balanced",
    "train.noise": 0.3, "train.validate_every": 3, "train.checkpoint_every": 8, "train.log_every": 4,
    "model.cell": "gru", "model.hidden_size": 17, "model.layers": 2, "model.dropout": 0.3,
    "model.bidirectional": "true", "model.readout": "mean",
}  # fmt: skip


def arguments(data, settings: dict[str, object], run: str, slices: int) -> list[str]:
    pairs = [("train.slices", slices), *settings.items()]
    changes = [f"--set={key}={value}" for key, value in pairs]
    return [str(data), "--run", run, "--device", "cpu", *changes]


def series(folder: Path) -> Path:
    """Write sequences of 1 to 9 steps, with many of one class and few of another."""
    draw = np.random.default_rng(1)
    head = (
        "@problemName made-up\n@timeStamps false\n@missing false\n@univariate false\n@dimensions 2\n"
        "@equalLength false\n@classLabel true a b c\n@data\n"
    )
    path = folder / "series.ts"
    with open(path, "w") as file:
        file.write(head)
        for index in range(90):
            label = "aaabbc"[index % 6]
            values = draw.normal("abc".index(label), 1, (2, draw.integers(1, 10)))
            file.write(":".join(",".join(f"{x:.3f}" for x in row) for row in values) + f":{label}\n")
    return path


def check(ended: list[Ended]) -> None:
    assert [each.code for each in ended] == [0] * len(ended), ended


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Return digests of runs in one process, each of which is made once."""
    known: dict[str, dict[str, object]] = {}
    folder = tmp_path_factory.mktemp("references")

    def reference(data, settings, slices):
        key = json.dumps([str(data), settings, slices])
        if key not in known:
            run = f"run-{len(known)}"
            check([train_alone(folder, arguments(data, settings, run, slices))])
            known[key] = digests(folder / run)
        return known[key]

    return reference


@pytest.fixture(scope="module")
def series_file(tmp_path_factory):
    return series(tmp_path_factory.mktemp("data"))


def shared(folder: Path, data, settings, size: int, slices: int) -> dict[str, object]:
    """Return the digests of a run in `size` processes."""
    check(train_together(folder, *[arguments(data, settings, "run", slices)] * size))
    return digests(folder / "run")


def test_two_processes_have_the_bits_of_one(tmp_path, references):
    assert shared(tmp_path, "digits", DIGITS, 2, 4) == references("digits", DIGITS, 4)


@pytest.mark.campaign
@pytest.mark.parametrize(("size", "slices"), [(1, 4), (3, 4), (4, 4), (1, 8), (4, 8), (5, 8)])
def test_any_number_of_processes_has_the_bits_of_one(tmp_path, references, size, slices):
    assert shared(tmp_path, "digits", DIGITS, size, slices) == references("digits", DIGITS, slices)


@pytest.mark.campaign
@pytest.mark.parametrize("size", [2, 3, 4])
def test_sequences_with_lengths_noise_dropout_and_class_weights_have_the_bits_of_one(
    tmp_path, references, series_file, size
):
    assert shared(tmp_path, series_file, SERIES, size, 4) == references(series_file, SERIES, 4)


@pytest.mark.campaign
@pytest.mark.skipif(load() is None, reason="the native library was not built")
def test_bfloat16_has_the_bits_of_one_process(tmp_path, references, series_file):
    settings = SERIES | {"train.precision": "bfloat16", "model.cell": "lstm"}
    assert shared(tmp_path, series_file, settings, 3, 8) == references(series_file, settings, 8)


@pytest.mark.campaign
def test_early_stopping_stops_all_processes_at_the_step_of_one(tmp_path, references, series_file):
    settings = SERIES | {"train.patience": 2, "train.steps": 300, "train.learning_rate": 0.05}
    expected = references(series_file, settings, 4)
    assert shared(tmp_path, series_file, settings, 3, 4) == expected
    training = json.loads((tmp_path / "run" / "result.json").read_text())["training"]
    assert training["status"] == "stopped early"
    assert training["steps"] < 300


@pytest.mark.campaign
def test_torch_has_the_bits_of_one_process(tmp_path, references):
    settings = DIGITS | {"train.backend": "torch", "model.hidden_size": 33}
    assert shared(tmp_path, "digits", settings, 3, 4) == references("digits", settings, 4)


@pytest.mark.campaign
def test_without_slices_the_bits_are_others(references):
    assert references("digits", DIGITS, 1) != references("digits", DIGITS, 4)
