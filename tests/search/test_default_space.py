"""What is searched by default, and what trials are validated on: chosen by what the data are."""

from __future__ import annotations

import numpy as np
import pytest

import scanline
from scanline import recipe as recipes
from scanline.data.dataset import ALL, Dataset
from scanline.data.memory import MemorySource
from scanline.recipe import Recipe
from scanline.search.request import Request, define
from scanline.search.space import Space
from scanline.search.validation import choose_validation


def values(n: int, steps: int, features: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, steps, features)).astype(np.float32)


def space_of(data: scanline.Arrays, **settings: object) -> tuple[Space, Recipe]:
    definition, _ = define(Request(data=data, settings=settings, trials=1, workers=0), None)
    return definition.space, definition.base()


def arrays(n: int, steps: int, features: int = 1) -> scanline.Arrays:
    return scanline.Arrays(values(n, steps, features), np.arange(n) % 2)


def test_pictures_are_turned_and_shifted_and_not_scaled():
    pictures = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    space, recipe = space_of(scanline.Arrays(pictures, np.arange(60) % 2))
    assert recipe.name == "rows"
    assert set(space.parameters["input.view"].values) == {"rows", "columns"}
    assert 0 in space.parameters["train.shift"].values
    assert not {"train.noise", "input.scaling", "input.features", "train.epochs"} & set(space.parameters)
    assert space.first == ()


def test_long_series_are_cut_into_steps_of_several_values():
    space, _ = space_of(arrays(80, 240))
    # Into about 96, 48 and 24 steps.
    assert space.parameters["input.features"].values == (0, 3, 5, 10)
    assert {"train.noise", "input.scaling"} <= set(space.parameters)
    assert any("input.features" in first for first in space.first)


def test_steps_of_several_features_are_cut_whole():
    space, _ = space_of(arrays(80, 240, 3))
    assert space.parameters["input.features"].values == (0, 9, 15, 30)


@pytest.mark.parametrize("steps", [20, 61])
def test_short_series_and_prime_lengths_are_not_cut(steps):
    space, _ = space_of(arrays(80, steps))
    assert "input.features" not in space.parameters
    assert not any("input.features" in first for first in space.first)


def test_a_width_of_the_recipe_is_kept():
    space, _ = space_of(arrays(80, 240), **{"input.features": 8})
    assert "input.features" not in space.parameters


def test_few_sequences_may_be_trained_for_longer():
    few, recipe = space_of(arrays(30, 20))
    assert few.parameters["train.epochs"].values == (recipe.train.epochs, 2 * recipe.train.epochs)
    many, _ = space_of(arrays(2000, 5))
    assert "train.epochs" not in many.parameters


def test_the_settings_of_the_recipe_are_in_the_space_and_each_setting_has_several_values():
    own = {"model.hidden_size": 17, "train.batch_size": 9, "train.noise": 0.7, "model.dropout": 0.0}
    space, recipe = space_of(arrays(60, 240), **own)
    for key, value in own.items():
        assert value in space.parameters[key].values
    rate = space.parameters["train.learning_rate"]
    assert rate.log
    assert rate.low < recipe.train.learning_rate < rate.high
    space.check(recipe, "the default space")
    between = {"model.dropout_on": "between", "model.dropout": 0.0}
    assert "model.dropout" not in space_of(arrays(60, 10), **between)[0].parameters


def test_the_first_trials_are_legal():
    space, recipe = space_of(arrays(30, 240))
    assert space.first
    for settings in space.first:
        recipes.parse(recipe.to_toml(), "a first trial", dict(settings))


# --- validation


def made_up(n: int, classes: int = 2, steps: int = 10) -> Dataset:
    names = tuple(range(classes))
    return Dataset(
        "made up", {ALL: MemorySource.from_array(values(n, steps), np.arange(n) % classes, names, "x")}
    )


RECIPE = recipes.load("sequences")


def test_few_sequences_are_validated_in_folds_and_many_on_one_split():
    assert choose_validation(RECIPE, made_up(100), None) == (4, 0.0)
    assert choose_validation(RECIPE, made_up(450), None) == (0, 0.3)
    assert choose_validation(RECIPE, made_up(1_500), None) == (0, 0.25)
    assert choose_validation(RECIPE, made_up(9_000), None) == (0, 0.1)


def test_folds_that_take_long_are_not_chosen():
    assert choose_validation(RECIPE, made_up(200, steps=2_000), None) == (0, 0.3)
    assert choose_validation(RECIPE, made_up(200, steps=2_000), 5) == (5, 0.0)


def test_what_is_asked_for_is_done():
    assert choose_validation(RECIPE, made_up(9_000), 3) == (3, 0.0)
    assert choose_validation(RECIPE, made_up(100), 0) == (0, 0.3)
    larger = recipes.load("sequences", {"split.validation": 0.4})
    assert choose_validation(larger, made_up(9_000), 0) == (0, 0.4)


def test_a_validation_split_of_the_data_is_used():
    whole = made_up(40).splits[ALL]
    data = Dataset("x", {"train": whole, "validation": whole})
    assert choose_validation(RECIPE, data, None) == (0, 0.0)
    assert choose_validation(RECIPE, data, 3) == (3, 0.0)


@pytest.mark.parametrize(("n", "classes", "folds"), [(12, 3, 3), (9, 3, 2), (8, 4, 0)])
def test_fewer_folds_are_drawn_where_classes_are_small(n, classes, folds):
    assert choose_validation(RECIPE, made_up(n, classes), None)[0] == folds


def test_the_default_space_is_a_function_of_recipe_and_data():
    assert space_of(arrays(80, 240)) == space_of(arrays(80, 240))
