"""Processes that are killed, and a disk that is full: every run ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.crash.campaign import digests
from tests.training.distributed.processes import Launch, lines
from tests.training.distributed.runs import arguments, newest_step, resume, wait_for_step

# Read by every Python program at its start: after step 60 nothing more can be written in process 0.
FULL_DISK = """
import errno, os
if os.environ.get("RANK") == "0":
    def refuse(descriptor, real=os.fsync):
        if os.path.exists("run/checkpoints/step-000060"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)
    os.fsync = os.fdatasync = refuse
"""

pytestmark = pytest.mark.campaign


def test_a_killed_process_is_started_again_and_the_run_ends_with_the_same_bits(tmp_path, expected):
    with Launch(tmp_path, [*arguments(), "--processes", "2"]) as launch:
        wait_for_step(launch, 40)
        os.kill(launch.worker(0), signal.SIGKILL)
        assert launch.ended().code == 0, launch.text
        launch.wait_until_none_is_alive(5)
    assert digests(tmp_path / "run") == expected
    # The other process has noticed it, and its messages are kept.
    log = (tmp_path / "run" / "log-rank-1.txt").read_text()
    assert "lost the connection to another process" in log
    assert len(lines(log)) == 1
    assert "Traceback" not in launch.text + log


def test_without_the_launcher_all_processes_end_and_the_run_is_resumed_in_another_number(tmp_path, expected):
    with Launch(tmp_path, [*arguments(), "--processes", "2"]) as launch:
        wait_for_step(launch, 40)
        launch.process.kill()
        launch.wait_until_none_is_alive(5)
    assert newest_step(tmp_path / "run") < 400
    assert resume(tmp_path, 3) == expected


def test_without_the_agent_the_launch_ends_with_one_line(tmp_path, expected):
    with Launch(tmp_path, [*arguments(), "--processes", "1"]) as launch:
        wait_for_step(launch, 40)
        (agent,) = (
            process
            for process, environment in launch.alive().items()
            if process != launch.process.pid and "RANK" not in environment
        )
        os.kill(agent, signal.SIGKILL)
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 1
    (line,) = lines(ended.text)
    assert "was ended by signal 9; resume with --resume" in line
    assert resume(tmp_path, 1) == expected


def test_a_full_disk_ends_the_launch_with_one_line(tmp_path, expected):
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Launch(tmp_path, [*arguments(), "--processes", "2"], {"PYTHONPATH": path}) as launch:
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 1
    (line,) = lines(ended.text)
    assert "cannot write" in line
    assert line.endswith("No space left on device")
    assert "Traceback" not in ended.text
    assert resume(tmp_path, 2) == expected


def test_processes_that_fail_too_often_end_the_launch_with_one_line(tmp_path):
    with Launch(tmp_path, [*arguments(), "--processes", "1", "--max-restarts", "0"]) as launch:
        wait_for_step(launch, 20)
        os.kill(launch.worker(0), signal.SIGKILL)
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 1
    assert "the processes have failed 1 times" in lines(ended.text)[-1]
    assert "resume with --resume" in lines(ended.text)[-1]
    assert "Traceback" not in ended.text


def test_a_training_that_diverges_ends_the_launch_with_its_message_and_a_model(tmp_path):
    # Noise of this size makes values, and with them the loss, infinite or NaN.
    with Launch(tmp_path, [*arguments(train__noise=1e39), "--processes", "2"]) as launch:
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 1
    (line,) = lines(ended.text)
    assert "training stopped at step 1: the loss became nan" in line
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["training"]["status"] == "diverged"
