"""The recipe section `train`: the optimisation and its intervals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scanline.recipe.section import Section
from scanline.recipe.values import Count, CountOrOff, Fraction, PositiveOrOff, Size

ONE_LENGTH = "exactly one of train.samples and train.steps must be above 0, got {} and {}"


class TrainSettings(Section):
    """The optimisation, the backend, and the intervals of logging, evaluation and checkpoints."""

    backend: Literal["auto", "native", "torch"] = Field(
        description="native: Scanline's C++ library, or an error; torch: PyTorch; auto: native if available"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        description="precision of the LSTM's matrix products in training; predictions always use float32"
    )
    batch_size: Size = Field(description="sequences per batch")
    # Recipes of older versions have no slices.
    slices: Annotated[int, Field(strict=True, ge=1, le=4096)] = Field(
        default=1,
        description="parts of a batch whose gradients are added up in a fixed order, so that 1 to that many "
        "processes compute the same bits; 1: one part, on all threads",
    )
    bucket: CountOrOff = Field(
        description="number of batches drawn together and sorted by length, which reduces padding; 0: do not "
        "sort"
    )
    # Recipes of older versions have no window.
    window: Annotated[int, Field(strict=True, ge=1, le=4096)] = Field(
        default=8,
        description="row groups of packed data, of about 32 MB each, whose sequences are mixed; a "
        "quarter as many are read ahead; other data are mixed as a whole",
    )
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: all classes have the same total weight in the loss"
    )
    samples: CountOrOff = Field(description="train while step x batch_size < samples; 0: use steps")
    steps: CountOrOff = Field(description="number of training steps; 0: use samples")
    epochs: CountOrOff = Field(description="upper limit of passes over the training split; 0: no limit")
    optimizer: Literal["adam", "tf1-adam"] = Field(
        description="tf1-adam: Adam as in TensorFlow 1, which adds epsilon before the bias correction"
    )
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=10, allow_inf_nan=False)]
    schedule: Literal["constant", "one-cycle"] = Field(description="schedule of the learning rate")
    warmup: Fraction = Field(description="one-cycle: fraction of the steps in which the learning rate rises")
    shift: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        description="largest random shift of pictures, in pixels, drawn for each use; 0: none"
    )
    noise: PositiveOrOff = Field(
        description="standard deviation of normal noise added to scaled values, drawn for each use; 0: none"
    )
    # Recipes of older versions have no categories.
    unknown: Fraction = Field(
        default=0.0,
        description="probability that a category is read as an unknown one in training, drawn for each use",
    )
    # Recipes of older versions back-propagate through all steps.
    truncate: CountOrOff = Field(
        default=0,
        description="steps through which gradients flow back: longer sequences are read in spans of so many, "
        "states are carried on, and memory is that of a span; one update a batch; 0: all steps",
    )
    clip_norm: PositiveOrOff = Field(description="norm to which gradients are clipped; 0: no clipping")
    log_every: CountOrOff = Field(description="steps between log lines; 0: none")
    validate_every: CountOrOff = Field(
        description="steps between evaluations on the validation split; 0: only at the end"
    )
    test_every: CountOrOff = Field(
        description="steps between evaluations on the test split; 0: only at the end"
    )
    checkpoint_every: Count = Field(description="steps between checkpoints")
    checkpoint_seconds: PositiveOrOff = Field(
        description="longest time between checkpoints, in seconds; 0: no limit"
    )
    keep_checkpoints: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        description="number of newest checkpoints to keep, besides the one with the best validation score"
    )
    patience: CountOrOff = Field(
        description="stop after this many validations without improvement and keep the best weights; 0: never"
    )

    @model_validator(mode="after")
    def _one_length(self) -> TrainSettings:
        if (self.samples > 0) == (self.steps > 0):
            raise ValueError(ONE_LENGTH.format(self.samples, self.steps))
        if self.samples and self.total_steps == 0:
            raise ValueError(
                f"train.samples must be above train.batch_size ({self.batch_size}) for at least one step, "
                f"got {self.samples}"
            )
        if self.slices > self.batch_size:
            raise ValueError(
                f"train.slices must be at most train.batch_size ({self.batch_size}), got {self.slices}"
            )
        # validate_every = 0 validates once, at the end, when there is nothing left to stop.
        if self.patience and not self.validate_every:
            raise ValueError("train.patience needs train.validate_every above 0, got 0")
        return self

    @property
    def total_steps(self) -> int:
        """Number of steps of a complete run without the limit of `epochs`."""
        # The last step with step * batch_size < samples, counted from 1, as `samples` is documented.
        return self.steps or (self.samples - 1) // self.batch_size

    def limited(self, count: int) -> TrainSettings:
        """Return the settings with the limit of `epochs` applied.

        Args:
            count: Number of training sequences.

        Returns:
            Settings with `steps` in place of `samples` and `epochs` if that limit is reached first;
            otherwise these settings.
        """
        # Rounded up: the last batch of the last epoch may reach into an epoch that is not completed.
        limit = -(-self.epochs * count // self.batch_size)
        if not self.epochs or self.total_steps <= limit:
            return self
        # model_copy does not validate; the new values satisfy the rules of _one_length.
        return self.model_copy(update={"samples": 0, "steps": limit, "epochs": 0})
