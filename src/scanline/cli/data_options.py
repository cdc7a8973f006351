"""Options that say how data are read; each is a shorthand for a setting of the recipe."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from scanline.errors import UsageError

# Option, the setting that it stands for, placeholder of its value, and help text.
_OPTIONS = (
    (
        "--task",
        "task",
        "NAME",
        "What to predict: classification, multilabel (several classes, or none), regression (a number), "
        "step-classification or step-regression (a class or number for each step).  [default: the recipe's]",
    ),
    (
        "--view",
        "input.view",
        "VIEW",
        "How pictures become steps: rows, columns, pixels, permuted or patches:K.",
    ),
    (
        "--picture",
        "data.picture",
        "HxW",
        "Resize pictures to this size; for a table: each row is such a picture.",
    ),
    (
        "--missing",
        "input.missing",
        "HOW",
        "Fill missing values: forward-fill, zero or mean.  [default: error]",
    ),
    (
        "--window",
        "input.window",
        "EXTENT",
        "Cut sequences into windows of so many steps, or of a time such as 5s; their predictions are joined.",
    ),
    ("--stride", "input.stride", "EXTENT", "From one window to the next.  [default: the window]"),
    ("--test", "data.test", "PATH", "Test data, if they are not stored with DATA."),
    ("--shape", "data.shape", "long|wide", "Table layout: one row per step, or one per sequence."),
    ("--label-column", "data.label_column", "NAME", "Column with the labels."),
    (
        "--label-columns",
        "data.label_columns",
        "A,B,...",
        "Several columns with labels: 0 or 1 for each class (multilabel), or numbers (regression).",
    ),
    (
        "--label-separator",
        "data.label_separator",
        "MARKS",
        "Marks between the classes of a label (multilabel).  [default: ; and |]",
    ),
    (
        "--targets",
        "data.targets",
        "classes|numbers|step-classes|...",
        "What labels are.  [default: what the task predicts]",
    ),
    ("--id-column", "data.id_column", "NAME", "Long table: column that identifies the sequence of a row."),
    ("--time-column", "data.time_column", "NAME", "Long table: column that orders the rows of a sequence."),
    (
        "--length-column",
        "data.length_column",
        "NAME",
        "Wide table: column with the number of steps of a row.",
    ),
    (
        "--pad-value",
        "data.pad_value",
        "VALUE",
        "Value after the end of a sequence: nan (empty cells), a number, or none.",
    ),
    (
        "--step-columns",
        "data.step_columns",
        "A,B,...",
        "Wide table: columns of the steps, in order, and no others; *: all, indices and lengths too.",
    ),
    (
        "--sample-rate",
        "data.sample_rate",
        "HZ",
        "WAV files: samples a second that all have.  [default: as the first]",
    ),
    (
        "--group-pattern",
        "data.group_pattern",
        "REGEX",
        "Folder of files: the group in a file's path, such as '_(?P<group>[a-z]+)_'.",
    ),
    ("--test-pattern", "data.test_pattern", "REGEX", "Folder of files: paths of the test split."),
    (
        "--validation-pattern",
        "data.validation_pattern",
        "REGEX",
        "Folder of files: paths of the validation split.",
    ),
    ("--group-column", "data.group_column", "NAME", "Column of groups that are never divided by a split."),
    (
        "--feature-columns",
        "data.feature_columns",
        "A,B,...",
        "Columns with the values.  [default: all others]",
    ),
    ("--text-column", "data.text_column", "NAME", "Column with a text in each row."),
    (
        "--tokens",
        "data.tokens",
        "KIND",
        "Steps of a text: characters, bytes or words.  [default: words]",
    ),
    (
        "--categorical-columns",
        "data.categorical_columns",
        "A,B,...",
        "Long table: columns that name categories.  [default: those that hold text]",
    ),
    (
        "--static-columns",
        "data.static_columns",
        "A,B,...",
        "Long table: columns with one value for a whole sequence, such as age.",
    ),
    (
        "--time-features",
        "data.time_features",
        "A,B,...",
        "Long table: features of the time column: delta, log-delta, minute, hour, weekday, month.",
    ),
)
# Of these, what another file may have than that of the training.
_DIALECT = (
    (
        "--separator",
        "data.separator",
        "MARK",
        "What separates the cells of text: a mark such as ';', tab or blanks.  [default: inferred]",
    ),
    ("--decimal", "data.decimal", ".|,", "Mark before decimals in text.  [default: inferred]"),
    ("--encoding", "data.encoding", "NAME", "Encoding of text, such as cp1252.  [default: UTF-8]"),
    (
        "--time-format",
        "data.time_format",
        "FORMAT",
        "How times are written, such as '%d.%m.%Y %H:%M'.  [default: numbers or ISO 8601]",
    ),
    ("--sheet", "data.sheet", "NAME", "Sheet of an .xlsx workbook.  [default: the first]"),
    (
        "--white",
        "data.white",
        "N",
        "Value of white in pictures of more than 8 bits, such as 4095 for 12 bits in 16.",
    ),
    ("--resample", "data.resample", "", "Convert WAV files of another sample rate."),
)


# Settings that are lists of columns.
_LISTS = ("data.feature_columns", "data.categorical_columns", "data.static_columns", "data.time_features")
# Options whose values are whole numbers, with an example.
_WHOLE = (("--white", "data.white", 4095), ("--sample-rate", "data.sample_rate", 16_000))


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all these options to a click command; `chosen_settings` turns their values into settings."""
    # Decorators apply from the inside out: reversed, `--help` lists the options in the order of the table.
    for option, _, metavar, text in reversed((*_OPTIONS, *_DIALECT)):
        command = _option(option, metavar, text)(command)
    return command


def _option(option: str, metavar: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator of an option; one without a placeholder is a flag."""
    if not metavar:
        return click.option(option, is_flag=True, default=None, help=text)
    return click.option(option, metavar=metavar, help=text)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to read data, and none that say what is then done with them."""
    for option, key, metavar, text in reversed((*_OPTIONS, *_DIALECT)):
        if key.startswith("data.") and key != "data.test":
            command = _option(option, metavar, text)(command)
    return command


def dialect_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for files of another dialect to a command that uses a model.

    The command gets `reading`, the settings that were chosen, for `Model.with_reading`.
    """
    names = [option.removeprefix("--").replace("-", "_") for option, *_ in _DIALECT]

    @functools.wraps(command)
    def chosen(**options: Any) -> Any:
        reading = chosen_settings({name: options.pop(name) for name in names})
        return command(reading={key.removeprefix("data."): each for key, each in reading.items()}, **options)

    changed: Callable[..., Any] = chosen
    for option, _, metavar, text in reversed(_DIALECT):
        if metavar:
            text = text.partition("  [default")[0] + "  [default: as in training]"
        changed = _option(option, metavar, text)(changed)
    return changed


def chosen_settings(options: Mapping[str, str | bool | None]) -> dict[str, Any]:
    """Return the chosen options as settings: {"input.view": "columns"} for {"view": "columns"}."""
    keys = {option.removeprefix("--").replace("-", "_"): key for option, key, *_ in (*_OPTIONS, *_DIALECT)}
    settings: dict[str, Any] = {keys[name]: value for name, value in options.items() if value is not None}
    for key in _LISTS:
        if (listed := settings.get(key)) is not None:
            settings[key] = [name.strip() for name in listed.split(",")]
    for option, key, example in _WHOLE:
        if (given := settings.get(key)) is not None:
            if not re.fullmatch(r"[0-9]{1,10}", given):
                raise UsageError(f"{option} must be a whole number such as {example}, got {given[:40]!r}")
            settings[key] = int(given)
    return settings
