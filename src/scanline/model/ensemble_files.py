"""The folder of an ensemble: `model.json`, the model card, and the complete model folder of each member.

The description has the digest of each member's description, and that the digest of every weight, so that a
changed bit is detected wherever it is. Members are called by their numbers: no path is read from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scanline.errors import ModelError
from scanline.limits import exceeded, limit_of
from scanline.model.description import ENSEMBLE, ENSEMBLE_SCHEMA, EnsembleDescription
from scanline.model.model_files import DESCRIPTION, MEMBERS, REMEDY, WEIGHTS, check_printable
from scanline.storage.digest import sha256
from scanline.storage.json_files import parse_sealed_json, read_bounded, read_sealed_json


def member_folder(number: int) -> str:
    """Return the folder of a member within that of the ensemble; the first has the number 1."""
    return f"{MEMBERS}/{number}"


def file_names(count: int) -> tuple[str, ...]:
    """Return the names of the files that loading an ensemble of `count` members needs."""
    folders = [member_folder(number) for number in range(1, count + 1)]
    return DESCRIPTION, *(f"{folder}/{name}" for folder in folders for name in (DESCRIPTION, WEIGHTS))


def names_beside(description: bytes) -> tuple[str, ...]:
    """Return the names of the files that loading a model needs beside its `model.json`.

    Args:
        description: Content of `model.json`; if it is damaged, loading reports that.
    """
    try:
        tree = parse_sealed_json(description)
    except ValueError:
        tree = {}
    members = tree.get("members")
    if tree.get("kind") != ENSEMBLE or not isinstance(members, list):
        return (WEIGHTS,)
    return file_names(min(len(members), limit_of("MEMBERS")))[1:]


def is_ensemble(folder: Path) -> bool:
    """Return whether a model folder holds an ensemble. Raises ModelError if its description is damaged."""
    path = folder / DESCRIPTION
    return path.is_file() and read_sealed_json(path).get("kind") == ENSEMBLE


def read_ensemble(folder: Path) -> EnsembleDescription:
    """Read the description of an ensemble, and check those of its members against their digests.

    Raises:
        ModelError: If a file is missing or damaged; names the file and the fault.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ModelError(f"{path} is missing; {REMEDY}")
    tree = read_sealed_json(path)
    if tree.get("kind") != ENSEMBLE:
        raise ModelError(f"{path}: expected an ensemble, found a model of one network")
    if tree.get("schema") != ENSEMBLE_SCHEMA:
        raise ModelError(
            f"{path}: expected schema {ENSEMBLE_SCHEMA} of an ensemble, found {tree.get('schema')!r}; "
            f"{REMEDY}, or update Scanline"
        )
    _check_count(path, tree)
    check_printable(path, tree)
    try:
        description = EnsembleDescription.model_validate(tree)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ModelError(f"{path} is damaged: {where}{fault['msg']}; {REMEDY}") from None
    # Only descriptions are compared here: loading a member compares its weights with the digests in its own.
    for number, member in enumerate(description.members, 1):
        file = folder / member_folder(number) / DESCRIPTION
        if not file.is_file():
            raise ModelError(f"{file} is missing; {REMEDY}")
        if sha256(read_bounded(file, "JSON_BYTES")) != member.sha256:
            raise ModelError(f"{file} is damaged: it is not the one that was saved; {REMEDY}")
    return description


def _check_count(path: Path, tree: dict[str, Any]) -> None:
    # Before the list is validated: it may be long.
    members = tree.get("members")
    if isinstance(members, list) and len(members) > limit_of("MEMBERS"):
        raise ModelError(f"{path}: {exceeded('MEMBERS', len(members))}")
