"""The layout of a run folder, and who may write to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import filelock
from pydantic import ValidationError

from scanline.errors import ModelError, ScanlineError, UsageError
from scanline.model.model_files import nearest_run
from scanline.recipe import UNSAID, UNSPLIT, DataSettings, Recipe, SplitSettings, load, read_tree
from scanline.storage.atomic import TEMPORARY, sync_file, write_atomic
from scanline.storage.json_files import read_bounded, write_json

LOCK = ".lock"
# Of a line of metrics.jsonl. A loss is a mean of float32.
_LARGEST = {"step": 2**53, "loss": 3.5e38, "accuracy": 1}


class RunDirectory:
    """A folder `runs/<name>` and the files in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.environment = path / "environment.json"
        self.split = path / "split.json"
        self.metrics = path / "metrics.jsonl"
        self.result = path / "result.json"
        self.log = path / "log.txt"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self._files = (self.recipe, self.environment, self.split, self.metrics, self.result, self.log)
        self._lock = filelock.FileLock(path / LOCK)

    @classmethod
    def create(
        cls, path: Path, recipe: Recipe, environment: dict[str, Any], split: dict[str, Any]
    ) -> RunDirectory:
        """A new run folder, locked for this process. split: which sequences train, validate and test.

        Raises UsageError if something is there already, ScanlineError if it cannot be written.
        """
        folder = cls(path)
        if os.path.lexists(path) and not folder._may_begin():
            resume = f", or go on with that one by `scanline train --resume --run {path}`"
            is_run = folder.recipe.is_file()
            raise UsageError(f"{path} exists already: choose another --run{resume if is_run else ''}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ScanlineError(f"cannot make the run folder {path}: {error.strerror or error}") from error
        folder.lock()
        if not folder._may_begin():  # another process was here first, and has come to its end
            folder.unlock()
            raise UsageError(f"{path} exists already: choose another --run")
        try:
            folder._clear()
            write_atomic(folder.recipe, recipe.to_toml())
            write_json(folder.environment, environment)
            write_json(folder.split, split)
            folder.rewind(0, 0)
        except BaseException:
            folder.discard()
            raise
        return folder

    def discard(self) -> None:
        """Take away the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()

    def _may_begin(self) -> bool:
        """Whether it is an empty folder, or has what is left of a run that was killed before its first
        checkpoint."""
        if not self.path.is_dir():
            return False
        own = {LOCK, self.checkpoints.name} | {file.name for file in self._files if file != self.result}
        found = {each.name for each in self.path.iterdir()}
        strange = {name for name in found - own if not (name.startswith(".") and name.endswith(TEMPORARY))}
        has_trained = self.metrics.exists() and self.metrics.stat().st_size > 0
        has_checkpoint = any(self.checkpoints.glob("step-*"))
        return not found or (LOCK in found and not strange and not has_trained and not has_checkpoint)

    def _clear(self) -> None:
        """Take away what a start has left that was killed before it had a checkpoint."""
        self.sweep()
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for path in self.path.iterdir():
            if path.name != LOCK:
                path.unlink()

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunDirectory, Recipe]:
        """The run folder at `path`, locked for this process, and its recipe.

        Raises ModelError if there is none, UsageError if another process is writing to it.
        """
        folder = cls(path)
        if not folder.recipe.is_file():
            raise ModelError(f"{path} is not a run folder: it has no recipe.toml{nearest_run(path)}")
        folder._check_own()
        folder.lock()
        try:
            return folder, load(str(folder.recipe))
        except UsageError as error:
            folder.unlock()
            raise ModelError(f"cannot go on with {path}: {error}") from error

    def _check_own(self) -> None:
        """Raises ModelError if what a run writes to is a link, or no file or folder: it may lead to what is
        somebody else's."""
        folders = [self.checkpoints, self.model, *self.checkpoints.glob("step-*")]
        for paths, is_right in ((folders, stat.S_ISDIR), (self._files, stat.S_ISREG)):
            for path in paths:
                if os.path.lexists(path) and not is_right(path.lstat().st_mode):
                    what = "a link" if path.is_symlink() else "something else"
                    raise ModelError(
                        f"{path} is {what}, none of a run's own files and folders: nothing is written to it"
                    )

    def lock(self) -> None:
        """Keep other processes from writing here until this one ends, however it ends."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(
                f"{self.path} is being written by another process: wait for it or stop it"
            ) from None
        except OSError as error:
            raise ScanlineError(f"cannot write into {self.path}: {error.strerror or error}") from error

    def unlock(self) -> None:
        """Let others write here."""
        self._lock.release()

    def append_metrics(self, value: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        self._append(self.metrics, json.dumps(value, allow_nan=False))

    def append_log(self, line: str) -> None:
        """Add one line to log.txt."""
        self._append(self.log, line)

    def _append(self, path: Path, line: str) -> None:
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error

    def sizes(self) -> tuple[int, int]:
        """Bytes of metrics.jsonl and of log.txt."""
        return self.metrics.stat().st_size, self.log.stat().st_size

    def sync(self) -> None:
        """Make what was added to metrics.jsonl and log.txt survive a power cut."""
        for path in (self.metrics, self.log):
            try:
                sync_file(path)
            except OSError as error:
                raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error

    def sweep(self) -> None:
        """Take away what a crash left half-written and what was kept to be written over, and put back a model
        that was about to be replaced."""
        for folder in (self.path, self.checkpoints):
            for left in folder.glob(f".*{TEMPORARY}"):
                if left.is_symlink() or not left.is_dir():
                    with contextlib.suppress(OSError):
                        left.unlink(missing_ok=True)
                    continue
                with contextlib.suppress(OSError):
                    former = left / self.model.name
                    if former.is_dir() and not former.is_symlink() and not self.model.exists():
                        os.replace(former, self.model)
                shutil.rmtree(left, ignore_errors=True)

    def rewind(self, metrics_bytes: int, log_bytes: int) -> None:
        """Cut metrics.jsonl and log.txt back to where a checkpoint left them; make them if they are gone."""
        for path, size in ((self.metrics, metrics_bytes), (self.log, log_bytes)):
            try:
                path.touch()
                if path.stat().st_nlink > 1:  # somebody's copy of the run has the same file
                    write_atomic(path, path.read_bytes())
                os.truncate(path, min(size, path.stat().st_size))
            except OSError as error:
                raise ScanlineError(f"cannot write {path}: {error.strerror or error}") from error


def claim(parent: Path, stem: str) -> Path:
    """The first of `parent/stem-001`, `-002`, ... that does not exist, made so that nobody else takes it."""
    number = 1
    while True:
        path = parent / f"{stem}-{number:03d}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            raise ScanlineError(f"cannot make the run folder {path}: {error.strerror or error}") from error


def training_history(path: Path) -> list[dict[str, Any]]:
    """The lines of the metrics.jsonl at `path`: none if it is gone, and none that was cut off.

    Raises ModelError if it is larger than the limit COURSE_BYTES.
    """
    found: list[dict[str, Any]] = []
    if not path.is_file():
        return found
    for line in read_bounded(path, "COURSE_BYTES").split(b"\n"):
        try:
            entry = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("event"), str) and _has_figures(entry):
            found.append(entry)
    return found


def _has_figures(entry: dict[str, Any]) -> bool:
    """Whether a line of metrics.jsonl has what every line has, and as no numbers that cannot be."""
    figures: list[tuple[Any, float]] = [(entry.get(key), most) for key, most in _LARGEST.items()]
    return all(type(value) in (int, float) and 0 <= value <= most for value, most in figures)


def trained_on(path: Path) -> tuple[DataSettings, SplitSettings] | None:
    """Where the data of the run at `path` lie and how they were split; None for a bundle alone.

    Reads no more of the recipe than that: it may have been written by another version.
    """
    recipe = path / "recipe.toml"
    if not recipe.is_file():
        return None
    try:
        tree = read_tree(recipe)
        plain = UNSAID.model_copy(update={"name": str(tree["data"]["name"])})
        try:
            return DataSettings.model_validate(tree["data"]), SplitSettings.model_validate(tree["split"])
        except (ValidationError, KeyError):
            return plain, UNSPLIT
    except (UsageError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{recipe} is damaged: it names no data ({' '.join(str(error).split())}); "
            "say where they lie by --data"
        ) from error
