"""The sections of a recipe: every key, what it means, and what it may be."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from scanline import cells
from scanline.errors import UNPRINTABLE, UsageError, did_you_mean, quoted
from scanline.limits import limit_of


def _known_cell(name: str) -> str:
    """Return `name` if it is a cell's; raise the error of a closed list or say why it cannot be loaded."""
    try:
        return cells.get(name).name
    except UsageError as error:
        known = cells.names()
        if name in known:
            raise ValueError(str(error)) from error
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, known))}) from None


Count = Annotated[int, Field(strict=True, ge=1)]
Size = Annotated[int, Field(strict=True, ge=1, le=max(map(limit_of, ("UNITS", "FEATURES", "CLASSES"))))]
CountOrOff = Annotated[int, Field(strict=True, ge=0)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PositiveOrOff = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Layers = Annotated[int, Field(strict=True, ge=1, le=limit_of("LAYERS"))]
Cell = Annotated[str, Field(strict=True), AfterValidator(_known_cell)]
DropoutOn = Literal["between", "every"]
Readout = Literal["last", "mean", "max"]
Flag = Annotated[bool, Field(strict=True)]


Text = Annotated[str, Field(strict=True, max_length=4096)]
# A column may be called 5, and `--set data.label_column=5` reads as a number.
Column = Annotated[
    str, BeforeValidator(lambda name: str(name) if type(name) is int else name), Field(strict=True)
]
Missing = Literal["error", "forward-fill", "zero", "mean"]

DEFAULT = "rows"
VIEWS = ("rows", "columns", "pixels", "permuted", "patches:4")
ONE_LENGTH = "exactly one of train.samples and train.steps must be above 0, got {} and {}"


def check_view(text: str) -> str:
    """`text`, if it names a view. Raises ValueError naming those there are."""
    if text in VIEWS or re.fullmatch(r"patches:[1-9]\d{0,3}", text):
        return text
    raise ValueError(
        f"input.view must be one of {', '.join(VIEWS[:-1])} or patches:k, got {quoted(text)}"
        + did_you_mean(text, VIEWS)
    )


ViewName = Annotated[str, Field(strict=True), AfterValidator(check_view)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """Where the sequences come from and how they are written down there. Empty: as the source says."""

    name: Text = Field(description="data set or path; empty: MNIST if it can be had, otherwise digits")
    test: Text = Field(description="path of the test part, where the source has none of its own")
    validation: Text = Field(description="path of the validation part, likewise")
    shape: Literal["", "long", "wide"] = Field(
        description="of a table: long has a row for each step, wide a row for each sequence"
    )
    id_column: Column = Field(description="names the sequence that a row belongs to")
    time_column: Column = Field(description="orders the rows of a sequence")
    label_column: Column
    length_column: Column = Field(description="of a wide table: how many steps of a row are real")
    group_column: Column = Field(description="sequences of one group stay in one part")
    split_column: Column = Field(description="says train, validation or test")
    feature_columns: tuple[Column, ...] = Field(description="in this order; empty: all other columns")
    picture: Text = Field(
        description="height x width to which pictures are fitted, as 28x28; none: bytes are no pictures"
    )
    colour: Flag = Field(description="pictures keep red, green and blue; otherwise they become grey")
    fit: Literal["", "ink", "contain", "cover", "stretch"] = Field(
        description="how a picture fills the frame: its ink sized and centred, whole with a margin, cut, or "
        "distorted; empty: ink for IDX files, contain for others"
    )

    @field_validator("picture")
    @classmethod
    def _size(cls, text: str) -> str:
        if text in ("", "none") or re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", text):
            return text
        raise ValueError(f"data.picture must be height x width, as 28x28, or none, got {quoted(text)}")

    @model_validator(mode="after")
    def _ink_is_grey(self) -> DataSettings:
        if self.colour and self.fit == "ink":
            raise ValueError('data.fit "ink" finds grey ink: set data.colour to false, or another data.fit')
        return self

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) that `picture` names, or None."""
        if self.picture in ("", "none"):
            return None
        height, _, width = self.picture.partition("x")
        return int(height), int(width)


# Data of which nothing was said.
UNSAID = DataSettings(
    name="",
    test="",
    validation="",
    shape="",
    id_column="",
    time_column="",
    label_column="",
    length_column="",
    group_column="",
    split_column="",
    feature_columns=(),
    picture="",
    colour=False,
    fit="",
)


class SplitSettings(_Section):
    """What is held out where the source does not say."""

    validation: Share = Field(description="of the sequences that do not test; 0: no validation part")
    test: Share = Field(description="of all sequences, where there is no test part; 0: none")
    seed: CountOrOff = Field(description="draws the parts; the run's own seed does not touch them")


# How sources are split where nothing was said of it.
UNSPLIT = SplitSettings(validation=0.1, test=0.2, seed=0)


class InputSettings(_Section):
    """How what was read becomes the steps that the network sees; kept with the model."""

    view: ViewName = Field(
        description="of pictures: rows, columns, pixels, permuted, or patches:k of k x k pixels"
    )
    permutation_seed: CountOrOff = Field(description="of the view permuted")
    features: CountOrOff = Field(description="values a step; 0: as wide as the view's or the data's steps")
    missing: Missing = Field(description="what stands in for a missing value; error: nothing does")
    scaling: Literal["levels", "standard", "none"] = Field(
        description="levels: by the largest value of a pixel; standard: each feature to mean 0 and "
        "deviation 1 over the training steps"
    )


class ModelSettings(_Section):
    """The network and what its weights start from."""

    cell: Cell
    layers: Layers
    hidden_size: Size = Field(description="units in each layer and direction")
    bidirectional: Flag
    classes: CountOrOff = Field(description="outputs; 0: as many as the data has classes")
    dropout: Share = Field(description="share of outputs set to 0 in training")
    dropout_on: DropoutOn = Field(
        description="between: all layers' outputs but the last's, as torch; every: as TensorFlow's wrapper"
    )
    forget_bias: Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]
    init: Literal["glorot", "orthogonal"] = Field(
        description="glorot: TensorFlow 1's, over the joined kernel; orthogonal: the recurrent weights are"
    )
    head_init: Literal["standard-normal", "truncated-normal", "xavier"]
    readout: Readout = Field(description="which outputs the answer is read from")

    @model_validator(mode="after")
    def _dropout_reaches_something(self) -> ModelSettings:
        if self.dropout and self.dropout_on == "between" and self.layers == 1:
            raise ValueError(
                'model.dropout finds nothing between the layers of one: set model.dropout_on to "every"'
            )
        return self


class TrainSettings(_Section):
    """The optimisation, what computes it, and how often it is looked at."""

    backend: Literal["auto", "native", "torch"] = Field(
        description="native: Scanline's own library or an error; torch: torch's path; auto: native if at hand"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        description="of the LSTM's products in training; answers are always computed in float32"
    )
    batch_size: Size
    bucket: CountOrOff = Field(
        description="so many batches are drawn together and sorted by length, so that alike ones travel "
        "together; 0: not"
    )
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: each class counts as much as the others, however many sequences it has"
    )
    samples: CountOrOff = Field(description="train while step x batch_size < samples; 0: use steps")
    steps: CountOrOff = Field(description="train for so many steps; 0: use samples")
    epochs: CountOrOff = Field(
        description="but see no training sequence more often than so many times; 0: as often as that takes"
    )
    optimizer: Literal["adam", "tf1-adam"] = Field(
        description="tf1-adam: TensorFlow 1's, whose epsilon is added before the bias correction"
    )
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=10, allow_inf_nan=False)]
    schedule: Literal["constant", "one-cycle"]
    warmup: Share = Field(description="one-cycle: share of the steps in which the learning rate rises")
    shift: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        description="pictures move by up to so many pixels, differently at each sight; 0: not at all"
    )
    noise: PositiveOrOff = Field(
        description="deviation of the normal noise that scaled values get, new at each sight; 0: none"
    )
    clip_norm: PositiveOrOff = Field(description="largest norm of the gradient; 0: no clipping")
    log_every: CountOrOff = Field(description="steps between log lines; 0: none")
    validate_every: CountOrOff = Field(
        description="steps between looks at the validation part; 0: at the end"
    )
    test_every: CountOrOff = Field(description="steps between looks at the test part; 0: only at the end")
    checkpoint_every: Count = Field(description="steps between checkpoints")
    checkpoint_seconds: PositiveOrOff = Field(
        description="most seconds between checkpoints, however few the steps; 0: only the steps count"
    )
    keep_checkpoints: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        description="so many of the newest are kept, and that of the best validation besides"
    )
    patience: CountOrOff = Field(
        description="stop after so many validations without a better one, and keep the best; 0: never"
    )

    @model_validator(mode="after")
    def _one_length(self) -> TrainSettings:
        if (self.samples > 0) == (self.steps > 0):
            raise ValueError(ONE_LENGTH.format(self.samples, self.steps))
        if self.samples and self.total_steps == 0:
            raise ValueError(
                f"train.samples must be above train.batch_size for at least one step, got {self.samples} "
                f"with batches of {self.batch_size}"
            )
        if self.patience and not self.validate_every:
            raise ValueError("train.patience counts validations: set train.validate_every too")
        return self

    @property
    def total_steps(self) -> int:
        """How many steps a whole run has, if `epochs` does not end it before."""
        return self.steps or (self.samples - 1) // self.batch_size

    def limited(self, count: int) -> TrainSettings:
        """The same training for `count` sequences: where `epochs` ends it before, as so many steps."""
        most = -(-self.epochs * count // self.batch_size)
        if not self.epochs or self.total_steps <= most:
            return self
        return self.model_copy(update={"samples": 0, "steps": most, "epochs": 0})


class Recipe(_Section):
    """A complete recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    about: str
    seed: CountOrOff
    licence: Text = Field(description="of the model that comes out; empty: none is said")
    # Recipes written before there was a choice do not name the task.
    task: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")] = Field(
        default="classification", description="what the network predicts"
    )
    data: DataSettings
    split: SplitSettings
    input: InputSettings
    model: ModelSettings
    train: TrainSettings

    def to_toml(self) -> str:
        """The recipe as TOML text, every key named; `parse(text)` gives it back.

        What would do something to a terminal is escaped in it.
        """
        import tomli_w

        text = tomli_w.dumps(self.model_dump())
        return UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    """An unprintable character of TOML text. Line breaks and tabs are its own; surrogates it cannot name."""
    mark = found[0]
    return mark if mark in "\n\t" or "\ud800" <= mark <= "\udfff" else f"\\u{ord(mark):04x}"


def keys() -> list[str]:
    """Every legal dotted key: `seed`, `train.batch_size`, ..."""
    found: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            found += [f"{name}.{key}" for key in section.model_fields]
        else:
            found.append(name)
    return found
