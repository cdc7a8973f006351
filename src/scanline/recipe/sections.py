"""The sections of a recipe: every key with its meaning and its legal values."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from scanline.errors import UNPRINTABLE, quoted
from scanline.formats.text import is_number
from scanline.recipe.values import (
    Cell,
    Column,
    ColumnList,
    Count,
    CountOrOff,
    Decimal,
    DropoutOn,
    Encoding,
    Flag,
    Fraction,
    Layers,
    Missing,
    PadValue,
    Pattern,
    PositiveOrOff,
    Readout,
    Seconds,
    Separator,
    Size,
    Text,
    TimeFormat,
    ViewName,
    White,
)

DEFAULT = "rows"
ONE_LENGTH = "exactly one of train.samples and train.steps must be above 0, got {} and {}"


# Unknown keys are errors, since a misspelt key would silently leave another value in effect.
class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """Where the sequences come from and how to read them. Empty values are inferred from the source."""

    name: Text = Field(
        description="name of a data set, or path; empty: MNIST if it is available, otherwise digits"
    )
    test: Text = Field(description="path of the test split, if the source has none")
    validation: Text = Field(description="path of the validation split, if the source has none")
    shape: Literal["", "long", "wide"] = Field(
        description="shape of a table; long: one row for each step; wide: one row for each sequence"
    )
    id_column: Column = Field(description="column that identifies the sequence of a row")
    time_column: Column = Field(description="column by which the rows of a sequence are sorted")
    label_column: Column = Field(description="column with the labels")
    targets: Literal["", "classes", "numbers", "step-classes"] = Field(
        description="what labels are; classes: integers or text that name classes; numbers: finite numbers, "
        "with fractions; step-classes: a class for each step, or none; empty: what the task predicts"
    )
    length_column: Column = Field(description="wide tables: column with the number of steps of a row")
    group_column: Column = Field(
        description="column with groups; all sequences of a group are in the same split"
    )
    split_column: Column = Field(description="column that assigns rows to splits: train, validation or test")
    feature_columns: tuple[Column, ...] = Field(
        description="columns with the features, in this order; empty: all other columns"
    )
    # Recipes of older versions have no categorical columns.
    categorical_columns: tuple[Column, ...] = Field(
        default=(),
        description="long tables: features that are names of categories; empty: those that hold text",
    )
    # Recipes of older versions read no text.
    text_column: Column = Field(
        default="", description="column with a text in each row, whose tokens are steps"
    )
    tokens: Literal["", "characters", "bytes", "words"] = Field(
        default="",
        description="steps of a text; words: with a token for each mark of punctuation; empty: words, or "
        "characters if texts have fewer than three words",
    )
    lower_case: Flag = Field(default=True, description="read letters of texts in lower case")
    maximum_length: CountOrOff = Field(
        default=0, description="tokens of a text that are read, from its beginning; 0: all"
    )
    step_columns: ColumnList = Field(
        description="wide tables: the columns that a file must have, in the order of the steps; empty: all "
        "columns that have no other role; *: the same, without the search for columns that are an index or a "
        "length"
    )
    pad_value: PadValue = Field(
        description="value that fills sequences after their end: nan (empty cells) or a number; none: there "
        "is no padding; empty: ask"
    )
    separator: Separator = Field(
        description="what separates the cells of text: a punctuation mark such as ; or tab or blanks; empty: "
        "inferred from the file"
    )
    decimal: Decimal = Field(
        description="mark before the decimals of numbers in text: . or ,; empty: inferred from the file"
    )
    encoding: Encoding = Field(
        description="encoding of text, such as cp1252; empty: UTF-8, or UTF-16 with a byte-order mark"
    )
    time_format: TimeFormat = Field(
        description="how times are written, such as %d.%m.%Y %H:%M, in the notation of Python's strptime; "
        "empty: numbers, or ISO 8601"
    )
    picture: Text = Field(
        description="height x width to which pictures are resized, such as 28x28; none: do not read bytes as "
        "pictures"
    )
    white: White = Field(
        description="value of white in pictures of more than 8 bits whose files do not define it, such as "
        "4095 for 12 bits in 16; 0: 65535, unless all values are far below"
    )
    colour: Flag = Field(description="read pictures as red, green and blue; otherwise as grey levels")
    fit: Literal["", "ink", "contain", "cover", "stretch"] = Field(
        description="how pictures are resized; ink: scale and centre the ink; contain: add a margin; "
        "cover: crop; stretch: change the aspect ratio; empty: ink for IDX files, contain for others"
    )
    sample_rate: CountOrOff = Field(
        description="WAV files: samples a second that all have; 0: those of the first file"
    )
    resample: Flag = Field(
        description="WAV files: convert those of another sample rate; otherwise refuse them"
    )
    group_pattern: Pattern = Field(
        description="folders of pictures or WAV files: regular expression of the group in the path of a "
        "file, such as _(?P<group>[a-z]+)_; empty: no groups"
    )
    test_pattern: Pattern = Field(
        description="folders of pictures or WAV files: regular expression that the paths of the test split "
        "match; empty: none"
    )
    validation_pattern: Pattern = Field(description="the same for the validation split")

    @model_validator(mode="before")
    @classmethod
    def _add_missing(cls, tree: Any) -> Any:
        """Fill in the keys that recipes and models of earlier versions lack, so that they read as before."""
        if not isinstance(tree, dict) or "shape" not in tree:
            return tree
        # These versions read every column of a wide table as a step, and matched no names.
        before: dict[str, Any] = dict.fromkeys(
            ("pad_value", "separator", "decimal", "encoding", "time_format", "targets"), ""
        )
        before |= {"step_columns": ["*"] if tree["shape"] == "wide" else [], "white": 0}
        before |= {"sample_rate": 0, "resample": False}
        before |= dict.fromkeys(("group_pattern", "test_pattern", "validation_pattern"), "")
        return before | tree

    @field_validator("pad_value")
    @classmethod
    def _padding(cls, text: str) -> str:
        if text in ("", "none") or is_number(text):
            return text.lower()
        raise ValueError(f"data.pad_value must be nan, none or a number, got {quoted(text)}")

    @field_validator("picture")
    @classmethod
    def _size(cls, text: str) -> str:
        if text in ("", "none") or re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", text):
            return text
        raise ValueError(f"data.picture must be height x width, such as 28x28, or none, got {quoted(text)}")

    @model_validator(mode="after")
    def _ink_is_grey(self) -> DataSettings:
        if self.colour and self.fit == "ink":
            raise ValueError(
                'data.fit must not be "ink" if data.colour is true: set data.colour to false, or choose '
                "another data.fit"
            )
        return self

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """(height, width) of `picture`, or None if it has no size."""
        if self.picture in ("", "none"):
            return None
        height, _, width = self.picture.partition("x")
        return int(height), int(width)


# Everything is inferred from the source.
DEFAULT_DATA = DataSettings(
    name="",
    test="",
    validation="",
    shape="",
    id_column="",
    time_column="",
    label_column="",
    targets="",
    length_column="",
    group_column="",
    split_column="",
    feature_columns=(),
    step_columns=(),
    pad_value="",
    separator="",
    decimal="",
    encoding="",
    time_format="",
    picture="",
    white=0,
    colour=False,
    fit="",
    sample_rate=0,
    resample=False,
    group_pattern="",
    test_pattern="",
    validation_pattern="",
)


class SplitSettings(_Section):
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


class InputSettings(_Section):
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


class ModelSettings(_Section):
    """The network and the initialisation of its weights."""

    cell: Cell = Field(
        description="recurrent cell: lstm, gru, rnn, gru-reset-before, or a cell of another package"
    )
    layers: Layers = Field(description="number of recurrent layers")
    hidden_size: Size = Field(description="units per layer and direction")
    bidirectional: Flag = Field(description="also read each sequence backwards")
    classes: CountOrOff = Field(description="number of outputs; 0: the number of classes in the data")
    dropout: Fraction = Field(description="probability that an output is set to 0 during training")
    dropout_on: DropoutOn = Field(
        description="between: outputs of all layers but the last, as in PyTorch; every: outputs of all "
        "layers, as in TensorFlow's DropoutWrapper"
    )
    forget_bias: Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)] = Field(
        description="initial bias of the LSTM's forget gate"
    )
    init: Literal["glorot", "orthogonal"] = Field(
        description="glorot: as in TensorFlow 1, over the joint kernel; orthogonal: recurrent weights only"
    )
    head_init: Literal["standard-normal", "truncated-normal", "xavier"] = Field(
        description="initialisation of the output layer"
    )
    readout: Readout = Field(description="pooling of the outputs over the steps")
    # Recipes of older versions have no embeddings.
    embedding_size: Annotated[int, Field(strict=True, ge=0, le=4096)] = Field(
        default=0,
        description="values that stand for a category of a categorical feature; 0: round(1.6 n**0.56) for n "
        "categories, at most 50",
    )

    @model_validator(mode="after")
    def _dropout_reaches_something(self) -> ModelSettings:
        # torch.nn.LSTM only warns in this case; here the setting would silently do nothing.
        if self.dropout and self.dropout_on == "between" and self.layers == 1:
            raise ValueError(
                'model.dropout must be 0 for a single layer if model.dropout_on is "between": '
                'set model.dropout_on to "every"'
            )
        return self


class TrainSettings(_Section):
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


class Recipe(_Section):
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
        if isinstance(section, type) and issubclass(section, _Section):
            dotted += [f"{name}.{key}" for key in section.model_fields]
        else:
            dotted.append(name)
    return dotted
