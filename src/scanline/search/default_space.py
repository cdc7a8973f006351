"""What is searched if the recipe does not say: chosen by what the data are."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scanline.data.source import SequenceSource
from scanline.recipe import Recipe
from scanline.search.records import Value
from scanline.search.space import Choices, Parameter, Range, Space
from scanline.training.preparation import Prepared

# Series are cut into steps of several values, so that about this many steps are left.
_STEPS = (24, 48, 96)
_LONG = 60  # steps from which that is worth trying
_FEW_UPDATES = 600  # steps of training below which more epochs are worth trying


def default_space(recipe: Recipe, prepared: Prepared) -> Space:
    """Return a space for a recipe and its data.

    Args:
        recipe: The recipe of the study.
        prepared: Recipe and data as a trial gets them.
    """
    model, train = recipe.model, recipe.train
    pictures, whole = prepared.data.picture is not None, not prepared.task.per_step
    space: dict[str, Parameter] = {
        "model.cell": _choices(("lstm", "gru"), model.cell),
        "model.hidden_size": _choices((48, 96, 128, 192) if pictures else (32, 64, 128), model.hidden_size),
        "model.layers": _choices((1, 2), model.layers),
        "model.bidirectional": _choices((False, True), model.bidirectional),
        "model.readout": _choices(("last", "mean", "max") if whole else (model.readout,), model.readout),
        "train.learning_rate": _around(train.learning_rate, 6.0),
        "train.batch_size": _choices((8, 16, 32, 64), train.batch_size),
    }
    if model.dropout_on == "every":
        space["model.dropout"] = _choices((0.0, 0.2, 0.4), model.dropout)
    if pictures:
        space["input.view"] = _choices(("rows", "columns"), recipe.input.view)
        space["train.shift"] = _choices((0, 1, 2), train.shift)
        return Space(_several(space))
    space["train.noise"] = _choices((0.0, 0.1, 0.3), train.noise)
    if recipe.input.scaling != "levels":
        space["input.scaling"] = _choices(("standard", "none"), recipe.input.scaling)
    # A label at each step needs the steps as they are.
    widths = _widths(prepared.data.train) if whole and recipe.input.features == 0 else ()
    if widths:
        space["input.features"] = _choices((0, *widths), recipe.input.features)
    updates = train.limited(len(prepared.data.train)).total_steps
    if train.epochs and updates < _FEW_UPDATES:
        space["train.epochs"] = _choices((train.epochs, 2 * train.epochs), train.epochs)
    return Space(_several(space), _first(widths, train.learning_rate, train.batch_size))


def _first(widths: tuple[int, ...], rate: float, batch_size: int) -> tuple[Mapping[str, Value], ...]:
    """Return the settings of the trials after trial 0: each was the best of them on other data.

    Args:
        widths: Widths of steps into which series can be cut, ascending.
        rate: Learning rate of the recipe.
        batch_size: Batch size of the recipe.
    """
    wide: list[dict[str, Value]] = [{"input.features": width} for width in widths] or [{}]
    middle, coarse = wide[len(wide) // 2], wide[-1]
    exact: dict[str, Value] = {"train.noise": 0.0}
    deep: dict[str, Value] = {"model.layers": 2}
    gru: dict[str, Value] = {"model.cell": "gru"}
    often: dict[str, Value] = {"train.batch_size": max(8, batch_size // 2)}
    found = [
        middle,
        {**middle, **exact},
        {**middle, **gru, **often, "train.learning_rate": 2 * rate},
        {**middle, **deep},
        {**middle, "train.learning_rate": 3 * rate},
        {**coarse, "train.noise": 0.1},
        {**middle, **gru, **deep, **exact},
    ]
    return tuple(each for number, each in enumerate(found) if each and each not in found[:number])


def _choices(values: tuple[Value, ...], own: Value) -> Choices:
    """Return the values as choices, with that of the recipe among them."""
    # Equal values of other types, as 0 and False, do not occur here.
    return Choices(values if own in values else (own, *values))


def _around(value: float, factor: float) -> Range:
    """Return a range on a logarithmic scale with a value in its middle."""
    low, high = (float(f"{each:.1g}") for each in (value / factor, min(10.0, value * factor)))
    return Range(low, high, log=True)


def _several(space: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Return the settings that have more than one value."""
    return {key: each for key, each in space.items() if not isinstance(each, Choices) or len(each.values) > 1}


def _widths(source: SequenceSource) -> tuple[int, ...]:
    """Return into steps of how many values series can be cut, ascending: several steps become one."""
    lengths = source.lengths
    longest = int(lengths.max())
    if longest < _LONG:
        return ()
    common = math.gcd(*(int(length) for length in set(lengths.tolist())))
    divisors = [each for each in range(2, longest // 8 + 1) if common % each == 0]
    if not divisors:
        return ()
    found = {min(divisors, key=lambda each: abs(math.log(longest / each / steps))) for steps in _STEPS}
    return tuple(source.features * each for each in sorted(found))
