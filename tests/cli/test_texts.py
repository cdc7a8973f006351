"""Texts on the command line: training with nothing but a file, predictions, explanations and refusals."""

import json

import pytest

from scanline.api import train

FEW = {"train.samples": 1_500, "model.hidden_size": 8, "model.embedding_size": 6, "input.minimum_count": 1}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    good, bad = "a fine and moving film", "a dull and endless film"
    rows = [("good", f"{good} , really {'so ' * (n % 4)}") for n in range(40)]
    rows += [("bad", f"{bad} , really {'so ' * (n % 4)}") for n in range(40)]
    (folder / "films.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    (folder / "new.tsv").write_text("a fine and moving story\ndull , dull\n")
    train(folder / "films.tsv", settings=FEW, run=folder / "run", log=None)
    return folder


def test_the_recipe_of_texts_is_chosen_and_new_texts_are_predicted(films, scanline):
    assert 'name = "text"' in (films / "run" / "recipe.toml").read_text()
    code, out, messages = scanline("predict", films / "run", films / "new.tsv", "--json")
    assert code == 0
    found = json.loads(out)
    assert [each["label"] for each in found["predictions"]] == ["good", "bad"]
    assert found["categories"][0]["unknown"] == 1
    assert "1 of 8 categories (12.5 %) are unknown to the model" in messages


def test_an_explanation_names_the_tokens(films, scanline):
    _, out, _ = scanline("explain", films / "run", films / "new.tsv", "--json")
    assert json.loads(out)["tokens"] == ["a", "fine", "and", "moving", "(unknown)"]


@pytest.mark.parametrize(
    ("setting", "value"), [("tokens", "characters"), ("tokens", "bytes"), ("maximum_length", 3)]
)
def test_tokens_of_every_kind_train_in_slices(films, tmp_path, setting, value):
    settings = FEW | {"train.samples": 128, f"data.{setting}": value, "train.slices": 2}
    train(films / "films.tsv", settings=settings, run=tmp_path / "run", log=None)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training"]["status"] == "finished"
