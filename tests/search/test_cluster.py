"""A search on a Ray cluster: the table of this machine, also after a machine of the cluster is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scanline.errors import DataError, UsageError
from scanline.search.cluster import RemoteStudy, _work
from scanline.search.joining import join
from tests.clusters import has_process, ray_cluster
from tests.search.problems import SETTINGS, begin, write_ts, write_waves
from tests.thorough import THOROUGH

pytest.importorskip("optuna", reason="Optuna is not installed: pip install '.[tune]'")
LONGER = SETTINGS | {"train.epochs": 150}


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> Path:
    return write_waves(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def table(waves, tmp_path_factory) -> bytes:
    """The table of trials that one worker on this machine computes."""
    folder = tmp_path_factory.mktemp("local") / "study"
    begin(waves, folder, trials=6, workers=1, settings=LONGER).run()
    return (folder / "trials.csv").read_bytes()


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three nodes on this machine, each with one core; this process is connected to it."""
    with ray_cluster() as started:
        yield started


# First, while this process is connected to no cluster.
@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1:1", "--address: cannot join a Ray cluster at 127.0.0.1:1"),
        ("auto", "--address: expected a Ray cluster on this machine, found none; start one with `ray start"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(waves, tmp_path, monkeypatch, address, text):
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError) as caught:
        begin(waves, tmp_path / "study", engine="ray", address=address)
    assert text in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_another_machine_needs_postgresql():
    study = RemoteStudy("/nowhere/study", "study", "sqlite:////nowhere/study/study.db", "cpu", "elsewhere")
    code, message = _work(study)
    assert code == 2
    assert message.startswith("--engine ray: the trials are in SQLite on elsewhere, which ")
    assert message.endswith("cannot share; several machines require --storage postgresql://...")
    assert "sqlite:" not in repr(study)


def test_a_worker_of_another_machine_needs_postgresql(waves, tmp_path):
    search = begin(waves, tmp_path / "study")
    search.close()
    file = tmp_path / "study/study.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"host": "elsewhere"}))
    with pytest.raises(UsageError, match=r"study: the trials are in SQLite on elsewhere, .* postgresql"):
        join(str(tmp_path / "study"), None, None, 1)


@pytest.mark.campaign
def test_the_command_computes_the_table_of_this_machine(cluster, waves, table, tmp_path):
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'base = "sequences"\n[train]\nepochs = 150\ncheckpoint_every = 1000\n[model]\nhidden_size = 8\n'
        "[search]\n"
        '"model.readout" = ["last", "max"]\n"model.hidden_size" = [4, 8]\n'
    )
    where = ("--engine", "ray", "--address", cluster.address, "--workers", "2")
    size = ("--trials", "6", "--folds", "0", "--no-baselines", "--study", "waves", "--json")
    program = [sys.executable, "-m", "scanline", "tune", str(waves), "--recipe", str(recipe), *where, *size]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"]["n"] == 12
    assert (tmp_path / "studies/waves/trials.csv").read_bytes() == table


@pytest.mark.skipif(not THOROUGH, reason="takes a minute: SCANLINE_THOROUGH=1")
@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
def test_trials_are_paused_at_the_deadline_and_continued(cluster, waves, table, tmp_path):
    folder = tmp_path / "study"
    first = begin(waves, folder, trials=6, minutes=1e-3, engine="ray", settings=LONGER)
    assert not first.run()
    assert {each.record.state for each in first.storage.trials()} <= {"waiting", "stopped", "complete"}
    assert begin(waves, folder, trials=6, engine="ray", settings=LONGER).run()
    assert (folder / "trials.csv").read_bytes() == table


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
def test_an_error_of_a_worker_is_the_error_of_the_search(cluster, tmp_path):
    data = write_waves(tmp_path / "data")
    search = begin(data, tmp_path / "study", engine="ray", workers=1)
    write_ts(tmp_path / "data/waves_TRAIN.ts", 24, seed=9)
    with pytest.raises(DataError, match="expected the sequences of the study"):
        search.run()


@pytest.mark.skipif(not THOROUGH, reason="takes a minute: SCANLINE_THOROUGH=1")
@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_lost_machine_is_replaced(cluster, waves, table, tmp_path):
    folder = tmp_path / "study"
    search = begin(waves, folder, trials=6, engine="ray", workers=3, settings=LONGER)
    lost = cluster.list_all_nodes()[-1]
    reached: list[int] = []

    def kill() -> None:
        limit = time.monotonic() + 60
        while time.monotonic() < limit and not reached:
            time.sleep(0.02)
            if has_process(lost, b"ray::_work") and any((folder / "trials").glob("*/metrics.jsonl")):
                reached.append(len(list((folder / "trials").glob("*"))))
        cluster.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert search.run()
    killer.join()
    assert reached
    assert len(cluster.list_all_nodes()) == 2
    assert (folder / "trials.csv").read_bytes() == table
