"""The folder of an ensemble: a round trip, and every damage is refused by name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import scanline
from scanline.errors import ModelError, ScanlineError
from scanline.limits import limit_of
from scanline.model.artifact import Model
from scanline.model.ensemble import Ensemble, make_ensemble
from scanline.storage.digest import sha256
from scanline.storage.json_files import write_sealed_json
from tests.model.ensembles import member, sequences

FILES = [
    "model.json",
    "members/1/model.json",
    "members/1/model.safetensors",
    "members/2/model.json",
    "members/2/model.safetensors",
]


@pytest.fixture
def saved(tmp_path):
    made = make_ensemble([member("lstm", 1), member("gru", 2, hidden=5)], names=("one", "two"))
    made.save(tmp_path / "made", "0.0.0")
    return made, tmp_path / "made"


def test_a_saved_ensemble_is_loaded_unchanged(saved):
    made, folder = saved
    loaded = scanline.load(folder)
    assert isinstance(loaded, Ensemble)
    assert (loaded.names, loaded.data, loaded.provenance) == (("one", "two"), made.data, made.provenance)
    assert loaded.temperature is None
    np.testing.assert_array_equal(loaded.predict_proba(sequences()), made.predict_proba(sequences()))
    loaded.save(folder.parent / "again", "0.0.0")
    for name in FILES:
        assert (folder.parent / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_files_of_an_ensemble_as_bytes_are_loaded_unchanged(saved):
    made, folder = saved
    files = made.to_bytes("0.0.0")
    assert files == {name: (folder / name).read_bytes() for name in FILES}
    # Other names are ignored, wherever they lead to.
    loaded = Ensemble.from_bytes(files | {"../outside": b"x", "members/../../outside/model.json": b"x"})
    np.testing.assert_array_equal(loaded.predict_proba(sequences()), made.predict_proba(sequences()))
    assert not (folder.parent / "outside").exists()
    with pytest.raises(ModelError, match=r"^members/2/model\.safetensors is missing"):
        Ensemble.from_bytes({name: files[name] for name in FILES[:-1]})


def test_a_member_is_a_model_of_its_own(saved):
    made, folder = saved
    alone = scanline.load(folder / "members" / "2")
    assert isinstance(alone, Model)
    np.testing.assert_array_equal(
        alone.predict_proba(sequences()), made.members[1].predict_proba(sequences())
    )


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_of_every_file_are_refused(saved, name):
    path = saved[1] / name
    whole = path.read_bytes()
    for position in range(0, len(whole), 1 + len(whole) // 40):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ModelError, match=path.name):
            scanline.load(saved[1])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=path.name):
        scanline.load(saved[1])
    path.unlink()
    with pytest.raises(ModelError, match=f"{name} is missing|neither a run directory"):
        scanline.load(saved[1])


def test_a_member_that_is_replaced_by_another_model_is_refused(saved):
    folder = saved[1]
    shutil.rmtree(folder / "members" / "2")
    member("gru", 7, hidden=5).save(folder / "members" / "2", "0.0.0")
    with pytest.raises(
        ModelError, match=r"members/2/model\.json is damaged: it is not the one that was saved"
    ):
        scanline.load(folder)


def many(tree):
    tree["members"] = [{"anything": "long"}] * (limit_of("MEMBERS") + 1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.update(schema=2), "expected schema 1 of an ensemble, found 2"),
        (lambda t: t.update(code="import os"), "is damaged: code: Extra inputs"),
        (lambda t: t.update(temperature=0.0), "is damaged: temperature"),
        (lambda t: t.update(temperature="1"), "is damaged: temperature"),
        (lambda t: t.update(data=7), "is damaged: data"),
        (lambda t: t.update(data="\x1b[2J"), "expected printable text"),
        (lambda t: t["members"].pop(), "is damaged: members: List should have at least 2 items"),
        (lambda t: t.update(members="12"), "is damaged: members"),
        (lambda t: t["members"].append(t["members"][0]), "members/3/model.json is missing"),
        (lambda t: t["members"].reverse(), "members/1/model.json is damaged"),
        (lambda t: t["members"][0].update(path="../other"), "is damaged: members: 0: path: Extra inputs"),
        (lambda t: t["members"][0].update(sha256="short"), "is damaged: members: 0: sha256"),
        (lambda t: t["members"][0].update(seed=-1), "is damaged: members: 0: seed"),
        (lambda t: t["provenance"].update(made=3), "is damaged: provenance: made"),
        (many, "expected at most 100 models in an ensemble, found 101"),
        (lambda t: t.pop("kind"), "expected schema 3 to 7, got 1"),
    ],
)
def test_a_sealed_description_that_is_not_valid_is_refused(saved, edit, message):
    path = saved[1] / "model.json"
    tree = json.loads(path.read_text())
    edit(tree)
    tree.pop("sha256")
    write_sealed_json(path, tree)
    with pytest.raises(ModelError, match=message) as caught:
        scanline.load(saved[1])
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_sealed_members_that_do_not_fit_together_are_refused(saved):
    folder = saved[1]
    other = member("gru", 2, classes=("a", "b", "x", "d"))
    shutil.rmtree(folder / "members" / "2")
    other.save(folder / "members" / "2", "0.0.0")
    tree = json.loads((folder / "model.json").read_text())
    tree.pop("sha256")
    tree["members"][1]["sha256"] = sha256((folder / "members" / "2" / "model.json").read_bytes())
    write_sealed_json(folder / "model.json", tree)
    with pytest.raises(ModelError, match=r"does not fit its members: .*differ in classes"):
        scanline.load(folder)


def test_an_ensemble_within_an_ensemble_is_refused(saved):
    folder = saved[1]
    nested = folder.parent / "nested"
    shutil.copytree(folder, nested)
    shutil.rmtree(nested / "members" / "1")
    shutil.copytree(folder, nested / "members" / "1")
    tree = json.loads((nested / "model.json").read_text())
    tree.pop("sha256")
    tree["members"][0]["sha256"] = sha256((folder / "model.json").read_bytes())
    write_sealed_json(nested / "model.json", tree)
    with pytest.raises(ModelError, match=r"members/1/model\.json describes an ensemble: name a member"):
        scanline.load(nested)


def test_an_ensemble_is_not_loaded_as_a_model_of_one_network(saved):
    with pytest.raises(ModelError, match=r"describes an ensemble: name a member, such as .*members/1"):
        Model.load(saved[1])


def test_a_failure_while_saving_leaves_what_was_there(saved, monkeypatch):
    made, folder = saved
    before = {name: (folder / name).read_bytes() for name in FILES}
    save, count = Model.save, []

    def full(self, path, version):
        count.append(path)
        if len(count) == 2:
            raise ScanlineError("cannot write: no space left on device")
        save(self, path, version)

    monkeypatch.setattr(Model, "save", full)
    for target in (folder, folder.parent / "new"):
        count.clear()
        with pytest.raises(ScanlineError, match="no space left"):
            made.save(target)
    assert {name: (folder / name).read_bytes() for name in FILES} == before
    assert [each.name for each in folder.parent.iterdir()] == ["made"]


def test_a_file_beside_the_model_appears_with_it(saved):
    made, folder = saved
    made.save(folder.parent / "beside", beside={"data.json": "{}\n"})
    assert (folder.parent / "beside" / "data.json").read_text() == "{}\n"


def test_the_card_lists_the_members(saved):
    text = (saved[1] / "README.md").read_text()
    assert "# Ensemble of 2 models, made up" in text
    assert "| [2](members/2/README.md) | two | 1 x gru 5 |  |  |" in text
    assert "**Input** sequences of any length, 5 features a step; no value may be missing." in text
    assert "**Probabilities** are not calibrated." in text
