"""Model artifacts: a round trip, and damage is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from scanline.data.picture_format import PictureFormat
from scanline.data.preprocessing import Preprocessing
from scanline.errors import ModelError
from scanline.model import model_files
from scanline.model.artifact import Model
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.storage.json_files import write_sealed_json
from scanline.tasks.classification import Classification


def form(picture: PictureFormat | None = None) -> Preprocessing:
    return Preprocessing(picture, "rows", 0, 3, 3, "error", (), DEFAULT_DATA)


@pytest.fixture
def saved(tmp_path) -> tuple[Model, Path]:
    architecture = Architecture("lstm", 3, 4, 1, True, 0.5, "every", "mean", 2)
    picture = PictureFormat(height=3, width=3, box=2, levels=255, centre="mass")
    model = Model(Network(architecture), Classification(("no", "yes")), form(picture), "made up")
    model.save(tmp_path / "model", "0.0.0")
    return model, tmp_path / "model"


def test_a_saved_model_is_loaded_unchanged(saved):
    model, folder = saved
    loaded = Model.load(folder)
    assert loaded.network.architecture == model.network.architecture
    assert (loaded.task, loaded.preprocessing, loaded.data) == (model.task, model.preprocessing, model.data)
    values = torch.randn(2, 5, 3)
    with torch.inference_mode():
        assert torch.equal(loaded.network(values), model.network.eval()(values))
    assert not loaded.network.training


def test_numbers_as_class_names_stay_numbers(tmp_path):
    classifier = Network(Architecture("gru", 3, 4, 1, False, 0.0, "between", "last", 2))
    Model(classifier, Classification((0, 1)), form(), "x").save(tmp_path / "model", "0.0.0")
    assert Model.load(tmp_path / "model").class_names == (0, 1)


def test_every_byte_of_the_weights_is_guarded(saved):
    _, folder = saved
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            Model.load(folder)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.9, 0.999])
def test_weights_that_are_cut_off_are_refused(saved, fraction):
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        Model.load(saved[1])


def test_weights_that_are_missing_are_named(saved):
    (saved[1] / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing; copy the folder again"):
        Model.load(saved[1])


def change(folder: Path, edit) -> None:
    path = folder / "model.json"
    tree = json.loads(path.read_text())
    edit(tree)
    tree.pop("sha256")
    write_sealed_json(path, tree)  # as somebody who means it would


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.update(schema=1), "expected schema 3 to 7, got 1"),
        (lambda t: t["task"]["state"].pop("classes"), "model.json is damaged: task: expected classes"),
        (
            lambda t: t["task"].update(name="tree"),
            r"task must be one of classification, .*got 'tree'",
        ),
        (lambda t: t["task"]["state"]["classes"].append("x"), "expected 2 outputs, got 3"),
        (lambda t: t["architecture"].update(cell="tree"), "model.json is damaged: architecture: cell"),
        (
            lambda t: t["architecture"].update(hidden_size=10**12),
            "model.json is damaged: architecture: hidden_size",
        ),
        (
            lambda t: t["architecture"].update(hidden_size=60_000),
            "does not fit its architecture: head.weight",
        ),
        (lambda t: t["architecture"].update(layers=2), "does not fit its architecture: recurrent.bias_hh_l1"),
        (lambda t: t["tensors"].pop("scale"), "tensor scale is not the one that was saved"),
        (lambda t: t["tensors"]["scale"].update(sha256="0" * 64), "tensor scale is not the one"),
        (lambda t: t.update(code="import os"), "model.json is damaged: code: Extra inputs"),
        (lambda t: t["input"]["picture"].update(height="tall"), "model.json is damaged: input: picture"),
        (lambda t: t["input"]["picture"].update(height=-3), "cannot be cut into steps of 3"),
        (lambda t: t["input"]["picture"].update(width=100_000), "cannot be cut into steps of 3"),
        (lambda t: t["input"]["picture"].update(levels=0), "cannot be cut into steps of 3"),
        (lambda t: t["input"]["picture"].update(box=4), "cannot be cut into steps of 3"),
        (lambda t: t["task"]["state"].update(classes=["no", "no"]), "classes with different names"),
        (lambda t: t["task"]["state"].update(classes=[1, "1"]), "classes with different names"),
        (
            lambda t: t["input"].update(features=4),
            "expected steps of 3 features, .*, got 4",
        ),
        (lambda t: t["input"].update(view="patches:2"), "needs a height and a width that 2 divides"),
        (lambda t: t["input"].update(view="spiral"), "input.view must be one of rows, columns"),
        (lambda t: t["input"].update(missing="mean"), "expected 3 means for 3 features, got 0"),
        (lambda t: t["input"].update(missing="mean", means=[0, 0, "x"]), "input: means"),
        (lambda t: t["input"]["settings"].update(shape="tall"), "input: settings: shape"),
        (lambda t: t["input"]["settings"].update(test="mine.csv"), "the settings name a file of data"),
        (
            lambda t: t["task"]["state"].update(classes=["no", "y" * 5000]),
            "2 names of up to 5000 characters",
        ),
    ],
)
def test_a_description_that_is_damaged_is_refused(saved, edit, message):
    change(saved[1], edit)
    with pytest.raises(ModelError, match=message):
        Model.load(saved[1])


def test_a_description_that_was_changed_without_its_digest_is_refused(saved):
    path = saved[1] / "model.json"
    path.write_text(path.read_text().replace('"no"', '"yes"', 1).replace('"yes"\n', '"no"\n', 1))
    with pytest.raises(ModelError, match=r"model\.json is damaged: its content is not what was saved"):
        Model.load(saved[1])


def test_a_description_that_is_missing_is_named(saved):
    (saved[1] / "model.json").unlink()
    with pytest.raises(ModelError, match=r"model\.json is missing; copy the folder again"):
        Model.load(saved[1])


def test_weights_of_another_kind_of_number_are_refused(saved):
    tensors = model_files.load_tensors(saved[1] / "model.safetensors")
    half = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    safetensors.torch.save_file(half, saved[1] / "model.safetensors")
    digests = {name: each.model_dump() for name, each in model_files.describe_tensors(half).items()}
    change(saved[1], lambda tree: tree.update(tensors=digests))
    with pytest.raises(ModelError, match=r"head\.bias: expected float32 \(2,\)"):
        Model.load(saved[1])


@pytest.mark.parametrize(("name", "value"), [("head.bias", torch.nan), ("shift", torch.inf), ("scale", 0.0)])
def test_weights_that_no_network_has_are_refused(saved, name, value):
    model, folder = saved
    model.network.state_dict()[name].fill_(value)
    model.save(folder, "0.0.0")
    with pytest.raises(ModelError, match=f"model.safetensors is damaged: {name}: expected finite values"):
        Model.load(folder)


def test_weights_of_another_network_are_refused(saved, tmp_path):
    other = Network(Architecture("lstm", 3, 5, 1, True, 0.5, "every", "mean", 2))
    Model(other, Classification((0, 1)), form(), "x").save(tmp_path / "other", "0.0.0")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved[1])
    with pytest.raises(ModelError, match="is not the one that was saved"):
        Model.load(saved[1])
