"""What a study searches, and by which rules; it never changes once the study exists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from scanline.errors import ModelError, UsageError, join_names
from scanline.recipe import Recipe, parse
from scanline.search.records import Value
from scanline.search.space import Space

SCHEMA = 1
# Attributes that must not change, and the options that they come from.
_OPTIONS = {
    "seed": "--seed",
    "folds": "--folds",
    "validation": "validation split",
    "ordered": "order of trials (--async)",
    "threads": "number of threads",
}
RUNGS = (0.25, 0.5, 1.0)
REDUCTION = 2  # of the trials at a rung, this fraction continues
GENERATION = 8


@dataclass(frozen=True)
class Definition:
    """A study.

    Attributes:
        data: Title of the data set.
        address: What finds the data from any folder; "" for arrays, which the study folder keeps.
        digest: SHA-256 of the training and validation sequences.
        n_train: Number of sequences that trials are trained and validated on.
        task: Name of the task.
        metric: Name of the score that trials are ranked by.
        recipe: The recipe that the trials change, as TOML.
        space: What is searched.
        seed: Seed of the sampler.
        folds: Number of folds that trials are validated on; 0: the validation split.
        validation: Validation split as a fraction, if there are no folds and the data have none.
        ordered: Whether trials depend on the order of their numbers alone, not on which ends first.
        generation: Number of trials that are asked for together.
        rungs: Fractions of the training after which trials are compared, ascending; the last is 1.
        reduction: Of the trials at a rung, one in `reduction` continues.
        threads: Number of threads that a trial is computed on.
    """

    data: str
    address: str
    digest: str
    n_train: int
    task: str
    metric: str
    recipe: str
    space: Space
    seed: int
    folds: int
    validation: float
    ordered: bool = True
    generation: int = GENERATION
    rungs: tuple[float, ...] = RUNGS
    reduction: int = REDUCTION
    threads: int = 1

    @property
    def last_rung(self) -> int:
        """Number of the rung at the end of training."""
        return len(self.rungs) - 1

    def validated(self) -> str:
        """Return in words what trials are validated on."""
        if self.folds:
            return f"{self.folds} folds of {self.n_train:,} training sequences"
        if self.validation:
            return f"{self.validation:g} of {self.n_train:,} training sequences"
        return "the validation split of the data"

    def base(self) -> Recipe:
        """Return the recipe that the trials change."""
        return parse(self.recipe, "the recipe of the study")

    def trial_recipe(self, settings: Mapping[str, Value], fold: int = 0) -> Recipe:
        """Return the recipe of a trial, which leaves the test split unread.

        Raises:
            UsageError: If the settings are refused.
        """
        split: dict[str, Value] = {"split.use_test": False}
        if self.folds:
            split |= {"split.folds": self.folds, "split.fold": fold}
        elif self.validation:
            split |= {"split.validation": self.validation}
        return parse(self.recipe, "these settings", dict(settings) | split)

    def to_json(self) -> str:
        """Return the definition as JSON text; `from_json` restores it."""
        tree = asdict(replace(self, space=Space({})))
        return json.dumps({"schema": SCHEMA, **tree, "space": self.space.to_json()})

    @classmethod
    def from_json(cls, text: str, where: str) -> Definition:
        """Return the definition that `to_json` returned.

        Raises:
            ModelError: If another version has written it, or it is damaged.
        """
        try:
            tree: dict[str, Any] = json.loads(text)
            schema = tree.pop("schema")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{where} is not a study of Scanline") from error
        if schema != SCHEMA:
            raise ModelError(f"{where}: expected a study of schema {SCHEMA}, found {schema!r}")
        try:
            tree["rungs"] = tuple(tree["rungs"])
            return cls(**tree | {"space": Space.from_json(tree["space"])})
        except (TypeError, KeyError, ValueError, UsageError) as error:
            raise ModelError(f"{where}: the definition of the study is damaged ({error})") from error

    def check_same(self, other: Definition, where: str) -> None:
        """Raise UsageError if `other` asks for something else than this study, naming what differs."""
        if self.digest != other.digest:
            raise UsageError(
                f"{where} is a study of {self.data}, with other sequences than {other.data}: choose another "
                "--study"
            )
        if self.space.digest() != other.space.digest():
            keys = sorted(
                key
                for key in {*self.space.parameters, *other.space.parameters}
                if self.space.parameters.get(key) != other.space.parameters.get(key)
            )
            what = ", ".join(keys) or "its first trials"
            raise UsageError(f"{where} searches another space ({what} differ): choose another --study")
        # As settings, not as text: a recipe of an older version lacks keys that have their default.
        mine, theirs = self.base(), other.base()
        if mine != theirs:
            keys = sorted(_differing(mine.model_dump(), theirs.model_dump()))
            raise UsageError(
                f"{where} has another recipe ({join_names(keys)} differ): choose another --study"
            )
        for name, option in _OPTIONS.items():
            there, wanted = getattr(self, name), getattr(other, name)
            if there != wanted:
                raise UsageError(
                    f"{where} was begun with another {option} ({there} there, {wanted} wanted): repeat the "
                    "options that it was begun with, or choose another --study"
                )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], stem: str = "") -> list[str]:
    """Return the dotted keys whose values differ between two nested settings."""
    found: list[str] = []
    for key, value in one.items():
        if isinstance(value, Mapping):
            found += _differing(value, other[key], f"{stem}{key}.")
        elif value != other[key]:
            found.append(stem + key)
    return found
