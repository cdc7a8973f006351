"""Recipes: the complete, validated settings of a training run, read from TOML and written back to TOML.

There are no hidden defaults: a recipe either contains every key, or names the recipe that it is based on
(`base = "rows"`) and contains only the keys that differ.
"""

from scanline.recipe.data_settings import DEFAULT_DATA, DataSettings
from scanline.recipe.input_settings import InputSettings
from scanline.recipe.reading import (
    change_data_settings,
    load,
    load_search,
    names,
    parse,
    parse_setting,
    read_tree,
)
from scanline.recipe.recipe import DEFAULT, Recipe, keys
from scanline.recipe.split_settings import DEFAULT_SPLIT, SplitSettings
from scanline.recipe.train_settings import TrainSettings
from scanline.recipe.values import (
    Cell,
    CountOrOff,
    DropoutOn,
    Finite,
    Fraction,
    Layers,
    Missing,
    Readout,
    Size,
    TimeFeature,
    ViewName,
    check_view,
    parse_extent,
)

__all__ = [
    "DEFAULT",
    "DEFAULT_DATA",
    "DEFAULT_SPLIT",
    "Cell",
    "CountOrOff",
    "DataSettings",
    "DropoutOn",
    "Finite",
    "Fraction",
    "InputSettings",
    "Layers",
    "Missing",
    "Readout",
    "Recipe",
    "Size",
    "SplitSettings",
    "TimeFeature",
    "TrainSettings",
    "ViewName",
    "change_data_settings",
    "check_view",
    "keys",
    "load",
    "load_search",
    "names",
    "parse",
    "parse_extent",
    "parse_setting",
    "read_tree",
]
