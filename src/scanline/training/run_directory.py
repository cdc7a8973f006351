"""The run directory: the paths of its files, and who may write to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

import filelock

from scanline.errors import ModelError, ScanlineError, UsageError
from scanline.model.model_files import nearest_run
from scanline.recipe import Recipe, load
from scanline.storage.atomic import TEMPORARY, sync_file, write_atomic
from scanline.storage.json_files import write_json
from scanline.training.records import read
from scanline.training.run_files import Environment, MetricsLine, Result, SplitFile, read_metrics

LOCK = ".lock"


class RunDirectory:
    """A directory `runs/<name>`. Reading needs no lock; writing does.

    Attributes:
        path: The directory.
        recipe: Path of recipe.toml.
        environment: Path of environment.json.
        split: Path of split.json.
        metrics: Path of metrics.jsonl.
        result: Path of result.json.
        log: Path of log.txt.
        checkpoints: Path of the folder of checkpoints.
        model: Path of the model folder.
    """

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
    def create(cls, path: Path, recipe: Recipe, environment: Environment, split: SplitFile) -> RunDirectory:
        """Create a run directory, locked for this process.

        Args:
            path: The directory; it may exist if it is empty, or if a run was killed in it before its first
                checkpoint.
            recipe: Content of recipe.toml.
            environment: Content of environment.json.
            split: Content of split.json.

        Raises:
            UsageError: If something else is there, or another process is writing to it.
            ScanlineError: If the directory cannot be written.
        """
        directory = cls(path)
        if os.path.lexists(path) and not directory._may_begin():
            is_run = directory.recipe.is_file()
            resume = f", or resume that run with `scanline train --resume --run {path}`" if is_run else ""
            raise UsageError(f"{path} exists already: choose another --run{resume}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_created(path, error) from error
        directory.lock()
        # Asked again under the lock: another process may have begun a run here in the meantime.
        if not directory._may_begin():
            directory.unlock()
            raise UsageError(f"{path} exists already: choose another --run")
        try:
            directory._clear()
            write_atomic(directory.recipe, recipe.to_toml())
            write_json(directory.environment, environment.to_json())
            write_json(directory.split, split.to_json())
            directory.truncate_logs(0, 0)
        except BaseException:
            directory.discard()
            raise
        return directory

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunDirectory, Recipe]:
        """Open the directory of a run that is resumed, locked for this process.

        Returns:
            The directory and the recipe in it.

        Raises:
            ModelError: If there is no run, or a file in it is a link.
            UsageError: If another process is writing to it.
        """
        directory = cls(path)
        if not directory.recipe.is_file():
            raise ModelError(f"{path} is not a run directory: it has no recipe.toml{nearest_run(path)}")
        directory._check_files()
        directory.lock()
        try:
            return directory, load(str(directory.recipe))
        except UsageError as error:
            directory.unlock()
            raise ModelError(f"cannot resume {path}: {error}") from error

    def discard(self) -> None:
        """Remove the directory and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()

    def _may_begin(self) -> bool:
        """Return whether the directory is empty, or left by a run that had not made a checkpoint."""
        if not self.path.is_dir():
            return False
        own = {LOCK, self.checkpoints.name} | {file.name for file in self._files if file != self.result}
        found = {entry.name for entry in self.path.iterdir()}
        foreign = {name for name in found - own if not (name.startswith(".") and name.endswith(TEMPORARY))}
        # A directory with training results is never cleared.
        has_trained = self.metrics.exists() and self.metrics.stat().st_size > 0
        has_checkpoint = any(self.checkpoints.glob("step-*"))
        return not found or (LOCK in found and not foreign and not has_trained and not has_checkpoint)

    def _clear(self) -> None:
        """Remove what a run left that was killed before its first checkpoint."""
        self.sweep()
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for path in self.path.iterdir():
            if path.name != LOCK:
                path.unlink()

    def _check_files(self) -> None:
        """Raise ModelError if a file or folder of the run is a link: writing would change its target."""
        folders = [self.checkpoints, self.model, *self.checkpoints.glob("step-*")]
        for paths, is_right, expected in (
            (folders, stat.S_ISDIR, "a folder"),
            (self._files, stat.S_ISREG, "a regular file"),
        ):
            for path in paths:
                if os.path.lexists(path) and not is_right(path.lstat().st_mode):
                    got = "a link" if path.is_symlink() else "something else"
                    raise ModelError(f"{path}: expected {expected}, got {got}; nothing was written")

    def lock(self) -> None:
        """Lock the directory until `unlock` or the end of the process, even if it is killed.

        Raises:
            UsageError: If another process holds the lock.
            ScanlineError: If the directory cannot be written.
        """
        try:
            # The system releases the lock of a killed process, so no stale lock is left behind.
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(
                f"{self.path} is being written by another process: wait for it or stop it"
            ) from None
        except OSError as error:
            raise ScanlineError(f"cannot write into {self.path}: {error.strerror or error}") from error

    def unlock(self) -> None:
        """Release the lock."""
        self._lock.release()

    def read_environment(self) -> Environment | None:
        """Read environment.json; None if it is absent. Raises ModelError if it is damaged."""
        return read(Environment, self.environment) if self.environment.is_file() else None

    def read_split(self) -> SplitFile | None:
        """Read split.json; None if it is absent. Raises ModelError if it is damaged."""
        return read(SplitFile, self.split) if self.split.is_file() else None

    def read_result(self) -> Result | None:
        """Read result.json; None if it is absent. Raises ModelError if it is damaged."""
        return read(Result, self.result) if self.result.is_file() else None

    def read_metrics(self) -> list[MetricsLine]:
        """Read metrics.jsonl without invalid lines. Raises ModelError if it is too large."""
        return read_metrics(self.metrics)

    def append_metrics(self, line: str) -> None:
        """Add a line to metrics.jsonl."""
        _append(self.metrics, line)

    def append_log(self, line: str) -> None:
        """Add a line to log.txt."""
        _append(self.log, line)

    def log_sizes(self) -> tuple[int, int]:
        """Return the sizes of metrics.jsonl and log.txt in bytes."""
        return self.metrics.stat().st_size, self.log.stat().st_size

    def sync_logs(self) -> None:
        """Make the content of metrics.jsonl and log.txt survive a power cut."""
        for path in (self.metrics, self.log):
            try:
                sync_file(path)
            except OSError as error:
                raise _not_written(path, error) from error

    def truncate_logs(self, metrics_bytes: int, log_bytes: int) -> None:
        """Cut metrics.jsonl and log.txt to the sizes that a checkpoint recorded; create them if absent."""
        for path, size in ((self.metrics, metrics_bytes), (self.log, log_bytes)):
            try:
                path.touch()
                if path.stat().st_nlink > 1:  # the file is shared with a copy of the run: replace it
                    write_atomic(path, path.read_bytes())
                os.truncate(path, min(size, path.stat().st_size))
            except OSError as error:
                raise _not_written(path, error) from error

    def sweep(self) -> None:
        """Remove temporary files and folders that a crash left behind.

        If the crash came between the two renames that replace the model, the old model is put back.
        """
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


def claim(parent: Path, stem: str) -> Path:
    """Create the first of `parent/stem-001`, `-002`, ... that does not exist.

    Creating it claims the number: another process that looks at the same time takes the next one.
    """
    number = 1
    while True:
        path = parent / f"{stem}-{number:03d}"
        try:
            # mkdir fails if the path exists, and is atomic: checking first would be a race.
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _not_created(path, error) from error


def _append(path: Path, line: str) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            # Opened for each line, so that nothing stays buffered and a resume may truncate the file
            # in between.
            file.write(line + "\n")
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> ScanlineError:
    return ScanlineError(f"cannot write {path}: {error.strerror or error}")


def _not_created(path: Path, error: OSError) -> ScanlineError:
    return ScanlineError(f"cannot create the run directory {path}: {error.strerror or error}")
