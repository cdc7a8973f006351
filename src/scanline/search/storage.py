"""Where a study is kept: an Optuna study in SQLite or PostgreSQL, which other tools of Optuna open, too.

A trial of the study is one of Optuna: WAITING while it can be claimed, RUNNING while a worker trains it, then
COMPLETE, PRUNED (stopped) or FAIL (invalid or diverged). What Optuna has no place for is in user attributes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError, one_line
from scanline.search.definition import Definition
from scanline.search.locks import FileStudyLock, NoStudyLock, ServerStudyLock, StudyLock
from scanline.search.records import RungScore, State, StudyRecord, TrialRecord, Value
from scanline.search.sampling import distributions, params_within, quiet

DATABASE, STUDY_FILE = "study.db", "study.json"
MEMORY = "memory"  # address of a storage that ends with this process
_DEFINITION, _SETTINGS, _GENERATION, _RUNG = "scanline", "settings", "generation", "rung"
_WORKER, _OUTCOME, _MESSAGE = "worker", "outcome", "message"
_ATTEMPTS, _WAIT_S = 6, 0.5
_SQLITE_TIMEOUT_S = 60
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
}
_FAILURES: tuple[State, ...] = ("invalid", "diverged")
_DIRECTIONS = [optuna.study.StudyDirection.MAXIMIZE]
_T = TypeVar("_T")
# What Optuna and SQLAlchemy raise if the database cannot be reached.
_LOST = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


@dataclass(frozen=True)
class StoredTrial:
    """A trial as it is stored.

    Attributes:
        record: The trial.
        id: What identifies it in the storage.
        worker: The worker that has claimed it last; empty if none has.
        is_open: Whether Optuna takes it for a trial that has not ended.
    """

    record: TrialRecord
    id: int
    worker: str = ""
    is_open: bool = True


class StudyStorage:
    """One study in a database.

    Attributes:
        url: Address of the database, without its password.
        name: Name of the study.
    """

    def __init__(self, url: str, name: str) -> None:
        """Connect to a database.

        Args:
            url: `sqlite:///PATH`, `postgresql://USER:PASSWORD@HOST/DATABASE` or "memory".
            name: Name of the study.

        Raises:
            UsageError: If the address is not valid, or of another kind.
            ScanlineError: If the database cannot be reached.
        """
        self._storage: BaseStorage
        self._lock: StudyLock
        self._engine: sqlalchemy.Engine | None = None
        self._id = -1
        self._ended: dict[int, StoredTrial] = {}
        if url == MEMORY:
            self.url, self.name = url, name
            self._storage, self._lock = InMemoryStorage(), NoStudyLock()
            return
        address = _address(url)
        self.url, self.name = _without_password(address), name
        sqlite = address.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": _SQLITE_TIMEOUT_S}} if sqlite else {}
        if not sqlite:
            options = {"pool_pre_ping": True}
        with quiet():
            storage = self._attempt(lambda: _connect(address, options), first=True)
        self._engine = storage.engine
        # Final trials are then read once.
        self._storage = optuna.storages.get_storage(storage)
        if sqlite:
            self._lock = FileStudyLock(Path(f"{address.database}.lock"))
        else:
            self._lock = ServerStudyLock(storage.engine, name)

    def close(self) -> None:
        """Close all connections."""
        self._storage.remove_session()
        if self._engine is not None:
            self._engine.dispose()

    def held(self) -> AbstractContextManager[None]:
        """Return a context in which no other process changes the study."""
        return self._lock.held()

    # --- the study

    def find(self) -> Definition | None:
        """Return the definition of the study; None if there is no study of this name.

        Raises:
            ModelError: If it is a study of another program.
        """
        self._id = -1
        with quiet():
            try:
                self._id = self._attempt(lambda: self._storage.get_study_id_from_name(self.name))
            except KeyError:
                return None
            attributes = self._attempt(lambda: self._storage.get_study_user_attrs(self._id))
        where = f"study {self.name} in {self.url}"
        if not attributes and self._is_empty():  # creating it was interrupted
            return None
        if _DEFINITION not in attributes:
            raise ModelError(f"{where} is not a study of Scanline: choose another --study")
        return Definition.from_json(attributes[_DEFINITION], where)

    def create(self, definition: Definition) -> None:
        """Create the study."""
        with quiet():
            if self._id < 0:
                self._id = self._attempt(lambda: self._storage.create_new_study(_DIRECTIONS, self.name))
            self.set_attribute(_DEFINITION, definition.to_json())
            self._attempt(lambda: self._storage.set_study_system_attr(self._id, *_metric_names(definition)))

    def _is_empty(self) -> bool:
        """Return whether the study has no trials, as one of Scanline that has just been created."""
        directions = self._attempt(lambda: self._storage.get_study_directions(self._id))
        return directions == _DIRECTIONS and not self.trials()

    def set_attribute(self, key: str, value: Any) -> None:
        """Store a user attribute of the study."""
        self._attempt(lambda: self._storage.set_study_user_attr(self._id, key, value))

    def attributes(self) -> dict[str, Any]:
        """Return the user attributes of the study."""
        return self._attempt(lambda: self._storage.get_study_user_attrs(self._id))

    # --- its trials

    def trials(self) -> list[StoredTrial]:
        """Return all trials, in the order of their numbers."""
        frozen = self._attempt(lambda: self._storage.get_all_trials(self._id, deepcopy=False))
        return [self._stored(each) for each in sorted(frozen, key=lambda each: each.number)]

    def _stored(self, trial: FrozenTrial) -> StoredTrial:
        """Return a trial; those that have ended are kept, since they do not change."""
        known = self._ended.get(trial._trial_id)
        if known is None:
            try:
                known = _stored(trial)
            except (TypeError, ValueError) as error:
                raise ModelError(
                    f"study {self.name} in {self.url}: trial {trial.number} is damaged "
                    f"({one_line(error, 200)}); choose another --study"
                ) from error
            if not known.is_open:
                self._ended[known.id] = known
        return known

    def add(
        self, definition: Definition, number: int, generation: int, settings: Mapping[str, Value]
    ) -> StoredTrial:
        """Add a trial, which waits, and return it."""
        params, drawn = params_within(definition.space, settings), distributions(definition.space)
        template = create_trial(
            state=TrialState.WAITING,
            params=params,
            distributions={key: drawn[key] for key in params},
            user_attrs={_SETTINGS: dict(settings), _GENERATION: generation},
        )
        identifier = self._attempt(lambda: self._storage.create_new_trial(self._id, template))
        return StoredTrial(TrialRecord(number, generation, dict(settings), "waiting"), identifier)

    def claim(self, trial: StoredTrial, worker: str) -> None:
        """Let a worker train a trial that waits."""
        # In this order: a trial that runs then always has its worker.
        self._set(trial, _WORKER, worker)
        self._attempt(lambda: self._storage.set_trial_state_values(trial.id, TrialState.RUNNING))

    def release(self, trial: StoredTrial) -> None:
        """Let a trial wait again."""
        self._attempt(lambda: self._storage.set_trial_state_values(trial.id, TrialState.WAITING))

    def record(self, trial: StoredTrial, score: RungScore) -> None:
        """Store the score of a trial at a rung."""
        self._set(trial, f"{_RUNG} {score.rung}", json.dumps(asdict(score)))
        rung, value = score.rung, score.score
        self._attempt(lambda: self._storage.set_trial_intermediate_value(trial.id, rung, value))

    def fail(self, trial: StoredTrial, state: State, message: str) -> None:
        """Store why a trial is invalid or has diverged; `finish` follows."""
        self._set(trial, _MESSAGE, one_line(message, 500))
        self._set(trial, _OUTCOME, state)

    def finish(self, trial: StoredTrial, state: State) -> None:
        """Store what a trial has come to."""
        last = trial.record.last
        if state == "complete" and last is not None:
            final, values = TrialState.COMPLETE, [last.score]
        elif state == "stopped":
            final, values = TrialState.PRUNED, None
        else:
            final, values = TrialState.FAIL, None
        self._attempt(lambda: self._storage.set_trial_state_values(trial.id, final, values))

    def _set(self, trial: StoredTrial, key: str, value: Any) -> None:
        self._attempt(lambda: self._storage.set_trial_user_attr(trial.id, key, value))

    def _attempt(self, request: Callable[[], _T], first: bool = False) -> _T:
        """Return what `request` returns, after several attempts if the database cannot be reached."""
        wait = _WAIT_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return request()
            except _LOST as error:
                if first or attempt == _ATTEMPTS:
                    raise ScanlineError(
                        f"{self.url}: the storage of the study cannot be used ({_reason(error)}); "
                        "the same command with this --study continues the search once it can"
                    ) from error
            time.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")


def open_study(study: str, storage: str | None = None) -> tuple[StudyStorage, Definition]:
    """Open a study that exists.

    Args:
        study: Its folder, or its name in `studies` or in the storage.
        storage: Address of the database; None: as the study's folder says.

    Raises:
        ModelError: If there is no such study.
    """
    folder = study_folder(study)
    url, name = storage, folder.name
    if storage is None:
        if not (folder / STUDY_FILE).is_file():
            raise ModelError(f"{study} is not a study: expected a folder with {STUDY_FILE}, or --storage URL")
        from scanline.storage.json_files import read_json

        tree = read_json(folder / STUDY_FILE)
        url, name = str(tree.get("storage") or sqlite_url(folder)), str(tree.get("name", name))
    opened = StudyStorage(url or "", name)
    definition = opened.find()
    if definition is None:
        opened.close()
        raise ModelError(f"{opened.url} has no study {name}")
    return opened, definition


def read_study(study: str, storage: str | None = None) -> StudyRecord:
    """Return a study with its trials; for the arguments and errors see `open_study`."""
    opened, definition = open_study(study, storage)
    try:
        return record_of(opened, definition)
    finally:
        opened.close()


def record_of(storage: StudyStorage, definition: Definition) -> StudyRecord:
    """Return a study with its trials as plain data."""
    return StudyRecord(
        storage.name,
        definition.data,
        definition.task,
        definition.metric,
        definition.recipe,
        definition.space.words(),
        definition.seed,
        definition.validated(),
        definition.n_train,
        tuple(each.record for each in storage.trials()),
        definition.folds,
    )


def study_folder(study: str) -> Path:
    """Return the folder of a study: a path, or a name in the folder `studies`."""
    path = Path(study)
    inside = Path("studies") / study
    return inside if not path.exists() and len(path.parts) == 1 else path


def sqlite_url(folder: Path) -> str:
    """Return the address of the SQLite database in the folder of a study."""
    return f"sqlite:///{(folder / DATABASE).resolve()}"


def _address(url: str) -> sqlalchemy.URL:
    try:
        address = sqlalchemy.make_url(url)
        kind = address.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            where="--storage",
            expected="postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///PATH",
            found="something else",
        ) from error
    if kind == "postgresql":
        # Without a driver in the address SQLAlchemy would take one that is older.
        return address if "+" in address.drivername else address.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not address.database:
        raise UsageError(
            where="--storage", expected="a postgresql:// or sqlite:/// address", found=f"{kind}://"
        )
    return address


def _without_password(address: sqlalchemy.URL) -> str:
    """Return an address to show and to keep: with it, the password is looked for where libpq does."""
    kept = address._replace(password=None).difference_update_query(["password", "sslpassword"])
    return kept.render_as_string()


def _connect(address: sqlalchemy.URL, options: dict[str, Any]) -> RDBStorage:
    try:
        storage = RDBStorage(address.render_as_string(hide_password=False), engine_kwargs=options)
    except ImportError as error:
        raise MissingExtraError("a study in PostgreSQL", ["psycopg"], "postgresql") from error
    if address.get_backend_name() == "sqlite":
        sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # so that the next use connects anew
    return storage


def _write_ahead(connection: Any, record: object) -> None:
    """Let SQLite write a log instead of waiting for the disk at each commit.

    A killed process loses nothing. After a power cut the last commits may be missing: their trials are then
    settled or trained again, with the same result.
    """
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode=wal")
    cursor.execute("pragma synchronous=normal")
    cursor.close()


def _reason(error: Exception) -> str:
    """Return why a database cannot be used, without the password that a message may repeat."""
    cause = error.__cause__ if error.__cause__ is not None else error
    original = getattr(cause, "orig", None) or cause
    text = re.sub(r"://[^@\s]*@", "://", str(original).strip().split("\n")[0])
    return one_line(re.sub(r"(?i)password=\S+", "password=***", text), 200)


def _metric_names(definition: Definition) -> tuple[str, Any]:
    """Return the system attribute by which Optuna's tools name the objective."""
    return "study:metric_names", [definition.metric]


def _stored(trial: FrozenTrial) -> StoredTrial:
    attributes = trial.user_attrs
    outcome = attributes.get(_OUTCOME)
    state: State = outcome if outcome in _FAILURES else _STATES.get(trial.state, "invalid")
    scores: list[RungScore] = []
    while (text := attributes.get(f"{_RUNG} {len(scores)}")) is not None:
        scores.append(RungScore(**json.loads(text)))
    record = TrialRecord(
        trial.number,
        attributes.get(_GENERATION, 0),
        dict(attributes.get(_SETTINGS, trial.params)),
        state,
        tuple(scores),
        attributes.get(_MESSAGE, ""),
    )
    return StoredTrial(record, trial._trial_id, attributes.get(_WORKER, ""), not trial.state.is_finished())
