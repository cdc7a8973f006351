"""The folder of a study: what is in it, besides runs and the database."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from scanline.data.dataset import Dataset
from scanline.data.readers.arrays import Arrays
from scanline.data.readers.stored_arrays import read_arrays, write_arrays
from scanline.errors import ModelError, UsageError
from scanline.search.definition import Definition
from scanline.search.storage import STUDY_FILE, sqlite_url
from scanline.storage.json_files import read_json, write_json
from scanline.training.inputs import read_again_unsplit

SCHEMA = 1
_ARRAYS = "arrays"
FINALS = "finals"  # folder of the members of an ensemble but the winner


class StudyFiles:
    """A folder `studies/<name>`.

    Attributes:
        folder: The folder.
        table: Path of the table of trials.
        winner: Path of the winner's run directory.
        recipe: Path of the winner's recipe.
        ensemble: Path of the ensemble.
        baselines: Path of the baselines.
        logs: Path of the folder with what workers write to standard error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table, self.winner = folder / "trials.csv", folder / "winner"
        self.recipe, self.ensemble = folder / "winner.toml", folder / "ensemble"
        self.baselines, self.logs = folder / "baselines.json", folder / "workers"

    def final(self, number: int, rank: int) -> Path:
        """Return the run directory of the final model of a trial; that of rank 0 is the winner."""
        return self.folder / FINALS / f"{number:04d}" if rank else self.winner

    def exists(self) -> bool:
        """Whether the folder has a study."""
        return (self.folder / STUDY_FILE).is_file()

    def create(self, name: str, storage: str | None, arrays: Arrays | None = None, data: str = "") -> None:
        """Write study.json, and the arrays of a program.

        Args:
            name: Name of the study.
            storage: Address of its database, without a password; None: the folder's own.
            arrays: The data, if they are arrays.
            data: Where the data are on this machine, if not where the study was begun.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tree: dict[str, Any] = {"schema": SCHEMA, "name": name, "storage": storage or "", "data": data}
        tree["host"] = socket.gethostname()
        if arrays is not None:
            (self.folder / _ARRAYS).mkdir(exist_ok=True)
            tree[_ARRAYS] = write_arrays(self.folder / _ARRAYS, arrays)
        write_json(self.folder / STUDY_FILE, tree)

    def name(self) -> str:
        """Return the name of the study."""
        return str(self._read().get("name", self.folder.name))

    def storage(self) -> str:
        """Return the address of the database."""
        return str(self._read().get("storage") or sqlite_url(self.folder))

    def check_machine(self, storage: str) -> None:
        """Check that this machine may work on the study beside the one that has begun it; see below."""
        check_machine(storage, str(self._read().get("host", "")), str(self.folder))

    def _read(self) -> dict[str, Any]:
        tree = read_json(self.folder / STUDY_FILE)
        if tree.get("schema") != SCHEMA:
            raise ModelError(
                f"{self.folder / STUDY_FILE}: expected schema {SCHEMA}, found {tree.get('schema')!r}"
            )
        return tree

    def read_data(self, definition: Definition, with_test: bool = False) -> Dataset:
        """Read the data of the study, without the test split unless it is asked for.

        Raises:
            DataError: If they cannot be read.
        """
        tree, recipe = self._read(), definition.base()
        split = recipe.split.model_copy(update={"use_test": with_test})
        settings = recipe.data.model_copy(update={"name": tree.get("data") or definition.address})
        recipe = recipe.model_copy(update={"data": settings, "split": split})
        arrays = tree.get(_ARRAYS)
        data = read_arrays(self.folder / _ARRAYS, arrays) if arrays else None
        return replace(read_again_unsplit(recipe, data), notes=())


def check_machine(storage: str, host: str, where: str) -> None:
    """Check that a machine may use the storage of a search that runs on another one.

    Args:
        storage: Address of the database.
        host: Name of the machine on which the search was begun; "" if it is not known.
        where: The study, for the message.

    Raises:
        UsageError: If the database is SQLite, whose log in the memory of one machine another cannot read.
    """
    here = socket.gethostname()
    if storage.startswith("sqlite") and host not in ("", here):
        raise UsageError(
            f"{where}: the trials are in SQLite on {host}, which {here} cannot share; several machines "
            "require --storage postgresql://..."
        )
