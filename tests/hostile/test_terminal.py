"""Names from untrusted files are shown with escapes on a terminal, wherever they come from."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

from scanline.model.artifact import Model
from scanline.tasks.classification import Classification
from tests.hostile import small

EVIL = "\x1b[2J\x1b]0;evil\x07"
TURNED = "a\u202eb"


@pytest.fixture
def model(tmp_path):
    """A bundle whose classes have such names."""
    changed = dataclasses.replace(small.bundled(), task=Classification((EVIL, TURNED)))
    changed.save(tmp_path / "model", "0.0.0")
    return tmp_path / "model"


def test_a_model_keeps_class_names_with_control_characters(model):
    assert Model.load(model).classes.tolist() == [EVIL, TURNED]


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "MODEL", "a.npz"),
        ("evaluate", "MODEL", "--data", "a.npz"),
        ("explain", "MODEL", "a.npz"),
        ("compare", "MODEL", "OTHER", "--data", "a.npz"),
        ("data", "show", "a.npz"),
    ],
)
def test_no_command_prints_control_characters_of_a_name(model, tmp_path, monkeypatch, scanline, words):
    monkeypatch.chdir(tmp_path)
    labels = np.array([EVIL, TURNED] * 4)
    np.savez("a.npz", X=np.ones((8, 3, 2), np.float32) * np.arange(8)[:, None, None], y=labels)
    shutil.copytree(model, tmp_path / "other")
    paths = {"MODEL": str(model), "OTHER": "other"}
    code, out, err = scanline(*(paths.get(word, word) for word in words))
    assert code == 0, err
    shown = out + err
    assert words[0] == "compare" or "\\x1b[2J" in shown or "a\\u202eb" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_json_escapes_them_too(model, tmp_path, scanline):
    np.savez(tmp_path / "a.npz", X=np.ones((2, 3, 2), np.float32))
    _, out, _ = scanline("predict", model, tmp_path / "a.npz", "--json")
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert set(json.loads(out)["predictions"][0]["probabilities"]) == {EVIL, TURNED}


def test_a_file_name_with_control_characters_is_refused_in_one_line(model, tmp_path, scanline):
    code, out, err = scanline("predict", model, tmp_path / f"{EVIL}.npz")
    assert (code, out) == (3, "")
    assert "\\x1b[2J" in err
    assert not {"\x1b", "\x07"} & set(err)
