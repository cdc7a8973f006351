"""Assigns roles to the columns of a table: from the settings, or by name if the name is unambiguous."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from scanline.data.readers.step_columns import ALL_COLUMNS, is_counter_name, match_steps
from scanline.errors import UNPRINTABLE, DataError, UsageError, did_you_mean, join_names, one_line
from scanline.formats.text import joined_beside
from scanline.recipe import DataSettings

# Usual names of the columns of each role, in lower case.
_USUAL = {
    "label": ("label", "labels", "class", "class_label", "target", "y"),
    "id": (
        *("id", "sequence", "sequence_id", "seq_id", "series", "series_id", "sample_id", "case_id"),
        *("recording", "recording_id", "trial", "trial_id"),
    ),
    "time": ("time", "t", "step", "time_step", "timestep", "timestamp", "datetime", "date"),
    "split": ("split",),
    "group": ("group", "subject", "subject_id", "person", "participant", "speaker", "user", "patient"),
}
AMBIGUOUS = "ambiguous-table"  # code of errors that ask the user what the columns mean
_ROLES = ("label", "id", "time", "length", "group", "split")
# The index of a pandas table: in CSV, in CSV that was read and written again, and in Parquet.
_INDEX = re.compile(r"|Unnamed: 0(\.\d+)?|__index_level_\d+__")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their role; "" if no column has the role.

    features: in the order of the values of a step. notes: what was inferred, for the user. categorical: those
    of the features that are names of categories. static: those that have one value for a sequence. labels:
    several columns with labels; `label` is "" then.
    """

    label: str
    id: str
    time: str
    length: str
    group: str
    split: str
    features: tuple[str, ...]
    notes: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that are not features, each once."""
        return tuple(
            dict.fromkeys([*(name for role in _ROLES if (name := getattr(self, role))), *self.labels])
        )


def assign(
    names: Sequence[str],
    settings: DataSettings,
    source: str,
    optional: Collection[str] = (),
    headed: bool = True,
) -> Columns:
    """Assign a role to each of the columns `names`.

    Args:
        names: Names of the columns.
        settings: Roles set by the user. Any other role is inferred if exactly one column has a usual name.
        source: The table, for messages.
        optional: Roles whose column may be absent even if it is set; "label" if labels are not required.
        headed: Whether the table has a header line; otherwise the names are 0, 1, 2, ....

    Raises:
        DataError: If two columns have the same name, or the columns are not those of the training data.
        UsageError: Names the column that is missing or the role that cannot be inferred.
    """
    _check_names(names, source)
    roles, notes = _assign_roles(names, settings, source, optional, headed)
    features, static = settings.feature_columns, settings.static_columns
    if features:
        features = (*features, *(name for name in static if name not in features))
    else:
        named = {*roles.values(), *settings.label_columns} - {""}
        rest = [name for name in names if name not in named]
        features = tuple(name for name in rest if not _INDEX.fullmatch(name))
        left_out = [name for name in rest if _INDEX.fullmatch(name)]
        if settings.step_columns not in ((), ALL_COLUMNS):
            features, counters = match_steps(features, settings.step_columns, headed, source)
            left_out += counters
        notes += [f"{_called(name)} left out" for name in dict.fromkeys(left_out)]
    time = roles["time"]
    # The rows of a wide table are sequences, so an inferred time column orders nothing.
    if settings.shape == "wide" and time and not settings.time_column:
        roles["time"] = ""
        notes[notes.index(f"time column {time}")] = f"column {time} left out"
    there = set(names)
    labels = settings.label_columns
    if "label" in optional and not there.issuperset(labels):
        labels = ()
    for name in (*roles.values(), *labels, *features, *static):
        if name and name not in there:
            join = joined_beside([name], names)
            known = _list(names) if join is join_names else join(names)
            raise UsageError(
                f"{source}: unknown column {name!r}; expected one of {known}{did_you_mean(name, names)}"
            )
    _check_once(roles | {f"label {name}": name for name in labels}, features, source)
    if settings.time_features and not roles["time"] and settings.shape != "wide":
        raise UsageError(
            f"{source}: time features need a column of times: give it with --time-column: {_list(names)}"
        )
    if not features:
        raise DataError(f"{source}: expected a column with values, found only {_list(names)}")
    label, name, time, length, group, split = (roles[role] for role in _ROLES)
    columns = Columns(
        label, name, time, length, group, split, tuple(features), tuple(notes), static=static, labels=labels
    )
    _check_static(columns, source)
    return columns


def _check_names(names: Sequence[str], source: str) -> None:
    """Raise DataError if two columns have the same name, or a name cannot be printed."""
    twice = _first_twice(name for name in names if name)
    if twice:
        raise DataError(f"{source}: expected columns of different names, found {one_line(twice)!r} twice")
    # White space is allowed in names; characters that control a terminal are not.
    strange = next((name for name in names if UNPRINTABLE.search(re.sub(r"\s", " ", name))), None)
    if strange is not None:
        raise DataError(
            f"{source}: expected names of columns that can be printed, found {one_line(strange)!r}"
        )


def _assign_roles(
    names: Sequence[str], settings: DataSettings, source: str, optional: Collection[str], headed: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the column of each role, "" if there is none, and notes about those that were inferred."""
    there = set(names)
    # A table without a header line and with as many columns as training had steps has no label.
    if not headed and "label" in optional and len(names) == len(settings.step_columns):
        there.discard(settings.label_column)
    roles: dict[str, str] = {}
    notes: list[str] = []
    # A column with a role set by the user is no candidate for another role.
    taken = {*settings.feature_columns, *settings.static_columns}
    taken |= {*(getattr(settings, f"{role}_column") for role in _ROLES)}
    # The steps of the training data have no other role. Names without a header line mean nothing.
    taken |= {*settings.step_columns, *settings.label_columns}
    for role in _ROLES:
        if role == "label" and settings.label_columns:
            roles[role] = ""
            continue
        chosen = getattr(settings, f"{role}_column")
        if chosen:
            roles[role] = chosen if role not in optional or chosen in there else ""
            continue
        usual = [name for name in names if _is_usual(name, role, names) and name not in taken]
        if len(usual) > 1:
            raise UsageError(
                f"{source}: {' and '.join(map(repr, usual))} may both be the {role} column: "
                f"choose one with --{role}-column",
                code=AMBIGUOUS,
            )
        roles[role] = usual[0] if usual else ""
        if usual:
            notes.append(f"{role} column {usual[0]}")
    if not roles["label"] and not settings.label_columns and "label" not in optional:
        raise UsageError(
            f"{source}: which column has the labels? Choose one with --label-column: {_list(names)}",
            code=AMBIGUOUS,
        )
    return roles, notes


def is_usual_label(names: Sequence[str]) -> bool:
    """Return whether one of the columns has a usual name of the label column."""
    return any(_is_usual(name, "label", names) for name in names)


def usual_roles(names: Sequence[str]) -> dict[str, str]:
    """Return the role of each column whose name is usual for one, by the name of the column."""
    return {name: role for role in _ROLES for name in names if _is_usual(name, role, names)}


def _is_usual(name: str, role: str, names: Sequence[str]) -> bool:
    """Return whether `name` is usual for the role; y beside x or z is a coordinate, not a label."""
    plain = name.strip().lower()
    if plain == "y" and any(other.strip().lower() in ("x", "z") for other in names):
        return False
    return plain in _USUAL.get(role, ())


def _check_once(roles: dict[str, str], features: Sequence[str], source: str) -> None:
    """Check that no column has two roles, except id and group. Raises UsageError."""
    twice = _first_twice(features)
    if twice:
        raise UsageError(f"{source}: the feature column {twice!r} is named twice")
    values = set(features)
    for role, name in roles.items():
        if name in values:
            raise UsageError(f"{source}: the {role} column {name!r} cannot be a feature too")
        other = next((other for other in roles if other != role and roles[other] == name), "")
        if name and other and {role, other} != {"id", "group"}:
            raise UsageError(f"{source}: the {role} column {name!r} cannot be the {other} column too")


def _check_static(columns: Columns, source: str) -> None:
    """Check that static columns are some of the features, each once, and not all. Raises UsageError."""
    twice = _first_twice(columns.static)
    if twice:
        raise UsageError(f"{source}: the static column {one_line(twice)!r} is named twice")
    others = [name for name in columns.static if name not in columns.features]
    if others:
        raise UsageError(
            f"{source}: the static column {one_line(others[0])!r} has another role: it must be a feature"
        )
    if columns.static and set(columns.features) == set(columns.static):
        raise UsageError(
            f"{source}: expected a feature that is not static, as the steps have no values without one"
        )


def _first_twice(names: Any) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")


def _called(name: str) -> str:
    return f"column {name}" if name else "a column without a name"


def settle(settings: DataSettings, columns: Columns, shape: str) -> DataSettings:
    """Return `settings` with the inferred roles, so that similar tables are read in the same way.

    Other long tables need the same features, and may have more columns. Other wide tables need the same
    steps and no others, unless the user has chosen feature columns.
    """
    changes: dict[str, Any] = {f"{role}_column": getattr(columns, role) for role in _ROLES}
    if shape == "long":
        changes["feature_columns"] = columns.features
        changes["categorical_columns"] = columns.categorical
        changes["static_columns"] = columns.static
        return settings.model_copy(update={**changes, "shape": shape})
    if not settings.id_column and is_counter_name(columns.id):
        changes["id_column"] = ""  # other tables need no index
    if not settings.feature_columns:
        changes["step_columns"] = settings.step_columns
        if settings.step_columns in ((), ALL_COLUMNS):
            changes["step_columns"] = columns.features
    return settings.model_copy(update={**changes, "shape": shape})


def _list(names: Sequence[str]) -> str:
    listed = ", ".join(one_line(name) or "''" for name in names[:20])
    return listed + (f" and {len(names) - 20} more" if len(names) > 20 else "")
