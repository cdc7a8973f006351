"""Fixtures: a real MLflow server, or where there is none MLflow's own SQLite store; runs to publish."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from tests.tracking.server import MISSING, MlflowServer, is_installed, running_server


@pytest.fixture(scope="session")
def client() -> None:
    """MLflow's client; skips where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own modules
        pytest.importorskip("mlflow.pyfunc", reason="MLflow is not installed: pip install '.[mlflow]'")


@pytest.fixture(scope="session")
def mlflow_server(client, tmp_path_factory):
    """The server; skips where it is not installed."""
    if not is_installed():
        pytest.skip(MISSING)
    with running_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def store(client, request, tmp_path_factory) -> MlflowServer:
    """The server, or where it is not installed a SQLite database without one."""
    if is_installed():
        return request.getfixturevalue("mlflow_server")
    pytest.importorskip("sqlalchemy", reason=MISSING)
    pytest.importorskip("alembic", reason=MISSING)
    return MlflowServer("", tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path_factory):
    """What publishing sets for its own process must not stay in that of the tests."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a finished run that was never published."""
    return Path(shutil.copytree(trained, tmp_path / "run"))
