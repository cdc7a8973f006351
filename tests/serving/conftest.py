"""Servers: `scanline serve` as a process, for a run on digits, and on a thread, for random models."""

from __future__ import annotations

import pytest

from scanline.model.loading import load
from tests.model.test_session import new_model
from tests.serving.client import in_thread, start_process, terminate, wait_ready


@pytest.fixture(scope="session")
def digits(trained):
    """The model that `server` serves, in this process."""
    return load(trained)


@pytest.fixture(scope="session")
def started(trained, tmp_path_factory):
    """Three processes, started together: `server`, and two for tests that end them."""
    folder = tmp_path_factory.mktemp("serving")
    processes = [
        start_process(folder, trained, *options) for options in ((), ("--no-gallery",), ("--no-gallery",))
    ]
    yield processes
    for each in processes:
        if each.poll() is None:
            each.terminate()
            each.wait(30)


@pytest.fixture(scope="session")
def server(started, digits):
    """`scanline serve` of a run on digits of 8 by 8. It must exit with 0 and log no failures."""
    found = wait_ready(started[0])
    found.model = digits
    yield found
    found.check_ready()
    log = terminate(started[0])
    assert "Traceback" not in log, log
    assert "a request failed" not in log, log


@pytest.fixture
def server_survives(server):
    """After the test, the server still responds."""
    yield
    server.check_ready()


@pytest.fixture(scope="module")
def hasty():
    """A server with short time limits and few connections."""
    with in_thread(
        new_model(), read_s=0.3, idle_s=2.0, connections=20, deadline_s=5.0, body_bytes=100_000
    ) as started:
        yield started


@pytest.fixture(scope="module")
def sequences():
    """A server of an LSTM that reads steps of five numbers."""
    with in_thread(new_model()) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_failures(caplog):
    """A server on a thread logs here: no failure may be logged that no client gets as a response."""
    yield
    wrong = [each for each in caplog.records if each.exc_info or each.levelname in ("ERROR", "CRITICAL")]
    assert not wrong, [each.getMessage() for each in wrong]
