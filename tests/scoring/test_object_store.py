"""Scoring from a bucket into a bucket: the bytes of local files, also if connections break."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scanline.data.memory import MemorySource
from scanline.data.packed import location
from scanline.errors import ModelError
from scanline.model.ensemble import make_ensemble
from scanline.scoring import Scorer, score
from tests.model.ensembles import member, sequences
from tests.object_store import ACCESS_KEY
from tests.scoring.packed import pack, table_of


@pytest.fixture(scope="module")
def packed(sequences, tmp_path_factory) -> Path:
    return pack(tmp_path_factory.mktemp("packed") / "activity", {"all": sequences}, rows=30)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(location, "_FIRST_WAIT_S", 0.005)


def put(object_store, folder: str, path: Path) -> str:
    for file in path.iterdir():
        object_store.put(f"{folder}/{file.name}", file.read_bytes())
    return f"{object_store.uri}/{folder}"


def test_scores_in_a_bucket_are_those_of_a_folder(object_store, run, packed, tmp_path):
    score(run, str(packed), str(tmp_path / "scores"), order="id")
    source, model = put(object_store, "data", packed), put(object_store, "run/model", run / "model")
    result = score(f"{object_store.uri}/run", source, f"{object_store.uri}/scores", order="id")
    assert (result.before, result.scores.n) == (0, 120)
    assert result.sorted_file == f"{object_store.uri}/scores/sorted.parquet"
    # PyArrow leaves an empty object "scores/", as the consoles of S3 do for folders.
    names = [name for name in object_store.object_names() if name.startswith("scores/") and name[-1] != "/"]
    assert names == sorted(f"scores/{path.name}" for path in (tmp_path / "scores").iterdir())
    for name in names:
        if name.endswith(".parquet"):
            assert object_store.get(name) == (tmp_path / name).read_bytes()
    assert json.loads(object_store.get("scores/job.json"))["model"] == model
    assert ACCESS_KEY.encode() not in b"".join(map(object_store.get, names))


def test_connections_that_break_change_nothing(object_store, run, packed):
    source = put(object_store, "data", packed)
    score(run, source, f"{object_store.uri}/undisturbed")
    with object_store.through_proxy() as proxy:

        def cut(done: int, total: int) -> None:
            proxy.refuse(1)
            proxy.cut_responses(1, after=500)
            proxy.cut_requests(1, after=600)

        result = score(run, source, f"{object_store.uri}/scores", on_progress=cut)
        assert proxy.broken >= 3 * 4
    for part in result.scores.parts:
        assert object_store.get(f"scores/{part.file}") == object_store.get(f"undisturbed/{part.file}")


def test_a_job_continues_after_the_bucket_refused_to_be_written(object_store, run, packed, scanline):
    source, target = put(object_store, "data", packed), f"{object_store.uri}/scores"
    score(run, source, target)
    object_store.delete("scores/part-all-000002.parquet")
    object_store.delete("scores/scores.json")
    object_store.deny("s3:PutObject")
    code, out, err = scanline("score", run, source, "--to", target)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"cannot write {target}/part-all-00000" in err
    assert "access denied" in err


def test_a_model_in_a_bucket_is_loaded_and_a_damaged_one_named(object_store, run, sequences):
    folder = put(object_store, "model", run / "model")
    table = table_of(sequences).slice(0, 5)
    assert Scorer.open(folder)(table).equals(Scorer.open(run)(table))
    weights = bytearray(object_store.get("model/model.safetensors"))
    weights[-1] ^= 1
    object_store.put("model/model.safetensors", bytes(weights))
    with pytest.raises(ModelError, match=rf"{folder}/model.safetensors is damaged"):
        Scorer.open(folder)
    with pytest.raises(ModelError, match=r"/none is neither a run directory"):
        Scorer.open(f"{object_store.uri}/none")


def test_an_ensemble_in_a_bucket_is_loaded_with_its_members(object_store, tmp_path):
    ensemble = make_ensemble([member("lstm", 1), member("gru", 2)])
    ensemble.save(tmp_path / "made")
    for name in ensemble.to_bytes():
        object_store.put(f"made/{name}", (tmp_path / "made" / name).read_bytes())
    source = MemorySource.from_list(sequences(5), np.zeros(5, np.int64), (), "five")
    table = table_of(source)
    found = Scorer.open(f"{object_store.uri}/made")(table)
    assert found.equals(Scorer.open(tmp_path / "made")(table))
    assert found["probabilities"].to_pylist() == ensemble.probabilities(source).tolist()
    object_store.delete("made/members/2/model.safetensors")
    with pytest.raises(ModelError, match=r"made/members/2/model\.safetensors"):
        Scorer.open(f"{object_store.uri}/made")
