"""Class names of the labels in a file: their spelling, their order, and the indices of the sequences."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.labels import BytesName, integer_of, match_names, same_names
from scanline.data.memory import MemorySource
from scanline.data.source import ClassName
from scanline.data.source_info import Locate
from scanline.errors import UNPRINTABLE, DataError, one_line
from scanline.formats.text import escaped, is_number, joined_beside, look_alike
from scanline.limits import exceeded, limit_of

NUMBERS_REMEDY = "are the labels numbers, not classes? Then use --task regression"
MAX_NAME_CHARACTERS = 4_096  # limit for a class, a sequence or a group


def name_classes(
    names: Sequence[Any],
    codes: NDArray[np.integer[Any]],
    source: str,
    locate: Locate,
    typed: bool = False,
) -> tuple[tuple[ClassName, ...], NDArray[np.int64]]:
    """Determine the class names from labels as they were read.

    Labels that differ only in blanks around them, or in how an integer is written ("7", "7.0"), are one
    class. A class is named as its labels are. Labels of a text file have no type: if all are integers, they
    become integers, or floats if all are written as "7.0". If the labels of a class differ, it is named by
    the integer or the text without blanks.

    Args:
        names: Labels, each once; text, integers, floats or booleans.
        codes: (N,) the label of sequence i is `names[codes[i]]`. Labels without a sequence are ignored.
        source: Name of the source, for messages.
        locate: Names the place of a sequence, for messages.
        typed: Whether the labels have a type that is kept: "7" of an array or of a Parquet file stays text.

    Returns:
        (classes, indices): the K class names, sorted, and (N,) the index of each sequence's class.

    Raises:
        DataError: Names the first label that is empty, too long, a fraction or NaN; or there are too many.
    """
    used = np.unique(codes)
    texts = {int(code): str(names[code]).strip() for code in used}
    _check_labels(texts, codes, source, locate)
    check_look(texts.values(), f"{source}: labels")
    integers = {code: integer_of(text) for code, text in texts.items()}
    all_integers = all(number is not None for number in integers.values())
    # What identifies a class and sorts it; the class is then named as its labels are spelled.
    keys: dict[int, Any] = dict(integers) if all_integers else dict(texts)
    ordered = sorted(set(keys.values()))
    if len(ordered) > limit_of("CLASSES"):
        raise DataError(f"{source}: {exceeded('CLASSES', len(ordered))}")
    spellings: dict[Any, dict[tuple[type, Any], Any]] = {}
    for code, key in keys.items():
        name = names[code]
        spellings.setdefault(key, {})[type(name), name] = name
    if typed:
        classes = tuple(_typed_name(key, list(spellings[key].values())) for key in ordered)
    elif all_integers and all(re.fullmatch(r"-?[0-9]+\.0", text) for text in texts.values()):
        classes = tuple(map(float, ordered))
    else:
        classes = tuple(ordered)
    index = {key: number for number, key in enumerate(ordered)}
    # Label code -> class index; one gather then maps all N labels. Codes that do not occur keep 0, unused.
    translation = np.zeros(int(used.max()) + 1, np.int64)
    for code, key in keys.items():
        translation[code] = index[key]
    return classes, translation[codes]


def _check_labels(
    texts: Mapping[int, str], codes: NDArray[np.integer[Any]], source: str, locate: Locate
) -> None:
    """Raise DataError naming the first label that is empty, too long, a fraction or NaN."""
    # A fraction is refused only if every label is a number: among text labels, "1.5" is an ordinary name.
    numeric = all(map(is_number, texts.values()))
    wrong = [code for code, text in texts.items() if not text or (numeric and _is_fraction(text))]
    if wrong:
        first = int(np.flatnonzero(np.isin(codes, wrong))[0])
        text = one_line(texts[int(codes[first])]) or "nothing"
        is_finite = numeric and text != "nothing" and math.isfinite(float(text))
        remedy = f"; {NUMBERS_REMEDY}" if is_finite else ""
        raise DataError(
            f"{source}: {locate(first)}: expected a label, an integer or text, found {text}{remedy}"
        )
    long = [code for code, text in texts.items() if len(text) > MAX_NAME_CHARACTERS]
    if long:
        first = int(np.flatnonzero(np.isin(codes, long))[0])
        raise DataError(f"{source}: {locate(first)}: {name_too_long(texts[int(codes[first])])}")


def check_look(names: Iterable[str], where: str) -> None:
    """Raise DataError if two different names look the same, as "a" and "a" with a zero-width blank do."""
    if pair := look_alike(names):
        raise DataError(
            f"{where}: expected names that do not look the same, found {escaped(pair[0])} and "
            f"{escaped(pair[1])}; write them alike if they are the same"
        )


def _typed_name(key: int | str, spellings: Sequence[Any]) -> ClassName:
    """Return the name of the class `key`, whose labels are `spellings`, in the type that they have."""
    if len(spellings) == 1 and isinstance(spellings[0], bool | int | float | str):
        return spellings[0]
    if all(isinstance(each, BytesName) for each in spellings):
        return BytesName(str(key).encode())
    return str(key) if all(isinstance(each, str) for each in spellings) else key


def check_names(names: Sequence[ClassName], source: str) -> None:
    """Check that class names are short and safe to print.

    Raises:
        DataError: If a name is too long, or has characters that control a terminal.
    """
    for name in names:
        if isinstance(name, str) and len(name) > MAX_NAME_CHARACTERS:
            raise DataError(f"{source}: {name_too_long(name)}")
        if isinstance(name, str) and UNPRINTABLE.search(name):
            raise DataError(f"{source}: expected printable class names, found {one_line(name)}")


def name_too_long(name: str) -> str:
    """Return the fault of a name that is too long, for a message."""
    return (
        f"expected a name of at most {MAX_NAME_CHARACTERS:,} characters, found {len(name):,} "
        f"({one_line(name)}); use a shorter name"
    )


def with_classes(source: MemorySource, classes: tuple[ClassName, ...], owner: str) -> MemorySource:
    """Return `source` with targets that are indices into `classes`, matched by name.

    Args:
        source: Sequences with targets.
        classes: The class names.
        owner: What has these classes, for messages.

    Raises:
        DataError: If there are no targets; or names the first label that is not in `classes`.
    """
    if same_names(source.classes, classes):
        return source
    if not source.classes:
        raise DataError(f"{source.name}: expected labels, as {owner} has them, found none")
    targets = np.array(match_names(source.classes, classes), np.int64)[source.targets]
    unknown = np.flatnonzero(targets < 0)
    if unknown.size:
        first = int(unknown[0])
        found = source.classes[source.targets[first]]
        join = joined_beside([found], classes)
        raise DataError(
            f"{source.name}: {source.info.locate(first)}: expected a class of {owner}, one of "
            f"{join(classes)}, found {join([found])}"
            + (f" ({unknown.size:,} of {len(source):,} are unknown)" if unknown.size > 1 else "")
        )
    return source.with_targets(targets, classes)


def without_unused_classes(source: MemorySource) -> MemorySource:
    """Return `source` without the classes that none of its sequences has."""
    used, targets = np.unique(source.targets, return_inverse=True)
    classes = tuple(source.classes[code] for code in used) if source.classes else ()
    return replace(source, targets=targets.reshape(-1), classes=classes)


def _is_fraction(text: str) -> bool:
    """Whether the number `text` is not an integer. 007 is a name, not a number."""
    return integer_of(text) is None and not re.fullmatch(r"-?[0-9]+", text)
