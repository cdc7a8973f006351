"""Recipes: the complete, validated settings of a training run, read from TOML and written back to TOML.

There are no hidden defaults: a recipe either contains every key, or names the recipe that it is based on
(`base = "rows"`) and contains only the keys that differ.
"""

from scanline.recipe.reading import (
    change_data_settings,
    load,
    load_search,
    names,
    parse,
    parse_setting,
    read_tree,
)
from scanline.recipe.sections import (
    DEFAULT,
    DEFAULT_DATA,
    DEFAULT_SPLIT,
    DataSettings,
    InputSettings,
    Recipe,
    SplitSettings,
    TrainSettings,
    keys,
)
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
    ViewName,
    check_view,
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
    "TrainSettings",
    "ViewName",
    "change_data_settings",
    "check_view",
    "keys",
    "load",
    "load_search",
    "names",
    "parse",
    "parse_setting",
    "read_tree",
]
