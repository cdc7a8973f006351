"""Fixtures of all tests: an empty cache, no network, and real data only where they are available."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

# Read when SciPy is first imported: without it scikit-learn's checks of the array API are left out.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from tests.object_store import _object_store_proxy, object_store, object_store_server  # noqa: F401

SHARED = Path(os.environ["SCANLINE_DATA"]) if os.environ.get("SCANLINE_DATA") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage in campaigns: it would make them slower, and other tests cover the same lines."""
    for item in items:
        if item.get_closest_marker("campaign"):
            item.add_marker("no_cover")


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("SCANLINE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("SCANLINE_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _default_sigint():
    """Restore the default handler: a background job of a shell starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of TensorFlow's outputs."""
    if SHARED is None or not (SHARED / "golden").is_dir():
        pytest.skip("TensorFlow's outputs are missing: set SCANLINE_DATA to the folder that has golden/")
    return SHARED / "golden"


@pytest.fixture(scope="session")
def mnist():
    """The real MNIST."""
    if SHARED is None or not (SHARED / "mnist").is_dir():
        pytest.skip("MNIST is missing: set SCANLINE_DATA to the folder that has mnist/")
    from scanline.data import catalogue as catalog

    return catalog.load("mnist")


def make_sequences(
    n: int = 6, steps: int = 5, features: int = 3, classes: int = 2, seed: int = 0
) -> MemorySource:
    """Random sequences of full length, each label present."""
    values = np.random.default_rng(seed).normal(size=(n, steps, features)).astype(np.float32)
    return MemorySource.from_array(values, np.arange(n) % classes, tuple(range(classes)), "made up")


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A run on scikit-learn's digits, which no test changes."""
    from scanline.api import train

    path = tmp_path_factory.mktemp("trained") / "run"
    train("digits", settings={"train.samples": 20_000}, run=path, log=None)
    return path


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium: $CHROMIUM, or the one on the PATH.

    Module scope: while it is open, Playwright's event loop runs, and no other can.
    """
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is missing: install Debian's package chromium, or set CHROMIUM")
    from playwright.sync_api import sync_playwright

    quiet = (
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    )
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=[*quiet, *(["--no-sandbox"] if os.getuid() == 0 else [])]
        )
        yield started
        started.close()


@pytest.fixture
def scanline(monkeypatch, capsys):
    """Run the program in this process: scanline("recipes") -> (exit code, stdout, stderr)."""
    from scanline.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["scanline", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run
