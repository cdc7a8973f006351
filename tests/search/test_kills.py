"""The table of trials is the same for any number of workers, and after any of their processes were killed."""

from __future__ import annotations

import hashlib
import random
import time

import pytest

from tests.search import kept
from tests.thorough import THOROUGH

pytestmark = pytest.mark.campaign


@pytest.fixture
def folder(undisturbed_folder):
    return undisturbed_folder


def _models(folder, study):
    """Return the SHA-256 of the weights of all trials and of the winner."""
    paths = sorted((folder / "studies" / study).glob("*/model/model.safetensors"))
    paths += sorted((folder / "studies" / study / "trials").glob("*/model/model.safetensors"))
    root = folder / "studies" / study
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("workers", [2, 4] if THOROUGH else [3])
def test_more_workers_compute_the_same_trials(folder, workers):
    kept.search(folder, "--study", f"of {workers}", "--workers", str(workers))
    assert kept.table(folder, f"of {workers}") == kept.table(folder, "one")
    assert _models(folder, f"of {workers}") == _models(folder, "one")


def test_killed_processes_change_nothing(folder):
    draw = random.Random(0)
    kills, wanted = 0, 20 if THOROUGH else 5
    process = kept.start(folder, "--study", "killed", "--workers", "2")
    ended = False
    while not ended:
        limit = time.monotonic() + draw.uniform(2.0, 6.0)
        while time.monotonic() < limit and process.poll() is None:
            time.sleep(0.02)
        ended = process.poll() == 0
        assert process.poll() in (None, 0), process.communicate()
        if ended or kills == wanted:
            process.communicate(timeout=300)
            ended = True
            break
        workers = kept.descendants(process.pid)
        if draw.random() < 0.5 and workers:
            kept.kill(draw.choice(workers))
        else:
            # The whole search; its workers are killed, or notice that it is gone.
            for each in [process.pid, *(workers if draw.random() < 0.7 else [])]:
                kept.kill(each)
            process.communicate(timeout=300)
            process = kept.start(folder, "--study", "killed", "--workers", "2")
        kills += 1
    assert process.returncode == 0
    assert kills == wanted if THOROUGH else kills > 1
    assert kept.table(folder, "killed") == kept.table(folder, "one")
    assert _models(folder, "killed") == _models(folder, "one")
