"""A sample of the campaign that `make crash` runs whole."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.thorough import THOROUGH


@pytest.mark.campaign
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the shim needs Linux and cc"
)
def test_runs_that_are_killed_or_whose_disk_fails_end_with_the_same_weights():
    sample = ["--every", "29", "--random", "4"] if THOROUGH else ["--every", "61", "--random", "2", "--few"]
    command = [sys.executable, "-m", "tests.crash.campaign", *sample, "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    faults = [line for line in done.stdout.splitlines() if "FAULT" in line]
    assert (done.returncode, faults) == (0, []), done.stdout[-2000:] + done.stderr[-2000:]
