"""What a reader brings home from one source, before its classes and parts are settled."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.source import ClassName
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import UNPRINTABLE, DataError, join_names, one_line
from scanline.formats.text import is_number
from scanline.limits import exceeded, limit_of
from scanline.recipe import DataSettings

_ROWS = 2**16
some, shown = join_names, one_line
MOST_CHARACTERS = 4_096  # in the name of a class, a sequence or a group


class Place(Protocol):
    """Says where at its source a sequence stands, or its step `step`."""

    def __call__(self, index: int, step: int = 0, /) -> str: ...


@dataclass(frozen=True, eq=False)
class Found:
    """The sequences of one source.

    sequences: with the classes that this source has; none if it has no labels. Missing values are NaN.
    settings: how it was read, with what was guessed filled in. where: the place of a sequence, or of one of
    its steps, at its source, for messages. features: what the F values of a step are called, or, where a
    step has one, what each step is; empty if they have no names. parts: (N,) "train", "validation" or "test"
    if the source says so. notes: what was guessed or mended, for the user. scale, picture: as in DataSet.
    """

    sequences: MemorySource
    settings: DataSettings
    where: Place
    features: tuple[str, ...] = ()
    parts: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    scale: float = 1.0
    picture: PictureFormat | None = None

    def fail(self, row: int, feature: int, what: str) -> NoReturn:
        """Raises DataError naming the place of the value at `row` and `feature` of the sequences' `flat`."""
        part, names = self.sequences, self.features
        index = int(np.searchsorted(part.starts, row, side="right")) - 1
        step = row - int(part.starts[index])
        cell = f"step {step}, feature {feature}"
        if names:
            cell = f"column {shown(names[feature if len(names) == part.features else step])}"
        raise DataError(f"{part.name}: {self.where(index, step)}, {cell}: {what}")


def name_classes(
    names: Sequence[Any], codes: NDArray[np.integer[Any]], source: str, where: Place
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """The class names, sorted, and each sequence's index among them, (N,).

    names, codes: the label of sequence i is names[codes[i]]; names that no code uses are no classes.
    Whole numbers, also as text ("7", "7.0"), become whole numbers; if any label is something else, all are
    text. where: the place of a sequence, for messages.
    Raises DataError naming the first label that is empty, too long, a fraction or NaN, and if there are too
    many.
    """
    used = np.unique(codes)
    texts = {int(code): str(names[code]).strip() for code in used}
    numbers = {code: _whole(text) for code, text in texts.items()}
    numeric = all(map(is_number, texts.values()))
    wrong = [code for code, text in texts.items() if not text or (numeric and _is_fraction(text))]
    if wrong:
        first = int(np.flatnonzero(np.isin(codes, wrong))[0])
        text = shown(texts[int(codes[first])]) or "nothing"
        raise DataError(f"{source}: {where(first)}: expected a label, a whole number or text, found {text}")
    long = [code for code, text in texts.items() if len(text) > MOST_CHARACTERS]
    if long:
        first = int(np.flatnonzero(np.isin(codes, long))[0])
        raise DataError(f"{source}: {where(first)}: {over_characters(texts[int(codes[first])])}")
    whole = all(number is not None for number in numbers.values())
    chosen: dict[int, Any] = dict(numbers) if whole else dict(texts)
    classes = tuple(sorted(set(chosen.values())))
    if len(classes) > limit_of("CLASSES"):
        raise DataError(f"{source}: {exceeded('CLASSES', len(classes))}")
    index = {name: number for number, name in enumerate(classes)}
    translate = np.zeros(int(used.max()) + 1, np.int64)
    for code, name in chosen.items():
        translate[code] = index[name]
    return classes, translate[codes]


def check_names(names: Sequence[ClassName], source: str) -> None:
    """Raises DataError if a name is too long, or would do something to a terminal that shows it."""
    for name in names:
        if isinstance(name, str) and len(name) > MOST_CHARACTERS:
            raise DataError(f"{source}: {over_characters(name)}")
        if isinstance(name, str) and UNPRINTABLE.search(name):
            raise DataError(f"{source}: expected class names that can be printed, found {shown(name)}")


def over_characters(name: str) -> str:
    """What a message says of a name that is too long."""
    return (
        f"expected a name of at most {MOST_CHARACTERS:,} characters, found {len(name):,} ({shown(name)}); "
        "give a shorter one"
    )


def _whole(text: str) -> int | None:
    """The whole number that `text` writes down in the usual way, or None."""
    match = re.fullmatch(r"(-?(?:0|[1-9][0-9]{0,17}))(?:\.0*)?", text)
    return int(match[1]) if match else None


def _is_fraction(text: str) -> bool:
    """Whether the number `text` is the target of a regression, and no name: 007 is a name."""
    return _whole(text) is None and not re.fullmatch(r"-?[0-9]+", text)


def with_classes(found: Found, classes: tuple[ClassName, ...], owner: str) -> Found:
    """`found` with its labels as indices into `classes`, matched by name.

    owner: what has these classes, for the message. Raises DataError naming the first strange label.
    """
    part = found.sequences
    if part.classes == classes:
        return found
    if not part.classes:
        raise DataError(f"{part.name}: expected labels, as {owner} has, found none")
    index = {str(name): number for number, name in enumerate(classes)}
    translated = np.array([index.get(str(name), -1) for name in part.classes], np.int64)[part.targets]
    strange = np.flatnonzero(translated < 0)
    if strange.size:
        first = int(strange[0])
        raise DataError(
            f"{part.name}: {found.where(first)}: expected a class that {owner} has too, one of "
            f"{some(classes)}, found {shown(part.classes[part.targets[first]])}"
            + (f" ({strange.size:,} of {len(part):,} are unknown)" if strange.size > 1 else "")
        )
    return replace(found, sequences=replace(part, targets=translated, classes=classes))


def check_values(found: Found, missing: bool) -> None:
    """Raises DataError naming the place of the first value that is infinite or NaN.

    missing: whether NaN may stand for a value.
    """
    if found.sequences.concatenated.dtype == np.uint8:
        return
    place = first_wrong(
        found.sequences.concatenated, np.isinf if missing else lambda values: ~np.isfinite(values)
    )
    if place is None:
        return
    value = found.sequences.concatenated[place]
    if np.isnan(value):
        seen = "a missing value; --missing forward-fill, zero or mean puts one there"
    else:
        seen = f"{value}, or a number that does not fit into 32 bits"
    found.fail(*place, f"expected a finite number, found {seen}")


def first_wrong(
    flat: NDArray[Any], wrong: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> tuple[int, int] | None:
    """Row and column of the first of the (S, F) values that is `wrong`, or None. Looks at them bit by bit."""
    for first in range(0, len(flat), _ROWS):
        places = wrong(flat[first : first + _ROWS])
        if places.any():
            row, column = np.argwhere(places)[0]
            return first + int(row), int(column)
    return None


def to_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """`values` of any real dtype as float32; what is too large becomes infinite, and is refused later."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)
