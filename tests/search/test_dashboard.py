"""Optuna's own tools open a study: optuna-dashboard, and the gRPC proxy in front of its database."""

from __future__ import annotations

import json
import socket
import threading
from wsgiref.util import setup_testing_defaults

import optuna
import pytest

from scanline.search.request import Request
from scanline.search.study import Search
from tests.search import kept

NAME = "opened"


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    kept.write_inputs(folder)
    search = Search.begin(
        Request(
            data=str(folder / "data.npz"),
            recipe=str(folder / "search.toml"),
            settings={"train.samples": 200},
            trials=3,
            workers=0,
            study=str(folder / NAME),
            folds=0,
        )
    )
    search.run()
    yield search
    search.close()


def _url(search) -> str:
    return f"sqlite:///{search.files.folder / 'study.db'}"


def test_the_dashboard_shows_the_trials(search):
    dashboard = pytest.importorskip("optuna_dashboard")
    storage = optuna.storages.RDBStorage(_url(search))
    application = dashboard.wsgi(storage)

    def get(path):
        status = []
        environment = {"PATH_INFO": path}
        setup_testing_defaults(environment)
        body = b"".join(application(environment, lambda given, headers, error=None: status.append(given)))
        assert status[0].startswith("200"), body
        return json.loads(body)

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == NAME
    detail = get(f"/api/studies/{summary['study_id']}")
    assert [trial["number"] for trial in detail["trials"]] == [0, 1, 2]
    assert {trial["state"] for trial in detail["trials"]} <= {"Complete", "Pruned"}
    assert {each["name"] for each in detail["trials"][0]["params"]} == set(search.definition.space.parameters)
    assert detail["directions"] == ["maximize"]
    assert detail["objective_names"] == ["accuracy"]
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optuna_reads_the_study_through_its_proxy(search):
    pytest.importorskip("grpc")
    from optuna.storages._grpc.server import make_server

    storage = optuna.storages.RDBStorage(_url(search))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = make_server(storage, "127.0.0.1", port)
    threading.Thread(target=server.start, daemon=True).start()
    proxy = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port)
    try:
        proxy.wait_server_ready(timeout=30)
        study = optuna.load_study(study_name=NAME, storage=proxy)
        assert [trial.number for trial in study.trials] == [0, 1, 2]
        best = max(
            (each for each in search.storage.trials() if each.record.state == "complete"),
            key=lambda each: each.record.scores[-1].score,
        )
        assert study.best_value == best.record.scores[-1].score
    finally:
        proxy.close()
        server.stop(None)
        storage.remove_session()
        storage.engine.dispose()
