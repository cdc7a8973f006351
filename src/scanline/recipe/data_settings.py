"""The recipe section `data`: where the sequences come from and how to read them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from scanline.errors import quoted
from scanline.formats.text import is_number
from scanline.recipe.section import Section
from scanline.recipe.values import (
    Column,
    ColumnList,
    CountOrOff,
    Decimal,
    Encoding,
    Flag,
    PadValue,
    Pattern,
    Separator,
    Text,
    TimeFeature,
    TimeFormat,
    White,
)


class DataSettings(Section):
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
    targets: Literal["", "classes", "numbers", "step-classes", "step-numbers", "label-sets"] = Field(
        description="what labels are; classes: integers or text that name classes; numbers: finite numbers, "
        "with fractions; step-classes, step-numbers: a class or a number for each step, or none; "
        "label-sets: several classes at once, or none; empty: what the task predicts"
    )
    # Recipes of older versions have one label.
    label_columns: ColumnList = Field(
        default=(), description="several columns with labels: 0 or 1 for each class, or numbers"
    )
    label_separator: Annotated[str, Field(strict=True, max_length=10)] = Field(
        default="",
        description="marks between the classes of a label, if targets are label-sets; empty: ; and |",
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
    # Recipes of older versions read no workbooks.
    sheet: Text = Field(default="", description="sheet of an .xlsx workbook; empty: the first")
    # Recipes of older versions have no static columns.
    static_columns: tuple[Column, ...] = Field(
        default=(),
        description="long tables: features with one value for a whole sequence, such as age, which are read "
        "beside the pooled state",
    )
    # Recipes of older versions have no features of the time.
    time_features: tuple[TimeFeature, ...] = Field(
        default=(),
        description="long tables: features of the time column; delta: seconds since the step before, 0 in "
        "the first, or the difference of times that are numbers; log-delta: log(1 + delta); minute, hour, "
        "weekday, month: sine and cosine of the place in the hour, day, week and year, in UTC if times have "
        "an offset",
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

    @field_validator("time_features")
    @classmethod
    def _once(cls, features: tuple[TimeFeature, ...]) -> tuple[TimeFeature, ...]:
        if len(set(features)) < len(features):
            raise ValueError(f"data.time_features must name each feature once, got {', '.join(features)}")
        return features

    @field_validator("picture")
    @classmethod
    def _size(cls, text: str) -> str:
        if text in ("", "none") or re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", text):
            return text
        raise ValueError(f"data.picture must be height x width, such as 28x28, or none, got {quoted(text)}")

    @model_validator(mode="after")
    def _labels_have_one_place(self) -> DataSettings:
        if self.label_columns and self.label_column:
            raise ValueError(
                f"data.label_column must be empty if data.label_columns are given, got {self.label_column!r}"
            )
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError(f"data.label_columns must be different, got {', '.join(self.label_columns)}")
        return self

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
