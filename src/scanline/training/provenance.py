"""Which data a run was trained on, as its recipe says; also for recipes of other versions."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from scanline.errors import ModelError, UsageError
from scanline.model.model_files import MEMBERS
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings, SplitSettings, read_tree

DATA_FILE = "data.toml"  # beside the model of an ensemble: the sections "data" and "split" of its members


def trained_on(path: Path) -> tuple[DataSettings, SplitSettings] | None:
    """Return where the data of a run are and how they were split.

    Only these sections of the recipe are read, as it may have been written by another version.

    Args:
        path: A run directory, a model folder, or that of an ensemble or of one of its members.

    Returns:
        The two sections of the recipe; None for a model folder, which has none.

    Raises:
        ModelError: If the recipe names no data.
    """
    recipe = path / "recipe.toml"
    if not recipe.is_file():
        ensemble = path.parent.parent if path.parent.name == MEMBERS else path
        recipe = ensemble / DATA_FILE
    if not recipe.is_file():
        return None
    try:
        tree = read_tree(recipe)
        default = DEFAULT_DATA.model_copy(update={"name": str(tree["data"]["name"])})
        try:
            return DataSettings.model_validate(tree["data"]), SplitSettings.model_validate(tree["split"])
        except (ValidationError, KeyError):
            return default, DEFAULT_SPLIT
    except (UsageError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{recipe} is damaged: it names no data ({' '.join(str(error).split())}); "
            "give the data with --data"
        ) from error
