"""A study in PostgreSQL: a real server in a folder of its own, which listens on a socket and on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from scanline.errors import ScanlineError, UsageError
from scanline.search.storage import StudyStorage, read_study
from tests.search import kept

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "for+tests/only"


def _program(name: str) -> str:
    found = shutil.which(name) or next((str(each / name) for each in PROGRAMS if (each / name).exists()), "")
    if not found:
        pytest.skip(f"{name} is not installed: apt-get install postgresql")
    return found


class Server:
    """A server of PostgreSQL.

    Attributes:
        url: Its address, with user and password.
    """

    def __init__(self, folder: Path, owner: str | None) -> None:
        self.folder, self._owner = folder, owner
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.url = f"postgresql://tester:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{self._port}/postgres"
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        self._run(_program("initdb"), "-D", str(data), "-U", "tester", "--auth=scram-sha-256",
                  f"--pwfile={secret}", "--no-sync", "--encoding=UTF8")  # fmt: skip
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        self._run(
            _program("pg_ctl"), "-D", str(self.folder / "data"), "-l", log, "-w", "-o", options, "start"
        )

    def stop(self) -> None:
        self._run(_program("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def _run(self, *arguments: str) -> None:
        # The server refuses to run as root.
        prefix = ["setpriv", f"--reuid={self._owner}", "--clear-groups"] if self._owner else []
        done = subprocess.run([*prefix, *arguments], capture_output=True, cwd="/", timeout=60)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg")
    _program("initdb")
    # Not a folder of pytest, which none but its owner may enter; and short, as paths of sockets must be.
    with tempfile.TemporaryDirectory(prefix="scanline-pg-") as path:
        folder = Path(path)
        owner = "nobody" if os.getuid() == 0 else None
        if owner:
            shutil.chown(folder, owner)
        server = Server(folder, owner)
        yield server
        server.stop()


def test_a_study_is_found_again(server, tmp_path):
    storage = StudyStorage(server.url, "none")
    assert storage.find() is None
    storage.close()
    assert PASSWORD not in storage.url
    assert "***" not in storage.url  # it would be taken for the password


def test_a_wrong_password_is_one_line_without_it(server):
    wrong = server.url.replace("for+tests", "other+secret")
    with pytest.raises(ScanlineError, match="the storage of the study cannot be used") as error:
        StudyStorage(wrong, "none")
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://a@b/c", "redis://a", "postgres", "sqlite://"])
def test_other_storages_are_refused(url):
    with pytest.raises(UsageError, match="--storage"):
        StudyStorage(url, "none")


@pytest.mark.campaign
def test_two_machines_compute_the_trials_of_one(server, tmp_path, undisturbed):
    """Folders that are not shared stand for machines."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        kept.write_inputs(folder)
    first = kept.start(here, "--study", "shared", "--workers", "1", "--storage", server.url)
    deadline = time.monotonic() + 60
    while not (here / "studies" / "shared" / "study.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    join = [sys.executable, "-m", "scanline", "tune", "worker", "shared", "--storage", server.url]
    second = subprocess.Popen(
        [*join, "--data", "data.npz", "--workers", "1"],
        cwd=there,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    runs = there / "studies" / "shared" / "trials"
    deadline = time.monotonic() + 120
    while not runs.exists() and time.monotonic() < deadline:
        # Stopped for a moment at a time: its workers may hold the lock of the study.
        for signal_number, seconds in ((signal.SIGSTOP, 2.0), (signal.SIGCONT, 0.05)):
            for pid in kept.descendants(first.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
            time.sleep(seconds)
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output.decode()
    joined, _ = second.communicate(timeout=120)
    assert second.returncode == 0, joined.decode()
    assert kept.table(here, "shared") == undisturbed
    assert any(runs.iterdir()), "the second machine had no trial"
    assert PASSWORD.encode() not in (here / "studies" / "shared" / "study.json").read_bytes()
    assert len(read_study(str(here / "studies" / "shared"), server.url).trials) == kept.TRIALS


@pytest.mark.campaign
def test_a_server_that_vanishes_is_one_line_and_the_search_continues(server, tmp_path, undisturbed):
    kept.write_inputs(tmp_path)
    process = kept.start(tmp_path, "--study", "lost", "--workers", "1", "--storage", server.url)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "studies" / "lost" / "trials").glob("0001/result.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop()
    try:
        output, _ = process.communicate(timeout=120)
        last = output.decode().strip().split("\n")[-1]
        assert process.returncode == 1, output.decode()
        assert "the storage of the study cannot be used" in last
        assert "the same command with this --study continues the search" in last
    finally:
        server.start()
    kept.search(tmp_path, "--study", "lost", "--workers", "1", "--storage", server.url)
    assert kept.table(tmp_path, "lost") == undisturbed
