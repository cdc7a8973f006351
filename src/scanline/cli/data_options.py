"""The options that say how data are read and seen: each is short for a setting of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

# Option, the setting it is short for, what help shows for its value, and what it says.
_OPTIONS = (
    ("--view", "input.view", "VIEW", "Pictures as rows, columns, pixels, permuted or patches:K."),
    (
        "--picture",
        "data.picture",
        "HxW",
        "Fit pictures to this size; or take a table's rows for such pictures.",
    ),
    (
        "--missing",
        "input.missing",
        "HOW",
        "Fill missing values: forward-fill, zero or mean.  [default: error]",
    ),
    ("--test", "data.test", "PATH", "Where the test part lies, if not with DATA."),
    ("--shape", "data.shape", "long|wide", "Of a table: a row for each step, or for each sequence."),
    ("--label-column", "data.label_column", "NAME", "The column of the labels."),
    ("--id-column", "data.id_column", "NAME", "Of a long table: names the sequence of a row."),
    ("--time-column", "data.time_column", "NAME", "Of a long table: orders the rows of a sequence."),
    ("--group-column", "data.group_column", "NAME", "Sequences of one group stay on one side of a split."),
    ("--feature-columns", "data.feature_columns", "A,B,...", "The columns of values.  [default: all others]"),
)


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a click command all these options; `chosen_settings` makes settings of what it is called with."""
    for option, _, metavar, text in reversed(_OPTIONS):
        command = click.option(option, metavar=metavar, help=text)(command)
    return command


def chosen_settings(options: dict[str, str | None]) -> dict[str, Any]:
    """{"input.view": "columns"} for {"view": "columns"}: what was chosen of the options above."""
    keys = {option.removeprefix("--").replace("-", "_"): key for option, key, *_ in _OPTIONS}
    settings: dict[str, Any] = {keys[name]: value for name, value in options.items() if value is not None}
    listed = settings.get("data.feature_columns")
    if listed is not None:
        settings["data.feature_columns"] = [name.strip() for name in listed.split(",")]
    return settings
