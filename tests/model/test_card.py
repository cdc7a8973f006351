"""The model card: complete and correct."""

from __future__ import annotations

import json

import pytest

from scanline.data.preprocessing import Preprocessing
from scanline.errors import printable
from scanline.model.artifact import Model
from scanline.model.card import model_card
from scanline.model.description import Provenance
from scanline.model.network import Architecture, Network
from scanline.recipe import DEFAULT_DATA
from scanline.tasks.classification import Classification


def test_the_card_of_a_trained_run_agrees_with_its_result(trained):
    result = json.loads((trained / "result.json").read_text())["test"]
    splits = json.loads((trained / "environment.json").read_text())["data"]
    card = (trained / "model" / "README.md").read_text()
    assert card.startswith('---\nlicense: "unknown"\n')
    low, high = result["ci95"]
    assert (
        f"- **Accuracy** {result['accuracy']:.4f} on the test split ({result['correct']:,} of 360), "
        f"95 % interval {low:.4f} to {high:.4f} (Wilson)." in card
    )
    for name, split in splits.items():
        assert f"{name.capitalize()} split: {split['n']:,} sequences, SHA-256 `{split['sha256']}`." in card
    assert "pictures of 8 x 8 pixels (grey levels, 0 to 16), read as rows" in card
    assert "- **Licence** unknown." in card


def test_model_json_has_the_history_and_gives_it_back(trained):
    result = json.loads((trained / "result.json").read_text())["test"]
    history = Model.load(trained / "model").provenance
    assert (history.recipe, history.seed, history.made) == ("digits", 0, "trained by Scanline")
    assert history.test is not None
    assert (history.test.n, history.test.correct) == (360, result["correct"])
    assert list(history.parts) == ["train", "validation", "test"]


def test_the_licence_of_the_recipe_is_in_model_and_card(tmp_path):
    from scanline.api import train

    settings = {"train.samples": 100, "licence": "CC-BY-4.0"}
    train("digits", settings=settings, run=tmp_path / "run", log=None)
    assert Model.load(tmp_path / "run" / "model").provenance.licence == "CC-BY-4.0"
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert card.startswith('---\nlicense: "CC-BY-4.0"\n')


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert\(1\)\</script\>"),
        ("a|b*c_d", r"a\|b\*c\_d"),
        ("[x](y)", r"\[x\]\(y\)"),
        ("two\nlines", "two lines"),
        ("# title", r"\# title"),
    ],
)
def test_names_are_text_and_no_markup(name, shown):
    architecture = Architecture("gru", 2, 3, 1, False, 0.0, "between", "mean", 2)
    form = Preprocessing(None, "rows", 0, 2, 2, "error", (), DEFAULT_DATA)
    history = Provenance(made=name, licence=name)
    task = Classification((name, "b"))
    card = model_card(Model(Network(architecture), task, form, name, None, history).describe(), task, name, 1)
    body = card.split("---\n", 2)[2]
    assert body.count(shown) == 5  # title, data, made, class, licence
    assert name not in body.replace(shown, "")
    front = card.split("---\n", 2)[1].splitlines()
    assert json.loads(front[0].removeprefix("license: ")) == printable(name)
    assert "unknown: the model was not tested" in body
