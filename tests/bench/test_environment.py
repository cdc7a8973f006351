"""The constraints of `make bench` are complete, agree with the other environments, and can be installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# tensorflow-cpu 2.21.0 refuses the h5py of the other environments.
DIFFERENT = {"h5py"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["bench"]]


def test_every_requirement_of_the_bench_is_pinned():
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements()}
    assert names <= pins(ROOT / "benchmarks/constraints.txt").keys()


def test_versions_are_those_of_the_other_environments():
    ours, others = pins(ROOT / "benchmarks/constraints.txt"), pins(ROOT / "constraints.txt")
    assert all(ours.values())
    assert {name for name in ours.keys() & others.keys() if ours[name] != others[name]} == DIFFERENT


def resolve(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    process = subprocess.run(
        [*command, "--retries", "1", *arguments, *requirements()], capture_output=True, text=True, cwd=ROOT
    )
    unreachable = re.search(
        r".*(No module named pip|connection (error|broken)|Connection.*Error).*", process.stderr
    )
    if unreachable:
        pytest.skip(f"pip cannot reach an index of packages: {unreachable[0]}")
    return process.returncode, process.stderr


@pytest.mark.campaign
def test_pip_resolves_the_environment_of_the_bench():
    # Without `.`: building its metadata would take longer than the resolution.
    code, messages = resolve("--constraint", "benchmarks/constraints.txt")
    assert code == 0, messages
