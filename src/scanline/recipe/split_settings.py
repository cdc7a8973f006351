"""The recipe section `split`: how splits are drawn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from scanline.recipe.section import Section
from scanline.recipe.values import CountOrOff, Flag, Fraction


class SplitSettings(Section):
    """How to draw the splits that the source does not have."""

    validation: Fraction = Field(
        description="validation split as a fraction of the sequences not in the test split; 0: none"
    )
    test: Fraction = Field(
        description="test split as a fraction of all sequences, if the source has none; 0: none"
    )
    seed: CountOrOff = Field(description="seed of the splits, independent of the seed of the run")
    # Recipes of older versions have none of the following.
    folds: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=0,
        description="number of parts of the training and validation sequences, by class or by group, one of "
        "which is the validation split; 0: `validation` decides",
    )
    fold: CountOrOff = Field(default=0, description="number of that part, from 0")
    use_validation: Flag = Field(
        default=True,
        description="keep a validation split; false: train on its sequences, too",
    )
    use_test: Flag = Field(
        default=True, description="test the model at the end; false: the test split is not read"
    )

    @model_validator(mode="after")
    def _folds_are_whole(self) -> SplitSettings:
        if self.folds == 1:
            raise ValueError("split.folds must be 0 or at least 2, got 1")
        if self.fold >= max(1, self.folds):
            expected = f"below split.folds ({self.folds})" if self.folds else "0 without split.folds"
            raise ValueError(f"split.fold must be {expected}, got {self.fold}")
        if self.folds and not self.use_validation:
            raise ValueError("split.folds must be 0 if split.use_validation is false")
        return self


# The splits of the shipped recipes.
DEFAULT_SPLIT = SplitSettings(validation=0.1, test=0.2, seed=0)
