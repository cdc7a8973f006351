"""A file format of another package, added through `scanline.formats`, works wherever data are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scanline
from scanline import formats
from scanline.data.reading import read_sources
from scanline.errors import DataError, UsageError
from scanline.evaluation.evaluate import evaluate_run
from scanline.recipe import DEFAULT_DATA
from tests.installed import installed
from tests.serving.client import in_thread

# One line a sequence: its name, its label, then its steps, separated by bars.
BARS = """
from scanline.errors import FormatError


class Bars:
    suffixes = (".bars",)

    def read(self, path):
        values, labels, ids = [], [], []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            name, label, *steps = line.split("|")
            try:
                values.append([[float(value) for value in step.split()] for step in steps])
            except ValueError:
                raise FormatError(file=path, place=f"line {number}", expected="numbers", found=line) from None
            labels.append(label)
            ids.append(name)
        return {"values": values, "ids": ids} | ({"labels": labels} if any(labels) else {})
"""
SETTINGS = {
    "model.hidden_size": 5,
    "model.bidirectional": False,
    "train.samples": 0,
    "train.steps": 300,
    "train.batch_size": 8,
    "split.validation": 0.2,
}


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory):
    entry_points = "[scanline.formats]\nbars = bars_format:Bars\nts = bars_format:Bars\n"
    with installed(tmp_path_factory.mktemp("site-packages"), "bars_format", entry_points, BARS):
        yield
    formats.registry._load.cache_clear()


def write(path: Path, n: int = 40, seed: int = 0, labelled: bool = True) -> Path:
    """Write sequences of 2 to 7 steps of 2 features whose classes are the sign of a drift."""
    draw = np.random.default_rng(seed)
    lines = []
    for index in range(n):
        steps = draw.normal(size=(int(draw.integers(2, 8)), 2)) + 2 * (index % 2) - 1
        label = ("down", "up")[index % 2] if labelled else ""
        lines.append("|".join([f"s{index}", label, *(f"{a:.6f} {b:.6f}" for a, b in steps)]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, _package):
    folder = tmp_path_factory.mktemp("bars")
    source = write(folder / "drift.bars")
    return scanline.train(str(source), recipe="sequences", settings=SETTINGS, run=folder / "run", log=None)


def test_it_is_found_by_name_and_by_suffix():
    assert formats.get("bars").suffixes == (".bars",)
    assert formats.for_path(Path("A.BARS")) is formats.get("bars")
    assert formats.for_path(Path("a.ts")) is formats.get("ts")
    assert formats.for_path(Path("a.txt")) is None


def test_a_built_in_format_cannot_be_replaced():
    assert type(formats.get("ts")).__module__ == "scanline.formats.ts"


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("bar", r"one of ts, arff, bars, .*got 'bar'; did you mean 'bars'\?"),
        ("broken", "cannot be loaded from bars_format:BARS"),
        ("other", "expected builtins:len to have suffixes"),
    ],
)
def test_an_unknown_or_invalid_format_is_refused(tmp_path, monkeypatch, name, fragment):
    described = tmp_path / "broken-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "[scanline.formats]\nbroken = bars_format:BARS\nother = builtins:len\n"
    (described / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=fragment):
        formats.get(name)
    assert formats.suffixes() == (".ts", ".ts.gz", ".arff", ".arff.gz", ".bars")
    assert formats.for_path(Path("a.bars")) is formats.get("bars")
    with pytest.raises(UsageError, match="cannot be loaded"):
        formats.for_path(Path("a.txt"))


def test_sequences_have_the_values_labels_and_names_of_the_file(tmp_path):
    (tmp_path / "a.bars").write_text("x|up|1 2|3 4\ny|down|5 6\n")
    sequences = read_sources(tmp_path / "a.bars", DEFAULT_DATA)["all"]
    assert [sequences.steps_of(index).tolist() for index in range(2)] == [[[1, 2], [3, 4]], [[5, 6]]]
    assert sequences.classes == ("down", "up")
    assert sequences.targets.tolist() == [1, 0]
    assert [sequences.identifier(index) for index in range(2)] == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("x|up|1 2|3 fast\n", "line 1: expected numbers"),
        ("x|up|1 2\ny|down|5\n", "expected 2 features in every sequence, found 1"),
        ("x|up\n", "sequence 0: expected values of shape"),
        ("x||1 2\n", "expected class labels, found none"),
        ("", "expected sequences, found none"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, content, fragment):
    (tmp_path / "a.bars").write_text(content)
    with pytest.raises(DataError, match=rf"a\.bars.*{fragment}"):
        read_sources(tmp_path / "a.bars", DEFAULT_DATA)


def test_a_file_is_trained_on_and_evaluated(run, tmp_path):
    assert run.model.class_names == ("down", "up")
    evaluated = evaluate_run(str(run.path), str(write(tmp_path / "new.bars", 20, seed=5)))
    assert evaluated.metrics.accuracy == 1.0  # the drift is large


def test_training_and_test_files_are_found_by_their_names(tmp_path):
    for split, seed in (("TRAIN", 0), ("TEST", 1)):
        write(tmp_path / f"drift_{split}.bars", 20, seed)
    result = read_sources(tmp_path / "drift", DEFAULT_DATA)
    assert {name: len(split) for name, split in result.items()} == {"train": 20, "test": 20}


def test_a_file_without_labels_is_predicted_from_the_command_line(run, tmp_path, scanline):
    path = write(tmp_path / "new.bars", 6, seed=7, labelled=False)
    code, out, err = scanline("predict", run.path, path, "--json")
    assert code == 0, err
    predictions = json.loads(out)["predictions"]
    assert [each["sequence"] for each in predictions] == [f"s{index}" for index in range(6)]
    assert [each["label"] for each in predictions] == ["down", "up"] * 3


def test_a_sequence_of_a_file_is_explained_streamed_and_served(run, tmp_path):
    path = write(tmp_path / "new.bars", 2, seed=9)
    values = read_sources(path, DEFAULT_DATA)["all"].steps_of(1)
    model = run.model
    expected = model.predict_proba([values])[0]
    assert scanline.explain(model, values).label == "up"
    np.testing.assert_allclose(model.stream().feed(values)[-1], expected, atol=1e-6)
    with in_thread(model) as server:
        response = server.post(json.dumps({"inputs": [values.tolist()]}).encode())
        assert json.loads(response.body)["predictions"][0]["label"] == "up"
