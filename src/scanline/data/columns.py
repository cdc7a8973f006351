"""Which column of a table is what: as it was said, or, where there is no doubt, by its name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from scanline.errors import DataError, UsageError, did_you_mean
from scanline.recipe import DataSettings

# Names that say what a column is, in lower case.
_USUAL = {
    "label": ("label", "labels", "class", "class_label", "target", "y"),
    "id": ("id", "sequence", "sequence_id", "seq_id", "series", "series_id", "sample_id", "case_id"),
    "time": ("time", "t", "step", "time_step", "timestep", "timestamp", "datetime", "date"),
    "split": ("split",),
    "group": ("group", "subject", "subject_id", "person", "participant", "speaker", "user", "patient"),
}
_ROLES = ("label", "id", "time", "length", "group", "split")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they are; "" where there is none.

    features: in the order in which a step holds them. notes: what was guessed.
    """

    label: str
    id: str
    time: str
    length: str
    group: str
    split: str
    features: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All that are no features."""
        return tuple(name for role in _ROLES if (name := getattr(self, role)))


def assign(names: list[str], settings: DataSettings, source: str, optional: Collection[str] = ()) -> Columns:
    """What each of the columns `names` is.

    settings: what was said of them; what was not is guessed if exactly one column has one of the usual names.
    optional: roles whose column may be absent although it was said, and "label" if there need be none.
    Raises DataError if two columns have one name, UsageError naming what is not there or cannot be guessed.
    """
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{source}: expected columns of different names, found {twice[0]!r} twice")
    roles, notes = {}, []
    for role in _ROLES:
        said = getattr(settings, f"{role}_column")
        if said:
            roles[role] = said if role not in optional or said in names else ""
            continue
        usual = [name for name in names if name.strip().lower() in _USUAL.get(role, ())]
        usual = [name for name in usual if name not in settings.feature_columns]
        if len(usual) > 1:
            raise UsageError(
                f"{source}: {' and '.join(map(repr, usual))} may both be the {role} column; "
                f"say which by --{role}-column"
            )
        roles[role] = usual[0] if usual else ""
        if usual:
            notes.append(f"{role} column {usual[0]}")
    if not roles["label"] and "label" not in optional:
        raise UsageError(
            f"{source}: which column has the labels? Say it by --label-column; there are {_list(names)}"
        )
    features = settings.feature_columns
    if not features:
        features = tuple(name for name in names if name and name not in roles.values())
        if "" in names:
            notes.append("a column without a name left out")
    for name in (*roles.values(), *features):
        if name and name not in names:
            raise UsageError(
                f"{source}: there is no column {name!r}{did_you_mean(name, names)}; there are {_list(names)}"
            )
    taken = [role for role in _ROLES if roles[role] and roles[role] in features]
    if taken:
        raise UsageError(f"{source}: the {taken[0]} column {roles[taken[0]]!r} cannot be a feature too")
    if not features:
        raise DataError(f"{source}: expected a column with values, found only {_list(names)}")
    return Columns(**roles, features=tuple(features), notes=tuple(notes))


def settle(settings: DataSettings, columns: Columns, shape: str) -> DataSettings:
    """`settings` with what was guessed filled in, so that the same table is read again in the same way.

    The features of a wide table stay unnamed: they are a sequence's values, however many.
    """
    changes: dict[str, Any] = {f"{role}_column": getattr(columns, role) for role in _ROLES}
    if shape == "long":
        changes["feature_columns"] = columns.features
    return settings.model_copy(update={**changes, "shape": shape})


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
