"""Scoring on Ray: the bytes of scoring on this machine, also after a machine of the cluster is lost."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from scanline.errors import DataError, UsageError
from scanline.scoring import score
from tests.clusters import has_process, ray_cluster
from tests.scoring.packed import pack
from tests.scoring.processes import done_units, start, wait_for

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def unsplit(sequences, tmp_path_factory) -> Path:
    """The sequences as a packed data set of 60 row groups."""
    return pack(tmp_path_factory.mktemp("packed") / "activity", {"all": sequences}, rows=2)


@pytest.fixture(scope="module")
def scored(run, unsplit, tmp_path_factory) -> Path:
    """The scores of this machine."""
    target = tmp_path_factory.mktemp("scored") / "scores"
    score(run, str(unsplit), str(target), order="id")
    return target


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three nodes on this machine, each with one core; this process is connected to it."""
    with ray_cluster() as started:
        yield started


def content(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in target.iterdir()}


# First, while this process is connected to no cluster.
@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1:1", "--address: cannot join a Ray cluster at 127.0.0.1:1"),
        ("somewhere", "--address: expected local, auto or HOST:PORT, got 'somewhere'"),
        ("auto", "--address: expected a Ray cluster on this machine, found none; start one with `ray start"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(run, unsplit, tmp_path, monkeypatch, address, text):
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install '.[ray]'")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError) as caught:
        score(run, str(unsplit), str(tmp_path / "scores"), engine="ray", address=address)
    assert text in str(caught.value)
    assert not (tmp_path / "scores").exists()


def test_sequences_in_memory_are_refused(run, csv_file, tmp_path):
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install '.[ray]'")
    with pytest.raises(UsageError, match="--engine ray requires a packed data set"):
        score(run, str(csv_file), str(tmp_path), engine="ray")


def test_two_actors_write_the_bytes_of_this_machine(cluster, scored, run, unsplit, tmp_path):
    where = ("--engine", "ray", "--address", cluster.address, "--processes", 2)
    program = start(run, unsplit, "--to", tmp_path / "scores", "--order", "id", *where)
    out, err = program.communicate()
    assert (program.returncode, [line for line in err.splitlines() if "scored" not in line]) == (0, [])
    assert out.startswith("120 sequences scored; 0 have an error")
    assert content(tmp_path / "scores") == content(scored)


@pytest.mark.filterwarnings("ignore")
def test_an_error_of_an_actor_is_the_error_of_the_job(cluster, run, sequences, tmp_path):
    source = pack(tmp_path / "packed", {"all": sequences}, 40)
    (source / "all-000001.parquet").unlink()
    with pytest.raises(DataError, match=r"all-000001.parquet: cannot be read \(no such file\)"):
        score(run, str(source), str(tmp_path / "scores"), engine="ray")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_lost_machine_is_replaced(cluster, scored, run, unsplit, tmp_path):
    target = tmp_path / "scores"
    lost = cluster.list_all_nodes()[-1]

    def kill() -> None:
        wait_for(
            lambda: has_process(lost, b"ray::MapWorker") and done_units(target),
            "an actor, and the first part",
        )
        cluster.remove_node(lost, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    score(run, str(unsplit), str(target), engine="ray", processes=3, order="id")
    killer.join()
    assert len(cluster.list_all_nodes()) == 2
    assert content(target) == content(scored)
