"""Texts on the command line: training with nothing but a file, predictions, explanations and refusals."""

import io
import json

import numpy as np
import pandas
import pytest

from scanline import Arrays, load
from scanline.api import explain, train
from scanline.errors import DataError, UsageError

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


def test_a_text_is_explained_with_its_tokens_marked(films, scanline, tmp_path):
    text = "a fine and moving story"
    figure = tmp_path / "text.svg"
    code, out, _ = scanline("explain", films / "run", "--text", text, "--save", figure)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("the text: good")
    model = load(films / "run")
    found = explain(model, text)
    for line, token, share in zip(lines[2:], found.tokens, found.attribution.values.sum(1), strict=False):
        assert line.split()[1:3] == [token, f"{share:+.3f}"]
    assert figure.read_bytes().startswith(b"<?xml")
    shares = found.shares
    html = found._marked_tokens()
    assert html.count("<span") == 5
    for token, share in zip(found.tokens, shares, strict=True):
        colour = "33,102,172" if share > 0 else "178,24,43"
        assert f"rgba({colour},{0.6 * abs(share):.2f});" in html
        assert f">{token}</span>" in html
    assert abs(shares).max() == 1
    assert [each.get_text() for each in found.figure().axes[0].texts] == list(found.tokens)
    for wrong, message in (((), "found neither"), (("0", "--text", "a"), "found both")):
        code, _, err = scanline("explain", films / "run", *wrong)
        assert (code, message in err) == (2, True)


@pytest.mark.parametrize(
    ("setting", "value"), [("tokens", "characters"), ("tokens", "bytes"), ("maximum_length", 3)]
)
def test_tokens_of_every_kind_train_in_slices(films, tmp_path, setting, value):
    settings = FEW | {"train.samples": 128, f"data.{setting}": value, "train.slices": 2}
    train(films / "films.tsv", settings=settings, run=tmp_path / "run", log=None)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training"]["status"] == "finished"


def test_texts_are_predicted_from_options_and_from_lines(films, scanline, monkeypatch):
    one = ("predict", films / "run", "--text", "a fine and moving story", "--text", "dull , dull")
    code, out, messages = scanline(*one, "--json")
    found = json.loads(out)
    assert (code, [each["label"] for each in found["predictions"]]) == (0, ["good", "bad"])
    assert [each["unknown"] for each in found["predictions"]] == [1, 0]
    assert found["categories"] == [{"file": "texts", "n": 8, "unknown": 1}]
    assert "the texts: 1 of 8 categories (12.5 %) are unknown to the model" in messages
    monkeypatch.setattr("sys.stdin", io.StringIO("a fine and moving story\n\ndull , dull\n"))
    code, lines, _ = scanline("predict", films / "run", "-")
    assert code == 0
    assert lines == scanline(*one)[1]
    assert lines.startswith("a fine and moving story: good\n")
    # The same text in a file has the same probabilities.
    _, of_file, _ = scanline("predict", films / "run", films / "new.tsv", "--json")
    probabilities = [each["probability"] for each in json.loads(of_file)["predictions"]]
    assert [each["probability"] for each in found["predictions"]] == probabilities


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "expected FILES or --text, found neither"),
        (("new.tsv", "--text", "a"), 2, "expected FILES or --text, found both"),
        (("--text", "a", "--stream"), 2, "--stream, --save-input and --to are not for --text"),
        (("--text", "fine", "--text", " "), 3, "text 1: expected a text with words, found none"),
    ],
)
def test_wrong_texts_are_refused_in_a_line(films, scanline, arguments, code, message):
    found, _, err = scanline("predict", films / "run", *arguments)
    assert (found, err.count("\n")) == (code, 1)
    assert message in err


def test_python_predicts_texts_in_lists_and_columns(films):
    model = load(films / "run")
    texts = ["a fine and moving story", "dull , dull"]
    assert model.predict(texts).tolist() == ["good", "bad"]
    together = model.predict_proba(texts)
    for given in (tuple(texts), np.array(texts), pandas.Series(texts), pandas.DataFrame({"1": texts})):
        assert (model.predict_proba(given) == together).all()
    assert (model.predict_proba(texts[1:]) == together[1:]).all()
    assert model.evaluate(Arrays(texts, ["good", "good"])).accuracy == 0.5
    for wrong, message in (
        ("a text", r"give a list: model.predict\(\[text\]\)"),
        (np.zeros((1, 2, 1)), "expected a list of texts, found ndarray"),
        (["fine", ""], "text 1: expected a text with words, found none"),
    ):
        with pytest.raises(DataError, match=message):
            model.predict(wrong)
    with pytest.raises(UsageError, match="lengths must be None"):
        model.predict(texts, [1, 2])


def test_texts_of_a_program_are_trained_on_with_the_recipe_of_texts(tmp_path):
    texts = ["a fine and moving film", "a dull and endless film"] * 20
    run = train(
        Arrays(texts, [1, 0] * 20), settings=FEW | {"train.samples": 64}, run=tmp_path / "run", log=None
    )
    assert 'name = "text"' in (tmp_path / "run" / "recipe.toml").read_text()
    assert run.model.class_names == (0, 1)
