"""From a recipe and a source to what training needs: the steps, their form, and the network's shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanline import recipe as recipes
from scanline.data.default import FALLBACK, read_or_default
from scanline.data.download import Progress
from scanline.data.preprocessing import Preprocessing
from scanline.data.readers.arrays import Arrays
from scanline.data.reading import Samples
from scanline.data.splits import Dataset, balanced
from scanline.errors import DataError, UsageError
from scanline.model.network import Architecture
from scanline.recipe import Recipe

SEQUENCES = "sequences"  # the recipe for all that are no pictures


@dataclass(frozen=True, eq=False)
class Prepared:
    """recipe: with what was guessed of the data filled in. data: as the network's steps. form: how they got
    so. architecture: of the network that reads them."""

    recipe: Recipe
    data: Dataset
    preprocessing: Preprocessing
    architecture: Architecture


def prepare(
    data: str | Arrays | None,
    recipe: str | None,
    settings: Mapping[str, Any] | None,
    on_progress: Progress | None = None,
) -> Prepared:
    """Read, split and cut what is to be trained on.

    data: a name or path, or arrays; None leaves it to the recipe. recipe: a name or a TOML file; None takes
    `digits` for the digits, `rows` for other pictures, `sequences` for all else. settings: dotted key to
    value.
    Raises UsageError or DataError before anything is made.
    """
    plan = recipes.load(recipe or (FALLBACK if data == FALLBACK else recipes.DEFAULT), settings)
    samples, note = read_or_default(data or plan.data.name, plan.data, on_progress)
    if recipe is None and _usual_recipe(samples) != plan.name:
        plan = recipes.load(_usual_recipe(samples), settings)
    found = samples.data_set(plan.split, plan.input.missing)
    if note:
        found = dataclasses.replace(found, notes=(note, *found.notes))
    return make_ready(_settled(plan, found), found)


def prepare_again(plan: Recipe, data: Arrays | None, on_progress: Progress | None = None) -> Prepared:
    """The same for a run that goes on. data: what it began with, if that is in no file."""
    if data is None and not plan.data.name:
        raise UsageError(
            "this run was trained on arrays of a program: go on there, with "
            "scanline.train(scanline.Arrays(...), resume=RUN)"
        )
    samples, _ = read_or_default(data or plan.data.name, plan.data, on_progress)
    return make_ready(plan, samples.data_set(plan.split, plan.input.missing))


def longer(plan: Recipe, recipe: str | None, settings: Mapping[str, Any], run: str, count: int) -> Recipe:
    """`plan`, the recipe of a run that goes on, with the steps that are wanted now.

    recipe, settings: what is asked for, as for `prepare`. run: what to call it. count: of its training
    sequences.
    Raises UsageError naming each key that would change, unless it only means more steps.
    """
    if recipe is None and not settings:
        return plan
    changes = dict(settings)
    for length, rest in (("train.steps", "train.samples"), ("train.samples", "train.steps")):
        if length in changes:
            changes = {rest: 0, "train.epochs": 0} | changes
    wanted = recipes.parse(plan.to_toml(), f"the recipe of {run}", changes)
    if recipe is not None:
        other = recipes.load(recipe, settings)
        wanted = other.model_copy(update={"data": plan.data, "name": plan.name, "about": plan.about})
    wanted = wanted.model_copy(update={"train": wanted.train.limited(count)})
    before, after = _flat(plan.model_dump()), _flat(wanted.model_dump())
    differ = [key for key in before if before[key] != after[key]]
    lengths = {"train.steps", "train.samples", "train.epochs"}
    told = [f"{key} ({before[key]} there, {after[key]} wanted)" for key in differ if key not in lengths]
    if told:
        raise UsageError(
            f"{run} cannot go on with another recipe: {', '.join(told)}; "
            "only more train.steps or train.samples may be asked for"
        )
    if wanted.train.total_steps < plan.train.total_steps:
        raise UsageError(
            f"{run} cannot go on with fewer steps: {plan.train.total_steps:,} there, "
            f"{wanted.train.total_steps:,} wanted"
        )
    return wanted if wanted.train.total_steps > plan.train.total_steps else plan


def _flat(tree: Mapping[str, Any], stem: str = "") -> dict[str, Any]:
    """By dotted key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{stem}{key}.") if isinstance(value, Mapping) else {stem + key: value}
    return found


def _usual_recipe(samples: Samples) -> str:
    """The recipe that is taken where none is named."""
    if samples.named is not None and samples.name == FALLBACK:
        return FALLBACK
    return recipes.DEFAULT if samples.are_pictures else SEQUENCES


def _settled(plan: Recipe, data: Dataset) -> Recipe:
    """`plan` with all that is needed to read the same data again in the same way, from anywhere."""
    wanted = data.settings or plan.data
    paths = {"test": wanted.test, "validation": wanted.validation}
    whole = {key: str(Path(path).resolve()) if path else "" for key, path in paths.items()}
    settled = wanted.model_copy(update={**whole, "name": data.address})
    return plan.model_copy(update={"data": settled})


def make_ready(plan: Recipe, found: Dataset) -> Prepared:
    """`found`, as it was read and split, made ready for `plan`. Raises UsageError if they do not fit."""
    form = Preprocessing.of(found, plan.input)
    data = form.prepare_all(found)
    plan = plan.model_copy(update={"train": plan.train.limited(len(data.train))})
    if plan.train.class_weights == "balanced":
        train = dataclasses.replace(data.train, weights=balanced(data.train))
        data = dataclasses.replace(data, train=train)
    return Prepared(plan, data, form, _architecture(plan, data))


def _architecture(recipe: Recipe, data: Dataset) -> Architecture:
    """The network that `recipe` makes for `data`, which are its steps already.

    Raises UsageError if the two do not fit, DataError if there is nothing to tell apart.
    """
    model, known = recipe.model, len(data.train.classes)
    if known < 2:
        raise DataError(
            f"{data.name} has a single class, {data.train.classes[0]}: two are needed to tell apart"
        )
    if model.classes not in (0, known):
        raise UsageError(
            f"model.classes must be 0 or {known}, as many as {data.name} has, got {model.classes}"
        )
    if recipe.train.shift and data.picture is None:
        raise UsageError(
            f"train.shift must be 0 for {data.name}, which has no pictures, got {recipe.train.shift}"
        )
    if recipe.train.patience and data.validation is None:
        raise UsageError(
            "train.patience counts validations, but there is no validation part: set split.validation"
        )
    return Architecture(
        cell=model.cell,
        input_size=data.train.features,
        hidden_size=model.hidden_size,
        layers=model.layers,
        bidirectional=model.bidirectional,
        dropout=model.dropout,
        dropout_on=model.dropout_on,
        readout=model.readout,
        classes=known,
    )
