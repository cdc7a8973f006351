"""Which data a run was trained on, as its recipe says; also for recipes of other versions."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from scanline.errors import ModelError, UsageError
from scanline.model.model_files import MEMBERS
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT, DataSettings, SplitSettings, read_tree
from scanline.storage.json_files import read_sealed_json, sealed_json

DATA_FILE = "data.json"  # beside the model of an ensemble: what `describe_data` returns
DATA_SCHEMA = 1


def trained_on(path: Path) -> tuple[DataSettings, SplitSettings] | None:
    """Return where the data of a run are and how they were split.

    Only these sections of the recipe are read, as it may have been written by another version.

    Args:
        path: A run directory, a model folder, or that of an ensemble or of one of its members.

    Returns:
        The two sections of the recipe; None for a model folder, which has none.

    Raises:
        ModelError: If the recipe names no data, or the file of an ensemble is damaged.
    """
    recipe = path / "recipe.toml"
    if not recipe.is_file():
        return _of_ensemble(path.parent.parent if path.parent.name == MEMBERS else path)
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


def describe_data(settings: DataSettings, split: SplitSettings) -> str:
    """Return the content of `data.json` of an ensemble: where the data of its members are.

    It is sealed: with another seed of the splits, training sequences would be taken for the test split.
    """
    sections = {"data": settings.model_dump(mode="json"), "split": split.model_dump(mode="json")}
    return sealed_json({"schema": DATA_SCHEMA, **sections})


def _of_ensemble(folder: Path) -> tuple[DataSettings, SplitSettings] | None:
    """Return where the data of an ensemble are; None if its folder does not say."""
    path = folder / DATA_FILE
    if not path.is_file():
        return None
    tree, remedy = read_sealed_json(path), "remove the file and name the data with --data"
    if tree.get("schema") != DATA_SCHEMA:
        raise ModelError(f"{path}: expected schema {DATA_SCHEMA}, found {tree.get('schema')!r}; {remedy}")
    try:
        return DataSettings.model_validate(tree.get("data")), SplitSettings.model_validate(tree.get("split"))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ModelError(f"{path} is damaged: {where}: {fault['msg']}; {remedy}") from None
