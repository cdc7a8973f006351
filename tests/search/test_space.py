"""The table [search]: choices and ranges of settings, and what is refused."""

from __future__ import annotations

import tomllib

import pytest

from scanline import recipe as recipes
from scanline.errors import UsageError
from scanline.search.space import Choices, Range, Space, read_space

RECIPE = recipes.load("sequences")


def read(text: str) -> Space:
    return read_space(tomllib.loads(text), RECIPE, "my.toml")


def test_choices_and_ranges_are_read():
    space = read(
        '"model.cell" = ["lstm", "gru"]\n"model.hidden_size" = {low = 8, high = 64, step = 8}\n'
        '"train.learning_rate" = {low = 1e-4, high = 1, log = true}\n"train.noise" = {low = 0, high = 0.5}'
    )
    assert space.parameters == {
        "model.cell": Choices(("lstm", "gru")),
        "model.hidden_size": Range(8, 64, step=8),
        "train.learning_rate": Range(0.0001, 1.0, log=True),
        "train.noise": Range(0.0, 0.5),
    }
    assert isinstance(space.parameters["train.learning_rate"].high, float)
    assert space.words()["model.hidden_size"] == "8 to 64, step 8"


def test_a_range_of_a_real_number_may_be_written_with_whole_ones():
    space = read('"train.noise" = {low = 0, high = 1}\n"seed" = {low = 0, high = 1}')
    assert space.parameters == {"train.noise": Range(0.0, 1.0), "seed": Range(0, 1)}
    assert not space.parameters["train.noise"].whole
    assert space.parameters["seed"].whole


def test_keys_may_be_tables():
    assert read("[model]\nlayers = [1, 2]\n[train]\nnoise = [0.0, 0.1]") == read(
        '"model.layers" = [1, 2]\n"train.noise" = [0.0, 0.1]'
    )


def test_a_space_is_restored_from_json():
    space = Space(
        {"model.layers": Choices((1, 2)), "train.noise": Range(0.0, 0.5), "seed": Range(1, 9, True)},
        first=({"model.layers": 2},),
    )
    again = Space.from_json(space.to_json())
    assert again == space
    assert again.digest() == space.digest()
    assert Space(space.parameters).digest() != space.digest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"my.toml: \[search\] is empty: name settings, such as"),
        (
            '"model.hiden_size" = [1, 2]',
            "unknown setting 'model.hiden_size'; did you mean 'model.hidden_size'",
        ),
        ("[model]\nlayer = [1, 2]", "unknown setting 'model.layer'; did you mean 'model.layers'"),
        ('"split.test" = [0.1, 0.2]', "must not have split.test: all trials share the data"),
        ('"data.name" = ["a", "b"]', "must not have data.name"),
        ('task = ["classification"]', "must not have task"),
        ('"model.layers" = 3', "model.layers must be a list of choices, or a range such as"),
        ('"model.layers" = {low = 1}', "must be a list of choices, or a range"),
        ('"model.layers" = {low = 1, high = 3, steps = 1}', "must be a list of choices, or a range"),
        ('"model.layers" = []', "must have 1 to 1,000 choices, got 0"),
        ('"model.layers" = [1, [2]]', r"choices must be numbers, text, true or false, got \[2\]"),
        ('"train.noise" = [0.1, nan]', "choices must be numbers, text, true or false, got nan"),
        ('"model.layers" = [1, 2, 1]', "choices must differ"),
        ('"model.layers" = {low = 3, high = 1}', "low must be below high, got 3 and 1"),
        ('"model.layers" = {low = 2, high = 2}', "low must be below high, got 2 and 2"),
        (
            '"train.noise" = {low = 0.0, high = 1.0, log = true}',
            "low must be above 0 with log = true, got 0.0",
        ),
        ('"train.noise" = {low = 0.0, high = inf}', "high must be a number, got inf"),
        ('"train.noise" = {low = "0", high = 1}', "low must be a number, got '0'"),
        ('"train.noise" = {low = 0.1, high = 0.5, log = 1}', "log must be true or false, got 1"),
        ('"train.noise" = {low = 0.1, high = 0.5, step = 2}', "step is for ranges of whole numbers"),
        ('"model.layers" = {low = 1, high = 3, step = 0}', "step must be a whole number above 0, got 0"),
        (
            '"model.layers" = [1, 99]',
            "searched setting model.layers with these settings: model.layers must be <=",
        ),
        ('"model.cell" = ["lstm", "rnnn"]', "model.cell must be one of"),
        ('"model.dropout" = {low = 0.1, high = 1.5}', "model.dropout must be <"),
        ('"model.hidden_size" = {low = 1.5, high = 3.0}', "model.hidden_size must be"),
    ],
)
def test_a_faulty_space_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_choices_that_only_contradict_other_settings_are_left_to_the_trials():
    one_layer = recipes.load("sequences", {"model.dropout_on": "between", "model.layers": 2})
    space = read_space({"model.layers": [1, 2]}, one_layer, "my.toml")
    assert space.parameters == {"model.layers": Choices((1, 2))}
    both = {"model.layers": [1, 2], "model.dropout_on": ["between", "every"]}
    assert list(read_space(both, RECIPE, "my.toml").parameters) == list(both)
    with pytest.raises(UsageError, match=r"model\.dropout must be 0 for a single layer"):
        read_space({"model.dropout_on": ["between", "every"]}, RECIPE, "my.toml")
