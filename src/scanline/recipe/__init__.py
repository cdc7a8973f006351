"""What to train and how: one complete, validated value, read from TOML and written back to it.

Nothing has a hidden default: a recipe names every key, or names the recipe it is based on (`base = "rows"`)
and then only what differs.
"""

from scanline.recipe.reading import load, names, parse, parse_setting, read_tree
from scanline.recipe.sections import (
    DEFAULT,
    UNSAID,
    UNSPLIT,
    Cell,
    CountOrOff,
    DataSettings,
    DropoutOn,
    Finite,
    InputSettings,
    Layers,
    Missing,
    Readout,
    Recipe,
    Share,
    Size,
    SplitSettings,
    TrainSettings,
    ViewName,
    check_view,
    keys,
)

__all__ = [
    "DEFAULT",
    "UNSAID",
    "UNSPLIT",
    "Cell",
    "CountOrOff",
    "DataSettings",
    "DropoutOn",
    "Finite",
    "InputSettings",
    "Layers",
    "Missing",
    "Readout",
    "Recipe",
    "Share",
    "Size",
    "SplitSettings",
    "TrainSettings",
    "ViewName",
    "check_view",
    "keys",
    "load",
    "names",
    "parse",
    "parse_setting",
    "read_tree",
]
