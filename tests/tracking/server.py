"""A real MLflow server on loopback, and what its database holds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

PROGRAM = os.environ.get("SCANLINE_MLFLOW_SERVER") or str(
    Path(__file__).resolve().parents[2] / ".venv-mlflow" / "bin" / "mlflow"
)
MISSING = "there is no MLflow server: run `make mlflow-server`, or set SCANLINE_MLFLOW_SERVER"
_START_S = 120


@dataclass(frozen=True)
class MlflowServer:
    """A server, or with an empty URL its database alone.

    Attributes:
        url: Its address.
        database: Its SQLite file.
    """

    url: str
    database: Path

    def target(self, experiment: str, url: str | None = None) -> str:
        return f"mlflow:{url or self.url or f'sqlite:///{self.database}'}?experiment={experiment}"

    def rows(self, statement: str, *values: object) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return list(database.execute(statement, values))

    def runs(self, experiment: str) -> list[str]:
        """Ids of the runs of an experiment."""
        rows = self.rows(
            "select run_uuid from runs join experiments using (experiment_id) where experiments.name = ? "
            "and runs.lifecycle_stage = 'active'",
            experiment,
        )
        return [run for (run,) in rows]

    def points(self, run: str) -> list[tuple[str, float, int, int]]:
        """All points of a run but those of its result: key, value, step, milliseconds since its start."""
        return self.rows(
            "select key, value, step, timestamp - start_time from metrics join runs using (run_uuid) "
            "where run_uuid = ? and key not like 'final/%' order by 1, 3, 4, 2",
            run,
        )

    def final(self, run: str) -> dict[str, float]:
        rows = self.rows("select key, value from metrics where run_uuid = ? and key like 'final/%'", run)
        assert len(dict(rows)) == len(rows)
        return dict(rows)

    def texts(self, table: str, run: str) -> dict[str, str]:
        """Parameters or tags of a run: `table` is "params" or "tags"."""
        return dict(self.rows(f"select key, value from {table} where run_uuid = ?", run))

    def status(self, run: str) -> str:
        ((status,),) = self.rows("select status from runs where run_uuid = ?", run)
        return status


def lines_as_points(run: Path) -> list[tuple[str, float, int, int]]:
    """The points that the lines of a metrics.jsonl stand for."""
    points = []
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        split = line.pop("part", "train")
        event, step = line.pop("event"), line.pop("step")
        assert event in ("logged", "judged")
        ms = round(line["seconds"] * 1000)
        points += [(f"{split}/{key}", float(value), step, ms) for key, value in line.items()]
    return sorted(points, key=lambda point: (point[0], point[2], point[3], point[1]))


@contextmanager
def running_server(folder: Path) -> Iterator[MlflowServer]:
    """Start a server, and stop it with all of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = folder / "mlflow.db"
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{database}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # An environment of its own: neither its packages nor its client are those of the tests.
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MLFLOW_", "COV_"))
    }
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=own | quiet, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _START_S
        while not _answers(url):
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the MLflow server does not start"
            time.sleep(0.1)
        yield MlflowServer(url, database)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None
