"""Every script in examples/ runs unchanged, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SHARED

EXAMPLES = Path(__file__).parent.parent / "examples"
# The accuracy that each prints last, and the least that it must reach.
EXPECTED = {
    "grid_search.py": (r"test accuracy: ([\d.]+)", 0.93),
    "pictures_in_folders.py": (r"test accuracy: ([\d.]+)", 0.9),
    "sensors_in_a_csv.py": (r"persons not used in training: ([\d.]+)", 0.9),
    "vowels_by_speaker.py": (r"accuracy ([\d.]+)", 0.95),
}


def test_every_example_is_tested():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(EXPECTED)


# One example stands for all where time counts: each trains a real model.
QUICK = "pictures_in_folders.py"
CASES = [pytest.param(name, marks=() if name == QUICK else pytest.mark.campaign) for name in EXPECTED]


@pytest.mark.campaign
@pytest.mark.parametrize("name", CASES)
def test_an_example_runs_and_reaches_its_accuracy(name, tmp_path):
    if name.startswith("vowels") and (SHARED is None or not (SHARED / "ts").is_dir()):
        pytest.skip("JapaneseVowels is missing: set SCANLINE_DATA to the folder that has ts/")
    environment = os.environ | {"SCANLINE_OFFLINE": "1"}
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    pattern, least = EXPECTED[name]
    figure = re.search(pattern, done.stdout)
    assert figure, done.stdout
    assert float(figure[1]) >= least
