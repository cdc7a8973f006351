"""Reads recipes by name, from files and from text, and applies settings to them."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scanline.errors import UsageError, did_you_mean, quoted
from scanline.limits import exceeded, limit_of
from scanline.recipe.data_settings import DataSettings
from scanline.recipe.faults import describe
from scanline.recipe.recipe import Recipe, keys
from scanline.recipe.train_settings import ONE_LENGTH

# A dotted key with more parts than any legal key. tomllib builds n**2 / 2 objects for a key of n parts, and
# tables nested that deeply exceed the recursion limit when they are merged or printed.
_LONG_KEY = re.compile(
    r"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""",  # possessive: no backtracking
    re.ASCII,
)
SEARCH = "search"
_OTHER_LENGTH = {"train.steps": "train.samples", "train.samples": "train.steps"}


def names() -> list[str]:
    """Return the names of the recipes that come with Scanline, sorted."""
    return sorted(Path(file.name).stem for file in _shipped().iterdir() if file.name.endswith(".toml"))


def _shipped() -> Any:
    return resources.files("scanline").joinpath("recipes")


def load(name_or_file: str, settings: Mapping[str, Any] | None = None, source: str | None = None) -> Recipe:
    """Load a shipped recipe by its name, or a recipe from a TOML file, and apply settings to it.

    Args:
        name_or_file: Name of a shipped recipe, or path of a TOML file.
        settings: Values that replace the recipe's, by dotted key, such as {"train.batch_size": 64}, in this
            order. A value of `train.steps` or `train.samples` replaces the recipe's other length, too.
        source: Name of the recipe in messages; None takes the name or the file.

    Raises:
        UsageError: Lists all faults of the recipe and the settings at once.
    """
    text, name = _text(name_or_file)
    return parse(text, source or name, settings or {})


def load_search(name_or_file: str) -> dict[str, Any] | None:
    """Return the table `[search]` of a recipe, which training ignores: its keys and values, as they are.

    Args:
        name_or_file: As for `load`.

    Returns:
        The table; None if the recipe has none.

    Raises:
        UsageError: If there is no such recipe, or it has something else of this name.
    """
    text, name = _text(name_or_file)
    search = _tree(text, name).get(SEARCH)
    if search is not None and not isinstance(search, dict):
        raise UsageError(f"{name}: {SEARCH} must be a table, got {quoted(search)}")
    return search


def _text(name_or_file: str) -> tuple[str, str]:
    """Return a recipe as TOML, and its name in messages."""
    known = names()
    if name_or_file in known:
        return _shipped().joinpath(f"{name_or_file}.toml").read_text(), f"recipe {name_or_file}"
    if name_or_file.endswith(".toml") or Path(name_or_file).is_file():
        return _read(Path(name_or_file)), name_or_file
    raise UsageError(
        f"unknown recipe {name_or_file!r}: expected one of {', '.join(known)}, or a .toml file"
        + did_you_mean(name_or_file, known)
    )


def _read(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{path} is not a recipe: expected a regular file")
        if status.st_size > limit_of("RECIPE_BYTES"):
            raise UsageError(f"{path} is not a recipe: {exceeded('RECIPE_BYTES', status.st_size)}")
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            return ""  # files in /proc also report size 0, and reading one may block forever
        # "utf-8-sig" skips the byte-order mark that some Windows editors write.
        with path.open(encoding="utf-8-sig") as file:
            return file.read(limit_of("RECIPE_BYTES") + 1)  # the file may have grown since stat()
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a recipe: expected TOML in UTF-8 ({error.reason})") from error


def parse(text: str, source: str = "recipe", settings: Mapping[str, Any] | None = None) -> Recipe:
    """Parse and validate a recipe.

    Args:
        text: The recipe as TOML.
        source: Name of the recipe, for messages.
        settings: As for `load`.

    Raises:
        UsageError: Lists all faults of the recipe and the settings at once.
    """
    tree = _tree(text, source)
    tree.pop(SEARCH, None)  # what `scanline tune` searches
    base = tree.pop("base", None)
    if base is not None:
        if base not in names():
            raise UsageError(
                f"{source}: base must be one of {', '.join(names())}, got {quoted(base)}"
                + did_you_mean(str(base), names())
            )
        tree = _merge(load(base).model_dump(), _with_one_length(tree))
    for key, value in (settings or {}).items():
        # Settings may come from a program, so that they are checked like the values of a file.
        _check_numbers({key: value}, source)
        _set(tree, key, value)
        other = _OTHER_LENGTH.get(key)
        if other is not None and _is_positive(value):
            _set(tree, other, 0)
            if "train.epochs" not in (settings or {}):
                _set(tree, "train.epochs", 0)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        message = describe(source, error.errors(include_url=False), bool(settings))
        train = tree.get("train")
        lengths = [train.get(key) for key in ("samples", "steps")] if isinstance(train, dict) else []
        if (
            lengths == [0, 0] and "exactly one" not in message
        ):  # Pydantic checks this only if all fields are valid
            message += "; " + ONE_LENGTH.format(*lengths)
        raise UsageError(message) from None


def change_data_settings(settings: DataSettings, changes: Mapping[str, Any]) -> DataSettings:
    """Return the settings of data with some of them changed.

    Args:
        settings: The settings.
        changes: New values by key of the section "data".

    Raises:
        UsageError: Lists all keys that are unknown, and all values that are not legal.
    """
    try:
        return DataSettings.model_validate(settings.model_dump() | dict(changes))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        for fault in faults:
            fault["loc"] = ("data", *fault["loc"])
        raise UsageError(describe("settings", faults, False)) from None


def read_tree(path: Path) -> dict[str, Any]:
    """Read a recipe file without validating its keys: another version may have written it.

    Args:
        path: The TOML file.

    Returns:
        The tables and values of the file.

    Raises:
        UsageError: If the file is not TOML or exceeds a limit.
    """
    return _tree(_read(path), str(path))


def _tree(text: str, source: str) -> dict[str, Any]:
    if len(text) > limit_of("RECIPE_BYTES"):
        raise UsageError(f"{source} is not a recipe: {exceeded('RECIPE_BYTES', len(text))}")
    # Before parsing: tomllib has no limit of its own.
    if _LONG_KEY.search(text):
        raise UsageError(f"{source} is not a recipe: expected keys of at most 32 parts, got a longer key")
    try:
        tree = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: also raised for numbers of thousands of digits
        raise UsageError(f"{source} is not valid TOML: {error}") from error
    _check_numbers(tree, source)
    return tree


def _check_numbers(tree: Mapping[str, Any], source: str) -> None:
    """Raise UsageError for an integer outside TOML's range: Python cannot print thousands of digits."""
    # An explicit stack: the nesting of an untrusted file must not exhaust the recursion limit.
    pending: list[tuple[str, Any]] = list(tree.items())
    while pending:
        key, value = pending.pop()
        if isinstance(value, Mapping):
            pending += [(f"{key[:80]}.{inner}", each) for inner, each in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(key, each) for each in value]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise UsageError(
                f"{source}: {key[:80]}: expected whole numbers from -2**63 to 2**63 - 1, "
                "got one out of this range"
            )


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse a setting such as `train.batch_size=64`.

    Args:
        text: A dotted key and a value, separated by "=". A value that is not valid TOML is text.

    Returns:
        (key, value), here ("train.batch_size", 64).

    Raises:
        UsageError: If the key or the "=" is missing, or a number is outside TOML's range.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"expected a setting as key=value, such as train.batch_size=64, got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # ValueError: not TOML, or a number of thousands of digits
        return key.strip(), value.strip()
    _check_numbers({key.strip(): parsed}, "setting")
    return key.strip(), parsed


def _with_one_length(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a recipe that has a base: a length in it replaces the lengths of the base."""
    train = tree.get("train")
    given = [key for key in ("samples", "steps") if isinstance(train, dict) and _is_positive(train.get(key))]
    # Two lengths in one file contradict each other, as the keys of a TOML table have no order.
    if len(given) != 1:
        return tree
    return tree | {"train": {"samples": 0, "steps": 0, "epochs": 0} | tree["train"]}


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        # Tables are merged key by key; any other value, lists included, replaces the one of the base.
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _set(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        child = tree.setdefault(section, {})
        if not isinstance(child, dict):
            raise UsageError(f"unknown setting {dotted!r}{did_you_mean(dotted, keys())}")
        tree = child
    tree[key] = value
