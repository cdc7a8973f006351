"""How the threads of OpenMP wait, by the environment and by the command."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from scanline.kernels import waiting
from scanline.kernels.waiting import SPINS, limit_spinning, spins_for_long


@pytest.fixture
def environment(monkeypatch):
    """The environment of a program that has not imported torch."""
    settings: dict[str, str] = {}
    monkeypatch.setattr(waiting, "os", SimpleNamespace(environ=settings))
    monkeypatch.setattr(waiting, "sys", SimpleNamespace(modules={}))
    return settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"GOMP_SPINCOUNT": "0"}, False),
        ({"GOMP_SPINCOUNT": str(SPINS)}, False),
        ({"GOMP_SPINCOUNT": str(SPINS + 1)}, True),
        ({"GOMP_SPINCOUNT": "1k"}, True),
        ({"GOMP_SPINCOUNT": "infinite"}, True),
        ({"OMP_WAIT_POLICY": "Passive"}, False),
        ({"OMP_WAIT_POLICY": "active"}, True),
        ({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "infinite"}, True),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "10"}, False),
    ],
)
def test_the_environment_decides_how_long_threads_spin(environment, settings, expected):
    environment.update(settings)
    assert spins_for_long() is expected


def test_a_program_limits_spinning(environment):
    limit_spinning()
    assert environment == {"GOMP_SPINCOUNT": str(SPINS)}
    assert not spins_for_long()


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_choice_of_the_user_stays(environment, name):
    environment[name] = "active"
    limit_spinning()
    assert environment == {name: "active"}


def test_nothing_is_set_once_torch_is_imported(environment):
    waiting.sys.modules["torch"] = None
    limit_spinning()
    assert environment == {}


@pytest.mark.parametrize(("command", "expected"), [("train", str(SPINS)), ("bench", "None")])
def test_commands_but_bench_limit_spinning(command, expected):
    program = (
        "import os, sys\nfrom scanline.cli import command\n"
        f"command.get_command(None, {command!r})\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    result = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, text=True)
    assert result.stdout == f"{expected} False\n"
