"""Several launchers on 127.0.0.1, each as on a machine of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.crash.campaign import digests
from tests.training.distributed.processes import Launch, free_port, lines
from tests.training.distributed.runs import arguments, wait_for_step

pytestmark = pytest.mark.campaign


@contextlib.contextmanager
def machines(folder: Path, *commands: list[str], nodes: str = "2"):
    """Start a launcher for each command; the machines share the working directory."""
    place = ["--rendezvous", f"127.0.0.1:{free_port()}", "--job", "made-up", "--join-timeout", "100"]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                Launch(folder, [*command, "--nodes", nodes, *place], {"GLOO_SOCKET_IFNAME": "lo"})
            )
            for command in commands
        ]


def test_two_machines_have_the_bits_of_one_process(tmp_path, expected):
    with machines(tmp_path, arguments(), arguments()) as launches:
        for launch in launches:
            assert launch.ended().code == 0, launch.text
            launch.wait_until_none_is_alive(5)
    assert digests(tmp_path / "run") == expected


def test_a_signal_on_one_machine_stops_both(tmp_path):
    with machines(tmp_path, arguments(), arguments()) as launches:
        wait_for_step(launches[0], 40)
        launches[1].process.terminate()
        codes = [launch.ended().code for launch in launches]
        for launch in launches:
            launch.wait_until_none_is_alive(5)
    assert codes == [143, 143], [launch.text for launch in launches]
    printed = [line for launch in launches for line in lines(launch.text)]
    assert len(printed) == 1, printed
    assert "`scanline train --resume --run run`" in printed[0]
