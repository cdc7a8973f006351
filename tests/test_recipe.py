"""Recipes: the values of the tutorials, settings, and error messages that list all faults."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from scanline import recipe
from scanline.errors import UsageError

TUTORIALS = {
    # name: layers, units, dropout, head, batch, steps, log every, test every
    "tutorial-basic": (1, 128, 0.0, "standard-normal", 128, 781, 10, 0),
    "tutorial-dynamic": (1, 128, 0.0, "standard-normal", 100, 999, 10, 0),
    "tutorial-stacked": (3, 256, 0.5, "truncated-normal", 100, 2000, 100, 500),
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_tutorials_have_their_published_values(name):
    loaded = recipe.load(name)
    model, train = loaded.model, loaded.train
    assert TUTORIALS[name] == (
        model.layers, model.hidden_size, model.dropout, model.head_init,
        train.batch_size, train.total_steps, train.log_every, train.test_every,
    )  # fmt: skip
    assert (model.cell, model.forget_bias, model.init, model.readout) == ("lstm", 1.0, "glorot", "last")
    assert (train.learning_rate, train.schedule, train.clip_norm) == (1e-3, "constant", 0.0)


def test_the_stacked_tutorial_drops_every_layers_output():
    assert recipe.load("tutorial-stacked").model.dropout_on == "every"


def test_the_default_recipe_trains_on_at_most_100_000_samples():
    train = recipe.load("rows").train
    assert 0 < train.total_steps * train.batch_size <= 100_000


def test_training_stops_before_the_product_reaches_the_samples():
    assert recipe.load("rows", {"train.batch_size": 100, "train.samples": 1000}).train.total_steps == 9


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_printed_as_toml_is_restored(name):
    loaded = recipe.load(name)
    assert loaded.name == name
    assert recipe.parse(loaded.to_toml()) == loaded


def test_a_setting_changes_one_value():
    changed = recipe.load("rows", dict([recipe.parse_setting("train.batch_size=64")]))
    assert changed.train.batch_size == 64
    assert changed.model == recipe.load("rows").model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1", ("a.b", 1)),
        ("a=1e-3", ("a", 0.001)),
        ("a=true", ("a", True)),
        ("a=gru", ("a", "gru")),
        ('a="1"', ("a", "1")),
        ("data.name = /tmp/x=y", ("data.name", "/tmp/x=y")),
    ],
)
def test_settings_are_toml_values_or_text(text, expected):
    assert recipe.parse_setting(text) == expected


@pytest.mark.parametrize("text", ["train.batch_size", "=3", ""])
def test_a_setting_without_key_or_value_is_refused(text):
    with pytest.raises(UsageError, match="key=value"):
        recipe.parse_setting(text)


def test_a_recipe_with_a_base_contains_only_what_differs():
    loaded = recipe.parse('base = "digits"\nname = "mine"\n[model]\ncell = "gru"\n')
    assert (loaded.name, loaded.model.cell, loaded.train) == ("mine", "gru", recipe.load("digits").train)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.learning_rate", 0, "train.learning_rate must be > 0, got 0"),
        ("train.learning_rate", -1e-3, "train.learning_rate must be > 0, got -0.001"),
        ("train.learning_rate", float("nan"), "train.learning_rate must be finite, got nan"),
        ("train.learning_rate", float("inf"), "train.learning_rate must be"),
        ("train.learning_rate", 1e9, "train.learning_rate must be <= 10, got 1000000000.0"),
        ("train.learning_rate", "fast", "train.learning_rate must be a number, got 'fast'"),
        ("train.batch_size", 0, "train.batch_size must be >= 1, got 0"),
        ("train.batch_size", 1.5, "train.batch_size must be a whole number, got 1.5"),
        ("train.batch_size", True, "train.batch_size must be a whole number, got True"),
        ("train.steps", -1, "train.steps must be >= 0, got -1"),
        ("train.samples", 0, "exactly one of train.samples and train.steps must be above 0, got 0 and 0"),
        ("train.samples", 3, "train.samples must be above train.batch_size"),
        ("train.patience", 3, None),
        ("model.hidden_size", 0, "model.hidden_size must be >= 1, got 0"),
        ("model.dropout", 1, "model.dropout must be < 1, got 1"),
        (
            "model.cell",
            "lstn",
            "model.cell must be one of .*'rnn', 'gru-reset-before', got 'lstn'; did you mean 'lstm'",
        ),
        ("train.bach_size", 3, "unknown key 'train.bach_size'; did you mean 'train.batch_size'"),
        ("batch_size", 3, "unknown key 'batch_size'; did you mean 'train.batch_size'"),
        ("train.readout", "mean", "unknown key 'train.readout'; did you mean 'model.readout'"),
        ("trian.batch_size", 3, "unknown key 'trian'; did you mean 'train'"),
        ("seed.x", 3, "unknown setting 'seed.x'"),
        ("train", 3, "train must be a section"),
    ],
)
def test_an_invalid_value_is_refused_with_the_rule(key, value, message):
    if message is None:
        assert recipe.load("rows", {key: value}).train.patience == value
        return
    with pytest.raises(UsageError, match=message) as caught:
        recipe.load("rows", {key: value})
    assert "\n" not in str(caught.value)


def lengths(actual):
    return actual.train.samples, actual.train.steps, actual.train.epochs


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"train.steps": 400}, (0, 400, 0)),
        ({"train.samples": 400}, (400, 0, 0)),
        ({"train.samples": 400, "train.steps": 30}, (0, 30, 0)),
        ({"train.steps": 30, "train.samples": 400}, (400, 0, 0)),
        ({"train.samples": 0, "train.steps": 30}, (0, 30, 0)),
        ({"train.steps": 30, "train.samples": 0}, (0, 30, 0)),
        ({"train.epochs": 7, "train.steps": 30}, (0, 30, 7)),
        ({"train.steps": 30, "train.epochs": 7}, (0, 30, 7)),
        ({"train.epochs": 7}, (100_000, 0, 7)),
    ],
)
def test_a_length_in_the_settings_replaces_the_lengths_of_the_recipe(settings, expected):
    assert lengths(recipe.load("sequences", settings)) == expected


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ("steps = 400", (0, 400, 0)),
        ("samples = 400", (400, 0, 0)),
        ("steps = 400\nepochs = 7", (0, 400, 7)),
        ("epochs = 7", (100_000, 0, 7)),
        ("batch_size = 32", (100_000, 0, 100)),
    ],
)
def test_a_length_in_a_recipe_replaces_the_lengths_of_its_base(train, expected):
    assert lengths(recipe.parse(f'base = "sequences"\n[train]\n{train}\n')) == expected


def test_two_lengths_in_one_recipe_contradict_each_other():
    with pytest.raises(UsageError, match=r"exactly one of train\.samples and train\.steps must be above 0"):
        recipe.parse('base = "rows"\n[train]\nsteps = 5\nsamples = 400\n')


def test_all_faults_are_shown_at_once():
    with pytest.raises(UsageError) as caught:
        recipe.load("rows", {"train.batch_size": 0, "model.cell": "x", "train.lerning_rate": 1, "seed": -1})
    for name in (
        "train.batch_size must",
        "model.cell must",
        "did you mean 'train.learning_rate'",
        "seed must",
    ):
        assert name in str(caught.value)


def test_a_recipe_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "own.toml").write_text('\ufeffbase = "rows"\n', encoding="utf-8")
    assert recipe.load(str(tmp_path / "own.toml")) == recipe.load("rows")


def test_a_training_without_length_is_reported_with_the_other_faults():
    with pytest.raises(UsageError, match=r"batch_size must be >= 1, got 0; exactly one of train\.samples"):
        recipe.load("rows", {"train.samples": 0, "train.batch_size": 0})


def test_dropout_between_layers_is_refused_for_a_single_layer():
    with pytest.raises(UsageError, match=r"model\.dropout must be 0 for a single layer"):
        recipe.load("rows", {"model.dropout": 0.5})
    assert recipe.load("rows", {"model.dropout": 0.5, "model.layers": 2})


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(
        UsageError, match=r"unknown recipe 'rosw': expected one of audio, digits, rows,.* did you mean 'rows'"
    ):
        recipe.load("rosw")


def test_an_unknown_base_is_refused():
    with pytest.raises(UsageError, match="base must be one of"):
        recipe.parse('base = "nothing"')


def test_a_missing_key_is_named():
    text = recipe.load("rows").to_toml().replace("clip_norm = 1.0\n", "")
    with pytest.raises(UsageError, match=r"train\.clip_norm is missing"):
        recipe.parse(text)


def test_text_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = \n")
    with pytest.raises(UsageError, match=r"mine\.toml is not valid TOML: .*line 1"):
        recipe.load(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "TOML in UTF-8"), (b"#" * (2**20 + 1), "LIMIT_RECIPE_BYTES")],
)
def test_a_file_that_cannot_be_a_recipe_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        recipe.load(str(path))


def test_a_missing_recipe_file_is_named():
    with pytest.raises(UsageError, match=r"cannot read the recipe nowhere\.toml: No such file"):
        recipe.load("nowhere.toml")


@pytest.mark.parametrize(
    "digits", ["0x" + "f" * 5000, "0o" + "7" * 5000, "0x8000000000000000", "-9223372036854775809"]
)
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("seed = {}", "seed"),
        ("base = {}", "base"),
        ('base = "rows"\n[model]\ncell = {}', "model.cell"),
        ('base = "rows"\ndata.feature_columns = [["a", {}]]', "data.feature_columns"),
    ],
)
def test_a_whole_number_beyond_tomls_range_is_refused(line, key, digits):
    with pytest.raises(UsageError, match=rf"recipe: {key}: expected whole numbers from") as caught:
        recipe.parse(line.format(digits))
    assert len(str(caught.value)) < 200


def test_a_setting_beyond_tomls_range_is_refused():
    with pytest.raises(UsageError, match=r"setting: train\.steps: expected whole numbers from"):
        recipe.parse_setting("train.steps=0x" + "f" * 5000)
    with pytest.raises(UsageError, match=r"recipe rows: train\.steps: expected whole numbers from"):
        recipe.load("rows", {"train.steps": 16**5000})
    assert recipe.load("rows", {"seed": 2**63 - 1}).seed == 2**63 - 1


@pytest.mark.parametrize("key", ["base", "data.shape", "data.picture", "input.view", "model.cell", "name"])
def test_a_long_value_is_shortened_in_the_message(key):
    with pytest.raises(UsageError, match=f"{key} .*got 'xxx") as caught:
        recipe.parse(('base = "rows"\n' if key != "base" else "") + f'{key} = "{"x" * 200_000}"')
    assert len(str(caught.value)) < 300


def test_characters_that_control_a_terminal_are_escaped_in_toml_and_restored():
    about = "a\u202eb\u200f\x1b[31m\x85\ufff9\u2028\ttab\nGröße"
    changed = recipe.load("rows").model_copy(update={"about": about})
    text = changed.to_toml()
    assert r"a\u202eb\u200f\u001b[31m\u0085\ufff9\u2028" in text
    assert "Größe" in text
    assert tomllib.loads(text)["about"] == about
    assert recipe.parse(text) == changed


def test_a_file_of_size_0_is_read_as_empty_without_opening_it(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.touch()
    monkeypatch.setattr(Path, "open", None)
    assert recipe.read_tree(path) == {}


def test_a_file_that_grew_is_read_only_up_to_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"#" * 2**22)
    status = os.stat_result([*path.stat()[:6], 100, *path.stat()[7:]])
    monkeypatch.setattr(Path, "stat", lambda *_, **__: status)
    with pytest.raises(UsageError, match="found 262,145;"):
        recipe.read_tree(path)
