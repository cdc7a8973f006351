"""What is searched: for each setting its choices, or the range that it is drawn from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scanline.errors import UsageError, did_you_mean, quoted
from scanline.recipe import Recipe, keys, parse
from scanline.search.records import LOG, Value
from scanline.storage.digest import sha256

_FIXED = ("name", "about", "licence", "task")  # and the sections below
_FIXED_SECTIONS = ("data", "split")
_RANGE_KEYS = frozenset({"low", "high", "log", "step"})
_MOST_CHOICES = 1000


@dataclass(frozen=True)
class Choices:
    """A setting that is one of several values."""

    values: tuple[Value, ...]

    def text(self) -> str:
        """Return the choices in words."""
        return ", ".join(json.dumps(value) for value in self.values)

    def ends(self) -> tuple[Value, ...]:
        """Return the values to check."""
        return self.values

    def to_json(self) -> Any:
        """Return the choices as in a recipe."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """A setting that is a number from `low` to `high`, both included.

    Attributes:
        low: Lowest value; a whole number if the setting is one.
        high: Highest value, likewise.
        log: Whether the logarithm is drawn evenly.
        step: Distance between whole numbers that are drawn; 1 for others.
    """

    low: float | int
    high: float | int
    log: bool = False
    step: int = 1

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int)

    def text(self) -> str:
        """Return the range in words."""
        extra = LOG if self.log else f", step {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{extra}"

    def ends(self) -> tuple[Value, ...]:
        """Return the values to check."""
        return self.low, self.high

    def to_json(self) -> Any:
        """Return the range as in a recipe."""
        tree: dict[str, Any] = {"low": self.low, "high": self.high}
        return tree | ({"log": True} if self.log else {}) | ({"step": self.step} if self.step > 1 else {})


Parameter = Choices | Range


@dataclass(frozen=True)
class Space:
    """The searched settings by dotted key, and trials to begin with.

    Attributes:
        parameters: What each setting may be.
        first: Settings of the first trials after trial 0, which has those of the recipe; keys that are
            missing are as in the recipe. They may be outside of the ranges.
    """

    parameters: Mapping[str, Parameter]
    first: tuple[Mapping[str, Value], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the space as a JSON object; `from_json` restores it."""
        return {
            "parameters": {key: each.to_json() for key, each in self.parameters.items()},
            "first": [dict(each) for each in self.first],
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Space:
        """Return the space that `to_json` returned."""
        parameters = {key: _parameter(key, each, "the study") for key, each in tree["parameters"].items()}
        return cls(parameters, tuple(tree["first"]))

    def digest(self) -> str:
        """Return the SHA-256 of the space."""
        return sha256(json.dumps(self.to_json(), sort_keys=True).encode())

    def words(self) -> dict[str, str]:
        """Return each parameter in words."""
        return {key: each.text() for key, each in self.parameters.items()}

    def check(self, recipe: Recipe, source: str) -> None:
        """Check that each choice, and both ends of each range, are legal in a recipe.

        Raises:
            UsageError: Names the key and the fault.
        """
        text = recipe.to_toml()
        for key, parameter in self.parameters.items():
            for value in parameter.ends():
                try:
                    parse(text, f"{source}: {SEARCHED} {key}", {key: value})
                except UsageError as error:
                    named = key in str(error).partition(f"{SEARCHED} {key}")[2]  # else others contradict
                    if named and not self._fits_another(text, key, value):
                        raise

    def _fits_another(self, text: str, key: str, value: Value) -> bool:
        """Return whether a choice that the recipe contradicts is legal with one of another setting."""
        for other, parameter in self.parameters.items():
            for also in parameter.ends() if other != key else ():
                try:
                    parse(text, SEARCHED, {key: value, other: also})
                except UsageError:
                    continue
                return True
        return False


SEARCHED = "searched setting"


def read_space(tree: Mapping[str, Any], recipe: Recipe, source: str) -> Space:
    """Read the table `[search]` of a recipe.

    Args:
        tree: The table: dotted keys, or tables within tables.
        recipe: The recipe that is searched from.
        source: Name of the recipe, for messages.

    Raises:
        UsageError: If the space is empty, a key does not exist or cannot be searched, or bounds contradict
            each other; names the key.
    """
    legal = keys()
    parameters: dict[str, Parameter] = {}
    for key, value in _flat(tree, frozenset(legal)):
        if key not in legal:
            raise UsageError(f"{source}: [search] has an unknown setting {key!r}{did_you_mean(key, legal)}")
        if key in _FIXED or key.partition(".")[0] in _FIXED_SECTIONS:
            raise UsageError(
                f"{source}: [search] must not have {key}: all trials share the data, the splits and the task"
            )
        parameters[key] = _for_setting(_parameter(key, value, f"{source}: [search]"), key, recipe)
    if not parameters:
        raise UsageError(
            f'{source}: [search] is empty: name settings, such as "model.hidden_size" = [64, 128]'
        )
    space = Space(parameters)
    space.check(recipe, source)
    return space


def _flat(tree: Mapping[str, Any], legal: frozenset[str], stem: str = "") -> list[tuple[str, Any]]:
    """Return nested tables by dotted key, down to the keys of a recipe."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        key = stem + name
        section = any(each.startswith(f"{key}.") for each in legal)
        nested = isinstance(value, Mapping) and key not in legal and section
        found += _flat(value, legal, f"{key}.") if nested else [(key, value)]
    return found


def _for_setting(parameter: Parameter, key: str, recipe: Recipe) -> Parameter:
    """Return a range of real numbers if the setting is one, also with bounds written as 0 and 1."""
    own: object = recipe
    for name in key.split("."):
        own = getattr(own, name)
    if isinstance(parameter, Range) and parameter.whole and parameter.step == 1 and isinstance(own, float):
        return replace(parameter, low=float(parameter.low), high=float(parameter.high))
    return parameter


def _parameter(key: str, value: Any, source: str) -> Parameter:
    if isinstance(value, list):
        return _choices(key, value, source)
    if isinstance(value, Mapping) and value.keys() <= _RANGE_KEYS and {"low", "high"} <= value.keys():
        return _range(key, value, source)
    raise UsageError(
        f"{source} {key} must be a list of choices, or a range such as {{ low = 0.001, high = 0.1, "
        f"log = true }}, got {quoted(value)}"
    )


def _choices(key: str, values: list[Any], source: str) -> Choices:
    if not 1 <= len(values) <= _MOST_CHOICES:
        raise UsageError(f"{source} {key} must have 1 to {_MOST_CHOICES:,} choices, got {len(values):,}")
    for value in values:
        if not isinstance(value, bool | int | float | str) or value != value:
            raise UsageError(
                f"{source} {key}: choices must be numbers, text, true or false, got {quoted(value)}"
            )
    distinct = {json.dumps(value) for value in values}
    if len(distinct) < len(values):
        raise UsageError(f"{source} {key}: choices must differ, got {quoted(values)}")
    return Choices(tuple(values))


def _range(key: str, tree: Mapping[str, Any], source: str) -> Range:
    low, high, log, step = tree["low"], tree["high"], tree.get("log", False), tree.get("step", 1)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise UsageError(f"{source} {key}: {name} must be a number, got {quoted(bound)}")
    if not isinstance(log, bool):
        raise UsageError(f"{source} {key}: log must be true or false, got {quoted(log)}")
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise UsageError(f"{source} {key}: step must be a whole number above 0, got {quoted(step)}")
    if low >= high:
        raise UsageError(f"{source} {key}: low must be below high, got {low} and {high}")
    if log and low <= 0:
        raise UsageError(f"{source} {key}: low must be above 0 with log = true, got {low}")
    whole = isinstance(low, int) and isinstance(high, int)
    if step > 1 and (log or not whole):
        raise UsageError(f"{source} {key}: step is for ranges of whole numbers without log, got {step}")
    return Range(low, high, log, step) if whole else Range(float(low), float(high), log)
