"""The recipe section `input`: how data are converted to steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scanline.recipe.section import Section
from scanline.recipe.values import (
    CountOrOff,
    Extent,
    Fraction,
    Missing,
    PositiveOrOff,
    Seconds,
    ViewName,
    parse_extent,
)


class InputSettings(Section):
    """How the data is converted to the steps that the network reads; saved with the model."""

    view: ViewName = Field(
        description="steps of a picture: rows, columns, pixels, permuted, or patches:k of k x k pixels"
    )
    permutation_seed: CountOrOff = Field(description="seed of the view permuted")
    features: CountOrOff = Field(description="features per step; 0: as given by the view or the data")
    missing: Missing = Field(description="how missing values are replaced; error: refuse them")
    # Recipes of older versions have no minimum count.
    minimum_count: Annotated[int, Field(strict=True, ge=1, le=10**9)] = Field(
        default=1,
        description="how often a category must occur in the training split; rarer ones are read as unknown",
    )
    scaling: Literal["levels", "standard", "none"] = Field(
        description="levels: divide by the largest pixel value; standard: scale each feature to mean 0 and "
        "standard deviation 1 over the training steps; none: do not scale"
    )
    # Recipes of older versions have no windows.
    window: Extent = Field(
        default="",
        description="length of the windows that sequences are cut into: steps, such as 250, or a time, such "
        "as 5s, which needs a time column or WAV files; predictions are joined; empty: whole sequences",
    )
    stride: Extent = Field(
        default="",
        description="from the beginning of a window to that of the next one, at most the window; empty: the "
        "window",
    )
    # Recipes of older versions have none of the following, which concern recordings only.
    mels: Annotated[int, Field(strict=True, ge=2, le=256)] = Field(
        default=40, description="recordings: bands of frequencies, equally wide on the mel scale"
    )
    window_seconds: Seconds = Field(default=0.025, description="recordings: length of the window of a step")
    hop_seconds: Seconds = Field(default=0.01, description="recordings: time from one step to the next")
    lowest_hz: PositiveOrOff = Field(default=0.0, description="recordings: lowest frequency")
    highest_hz: PositiveOrOff = Field(
        default=0.0, description="recordings: highest frequency; 0: half the sample rate"
    )
    pre_emphasis: Fraction = Field(
        default=0.0,
        description="recordings: fraction of the sample before that is subtracted from each sample; 0: none",
    )
    level: Literal["peak", "mean", "none"] = Field(
        default="peak",
        description="recordings: what is subtracted from the logarithms; peak: that of the energy of the "
        "loudest window; mean: of each band its mean over the recording; none: nothing",
    )
    range_db: PositiveOrOff = Field(
        default=0.0,
        description="recordings: energies so far below that of the loudest window are raised to this level; "
        "0: no limit",
    )

    @model_validator(mode="after")
    def _windows_overlap(self) -> InputSettings:
        if not self.stride:
            return self
        if not self.window:
            raise ValueError("input.stride needs input.window, got input.stride alone")
        window, stride = parse_extent(self.window), parse_extent(self.stride)
        # Steps and seconds are compared when the time between steps is known.
        if type(window) is type(stride) and stride > window:
            raise ValueError(
                f"input.stride must be at most input.window ({self.window}), or steps would be left out, "
                f"got {self.stride}"
            )
        return self
