"""Types of the values in a recipe: what is legal for a single key, whatever section it is in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticKnownError

from scanline import cells
from scanline.errors import UsageError, did_you_mean, quoted
from scanline.formats.text import known_encoding, known_separator
from scanline.formats.times import check_time_format
from scanline.limits import limit_of


def _compiles(pattern: str) -> str:
    """Return a regular expression. Raises ValueError with the reason if it is none."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression, got {quoted(pattern)} ({error})") from None
    return pattern


def _known_cell(name: str) -> str:
    """Return the name of a known cell; otherwise raise the error that names the known cells.

    A known cell that cannot be loaded raises ValueError with the reason.
    """
    try:
        return cells.get(name).name
    except UsageError as error:
        known = cells.names()
        if name in known:
            raise ValueError(str(error)) from error
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, known))}) from None


_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


def parse_extent(text: str) -> int | float:
    """Return a number of steps, as an integer, or of seconds, as a float.

    Args:
        text: A whole number of steps, such as 250, or a time, such as 5s, 200ms, 10min or 1h.

    Raises:
        ValueError: If it is something else.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|min|h|)", text)
    number = float(match[1]) if match else 0.0
    if match is None or number == 0 or (not match[2] and "." in match[1]):
        raise ValueError(
            f"expected a number of steps, such as 250, or a time, such as 5s, got {quoted(text)}"
        )
    return int(match[1]) if not match[2] else number * _UNITS[match[2]]


def _extent(text: str) -> str:
    if text:
        parse_extent(text)
    return text


# Strict types throughout: Pydantic would otherwise turn "64" and 64.0 into 64 and true into 1.
Count = Annotated[int, Field(strict=True, ge=1)]
Size = Annotated[int, Field(strict=True, ge=1, le=max(map(limit_of, ("UNITS", "FEATURES", "CLASSES"))))]
CountOrOff = Annotated[int, Field(strict=True, ge=0)]
White = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=10, allow_inf_nan=False)]
PositiveOrOff = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
Layers = Annotated[int, Field(strict=True, ge=1, le=limit_of("LAYERS"))]
Cell = Annotated[str, Field(strict=True), AfterValidator(_known_cell)]
DropoutOn = Literal["between", "every"]
Readout = Literal["last", "mean", "max", "last-step", "every-step"]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True, max_length=4096)]
# The name of a column may be 5, which `--set data.label_column=5` parses as a number.
Column = Annotated[
    str, BeforeValidator(lambda name: str(name) if type(name) is int else name), Field(strict=True)
]
# `--set data.pad_value=nan` and `=0` are parsed as numbers too.
PadValue = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value),
    Field(strict=True),
]
Decimal = Annotated[
    Literal["", ".", ","],
    BeforeValidator(
        lambda mark: {"point": ".", "comma": ","}.get(mark, mark) if isinstance(mark, str) else mark
    ),
]
Separator = Annotated[str, Field(strict=True, max_length=10), AfterValidator(known_separator)]
Encoding = Annotated[str, Field(strict=True, max_length=40), AfterValidator(known_encoding)]
TimeFormat = Annotated[str, Field(strict=True, max_length=100), AfterValidator(check_time_format)]
TIME_FEATURES = ("delta", "log-delta", "minute", "hour", "weekday", "month")
TimeFeature = Literal["delta", "log-delta", "minute", "hour", "weekday", "month"]
# `--set data.step_columns=a,b` is parsed as text.
ColumnList = Annotated[
    tuple[Column, ...],
    BeforeValidator(lambda names: names.split(",") if isinstance(names, str) and names else names),
]
# `--set data.test_pattern=3` is parsed as a number.
Pattern = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(strict=True, max_length=200),
    AfterValidator(_compiles),
]
# `--set input.window=250` is parsed as a number.
Extent = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(strict=True),
    AfterValidator(_extent),
]
Missing = Literal["error", "forward-fill", "zero", "mean"]

VIEWS = ("rows", "columns", "pixels", "permuted", "patches:4")


def check_view(text: str) -> str:
    """Return `text` if it is the name of a view.

    Raises:
        ValueError: If it is not; names the legal views.
    """
    if text in VIEWS or re.fullmatch(r"patches:[1-9]\d{0,3}", text):
        return text
    raise ValueError(
        f"input.view must be one of {', '.join(VIEWS[:-1])} or patches:k, got {quoted(text)}"
        + did_you_mean(text, VIEWS)
    )


ViewName = Annotated[str, Field(strict=True), AfterValidator(check_view)]
