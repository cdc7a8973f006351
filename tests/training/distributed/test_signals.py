"""Ctrl-C and SIGTERM end a training in several processes like one in one process."""

from __future__ import annotations

import signal
import time

import pytest

from tests.training.distributed.processes import Launch, lines, train_alone
from tests.training.distributed.runs import arguments, newest_step, resume, wait_for_step

# A quiet machine needs less than 2 s.
SAVED_WITHIN_S = 10


@pytest.mark.campaign
@pytest.mark.parametrize(("number", "code", "processes"), [(signal.SIGINT, 130, 3), (signal.SIGTERM, 143, 1)])
def test_a_signal_saves_the_run_and_ends_all_processes(tmp_path, expected, number, code, processes):
    with Launch(tmp_path, [*arguments(), "--processes", "2"]) as launch:
        wait_for_step(launch, 40)
        second = train_alone(tmp_path, ["--resume", "--run", "run"])
        launch.process.send_signal(number)
        sent = time.time()
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == code
    (line,) = lines(ended.text)
    assert "of 400; the current model is saved and can be used" in line
    assert "`scanline train --resume --run run`" in line
    assert "Traceback" not in ended.text
    step = newest_step(tmp_path / "run")
    saved = tmp_path / "run" / "checkpoints" / f"step-{step:06d}" / "state.json"
    assert saved.stat().st_mtime - sent < SAVED_WITHIN_S
    assert f"stopped at step {step} of 400" in line
    # Meanwhile no other process could write the run.
    assert second.code == 2
    assert "is being written by another process" in second.text
    assert resume(tmp_path, processes) == expected


@pytest.mark.campaign
def test_a_signal_while_the_processes_start_ends_them(tmp_path):
    with Launch(tmp_path, [*arguments(), "--processes", "2"]) as launch:
        while len(launch.alive()) < 2:  # the launcher and its agent
            time.sleep(0.01)
        launch.process.send_signal(signal.SIGTERM)
        ended = launch.ended()
        launch.wait_until_none_is_alive(5)
    assert ended.code == 143
    assert "Traceback" not in ended.text
