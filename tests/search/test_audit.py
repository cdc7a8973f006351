"""The test split is not read during a search: not its file, not its sequences. The winner alone is tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scanline
from scanline.data.memory import MemorySource
from scanline.errors import DataError
from scanline.model.predictor import Predictor
from tests.search.problems import begin, write_ts, write_waves

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")

# Loaded by every Python process of the search: writes down who opens a file of a test split.
HOOK = """
import json, os, sys

def watch(event, arguments):
    if event == "open" and "_TEST" in str(arguments[0]):
        line = json.dumps({"pid": os.getpid(), "program": sys.orig_argv}) + "\\n"
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)

LOG = os.environ["AUDIT_LOG"]
sys.addaudithook(watch)
"""


def recorded_splits(run: Path) -> set[str]:
    """Return the names of the splits that any file of a run mentions."""
    names = set(json.loads((run / "split.json").read_text())["parts"])
    names |= set(json.loads((run / "environment.json").read_text())["data"])
    for line in (run / "metrics.jsonl").read_text().splitlines():
        names |= {name for name in ("test", "validation") if f'"{name}"' in line}
    result = json.loads((run / "result.json").read_text())
    names |= {name for name in ("test", "validation") if result.get(name) is not None}
    return names | set(json.loads((run / "model/model.json").read_text())["provenance"]["parts"])


@pytest.mark.parametrize("folds", [0, 2])
def test_a_search_succeeds_although_the_test_file_cannot_be_read(tmp_path, folds):
    data = write_waves(tmp_path)
    (tmp_path / "waves_TEST.ts").write_bytes(b"\xff\x00 not a series")
    search = begin(data, tmp_path / "study", folds=folds)
    assert search.run()
    runs = sorted((tmp_path / "study/trials").iterdir())
    assert len(runs) == 2 * max(1, folds)
    assert all(recorded_splits(run) == {"train", "validation"} for run in runs)
    with pytest.raises(DataError, match=r"waves_TEST\.ts"):
        search.finish()
    write_ts(tmp_path / "waves_TEST.ts", 12, seed=1)
    found = search.finish()
    assert found.result.test.n == 12
    assert recorded_splits(tmp_path / "study/winner") == {"train", "test"}


def test_a_test_file_named_by_an_option_is_not_read_either(tmp_path):
    data = write_ts(tmp_path / "waves.ts", 24, seed=0)
    (tmp_path / "other.ts").write_text("nothing")
    named = {"data.test": str(tmp_path / "other.ts")}
    search = begin(data, tmp_path / "study", settings={"train.epochs": 1} | named)
    assert search.run()
    with pytest.raises(DataError, match=r"other\.ts"):
        search.finish()


@pytest.mark.parametrize("folds", [0, 3])
def test_sequences_of_the_test_split_reach_no_trial(tmp_path, monkeypatch, folds):
    """Each sequence of one file has a number of its own as its second feature."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(40, 5, 2)).astype(np.float32)
    values[:, :, 1] = 1000 + np.arange(40)[:, None]
    data = scanline.Arrays(values, np.arange(40) % 2)
    seen: set[int] = set()
    gather, outputs = MemorySource.gather, Predictor.outputs

    def gathered(self, indices, out=None):
        batch = gather(self, indices, out)
        seen.update(int(number) - 1000 for number in batch.values[:, 0, 1])
        return batch

    def predicted(self, source, *others):
        seen.update(int(number) - 1000 for number in source.concatenated[:, 1])
        return outputs(self, source, *others)

    monkeypatch.setattr(MemorySource, "gather", gathered)
    monkeypatch.setattr(Predictor, "outputs", predicted)
    search = begin(data, tmp_path / "study", folds=folds)
    search.run()
    assert len(seen) == 32
    tested = set(range(40)) - seen
    for run in (tmp_path / "study/trials").iterdir():
        parts = json.loads((run / "split.json").read_text())["parts"]
        assert set(parts) == {"train", "validation"}
        assert {index for part in parts.values() for index in part["sequences"]} == seen
    search.finish()
    parts = json.loads((tmp_path / "study/winner/split.json").read_text())["parts"]
    assert {name: set(part["sequences"]) for name, part in parts.items()} == {
        "train": set(range(40)) - tested,
        "test": tested,
    }
    assert seen == set(range(40))


@pytest.mark.campaign
def test_no_process_of_a_search_opens_the_test_file_but_the_one_that_trains_the_winner(tmp_path):
    data, hook, log = write_waves(tmp_path / "data"), tmp_path / "hook", tmp_path / "opened.jsonl"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'base = "sequences"\n[train]\nepochs = 4\n[search]\n"model.readout" = ["last", "max"]\n'
        '"model.hidden_size" = [4, 8]\n'
    )
    paths = [str(hook), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "AUDIT_LOG": str(log)}
    size = ("--trials", "2", "--workers", "2", "--folds", "0", "--no-baselines")
    command = [sys.executable, "-m", "scanline", "tune", str(data), *size, "--recipe", str(recipe), "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["test"]["n"] == 12
    opened = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({each["pid"] for each in opened}) == 1
    program = opened[0]["program"]
    assert program[program.index("scanline.search.program") + 1] == "final"
