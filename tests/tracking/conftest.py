"""Fixtures: a real MLflow server, or where there is none MLflow's own SQLite store; runs to publish."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from pathlib import Path

import pytest

from scanline.tracking.connection import configure_client
from scanline.tracking.target import Target
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
def store(client, request, work) -> MlflowServer:
    """The server, or where it is not installed a SQLite database without one."""
    if is_installed():
        return request.getfixturevalue("mlflow_server")
    pytest.importorskip("sqlalchemy", reason=MISSING)
    pytest.importorskip("alembic", reason=MISSING)
    database = work / "mlflow.db"
    with contextlib.chdir(work), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's tables use what SQLAlchemy will remove
        from mlflow.tracking import MlflowClient

        MlflowClient(f"sqlite:///{database}").search_experiments()
    return MlflowServer("", database)


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> Path:
    """The working directory, since without a server MLflow writes files to ./mlruns."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, work):
    """Set what publishing sets in its own process, for tests that publish in theirs."""
    monkeypatch.chdir(work)
    for name in [*os.environ]:
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    with monkeypatch.context() as own:
        own.setattr(os, "environ", dict(os.environ))
        configure_client(Target.parse("mlflow:http://host"), 30)
        wanted = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    del wanted["MLFLOW_TRACKING_URI"]
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of a finished run that was never published."""
    return Path(shutil.copytree(trained, tmp_path / "run"))
