"""The base of all sections of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section of a recipe, which cannot be changed after it has been validated."""

    # Unknown keys are errors, since a misspelt key would silently leave another value in effect.
    model_config = ConfigDict(extra="forbid", frozen=True)
