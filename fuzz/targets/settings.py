"""Targets that read recipes and settings."""

from __future__ import annotations

from pathlib import Path

from fuzz.mutators import Files
from fuzz.targets.base import _only


def _recipes() -> list[Files]:
    from scanline import recipe

    own = b'base = "rows"\nname = "own"\n[model]\nhidden_size = 16\n[train]\nsamples = 0\nsteps = 10\n'
    return [{"it.toml": own}] + [{"it.toml": recipe.load(name).to_toml().encode()} for name in recipe.names()]


def _read_recipe(folder: Path) -> None:
    from scanline import recipe

    path = _only(folder)
    plan = recipe.load(str(path))
    recipe.parse(plan.to_toml())  # what is read can be written and read again


def _settings() -> list[Files]:
    said = (
        "train.batch_size=64",
        "name=x",
        "model.cell=gru",
        'data.feature_columns=["a", "b"]',
        "seed = 3",
        "x.y=z",
    )
    return [{"it.txt": each.encode()} for each in said]


def _read_setting(folder: Path) -> None:
    from scanline import recipe

    key, value = recipe.parse_setting(_only(folder).read_text("utf-8", "replace"))
    recipe.load("rows", {key: value})
