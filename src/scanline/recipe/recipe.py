"""A recipe as a whole: its sections and its own keys."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from scanline.errors import UNPRINTABLE
from scanline.recipe.data_settings import DataSettings
from scanline.recipe.input_settings import InputSettings
from scanline.recipe.model_settings import ModelSettings
from scanline.recipe.section import Section
from scanline.recipe.split_settings import SplitSettings
from scanline.recipe.train_settings import TrainSettings
from scanline.recipe.values import CountOrOff, Text

DEFAULT = "rows"


class Recipe(Section):
    """A complete recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    about: str = Field(description="what the recipe is for, in one line")
    seed: CountOrOff = Field(description="seed of the initialisation, the order of samples and augmentation")
    licence: Text = Field(description="licence of the trained model; empty: not stated")
    # Recipes of older versions have no task.
    task: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")] = Field(
        default="classification", description="what the network predicts"
    )
    data: DataSettings
    split: SplitSettings
    input: InputSettings
    model: ModelSettings
    train: TrainSettings

    def to_toml(self) -> str:
        """Return the recipe as TOML with every key; `parse` restores it.

        Characters that would control a terminal are escaped.
        """
        import tomli_w

        text = tomli_w.dumps(self.model_dump())
        # Escapes such as \u202e are valid in TOML strings, so the text still parses to the same recipe.
        return UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    """Escape an unprintable character, except line breaks, tabs, and surrogates, which TOML cannot escape."""
    character = match[0]
    kept = character in "\n\t" or "\ud800" <= character <= "\udfff"
    return character if kept else f"\\u{ord(character):04x}"


def keys() -> list[str]:
    """Return all legal dotted keys: `seed`, `train.batch_size`, ..."""
    dotted: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            dotted += [f"{name}.{key}" for key in section.model_fields]
        else:
            dotted.append(name)
    return dotted
