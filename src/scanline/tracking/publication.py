"""Publishing one run: bringing what the server holds up to what the run directory seals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from scanline.errors import ScanlineError
from scanline.tracking.facts import Facts, model_digest, read_facts, read_files
from scanline.tracking.sealed import Sealed, final_points, read_sealed
from scanline.tracking.server import Server, ServerRun
from scanline.tracking.target import Target

_LOCK = ".tracking.lock"
_STATUS = {"finished": "FINISHED", "stopped early": "FINISHED", "interrupted": "KILLED", "diverged": "FAILED"}


@dataclass(frozen=True)
class Tracked:
    """A run that was published.

    Attributes:
        run: The run directory.
        mlflow_run: Id of the MLflow run.
        experiment: Id of the experiment.
        url: Address of its page; None if there is no HTTP server.
        status: Its status on the server.
        points: Number of points that were added.
        step: The last training step whose points may be published; None if there is no checkpoint.
    """

    run: str
    mlflow_run: str
    experiment: str
    url: str | None
    status: str
    points: int
    step: int | None

    def to_json(self) -> dict[str, object]:
        """Return the fields as a JSON object."""
        return asdict(self)


class Publication:
    """Publishes one run, in as many passes as are asked for.

    After a failed pass nothing is assumed of the server: the next one reads it again.

    Attributes:
        run: The run directory.
    """

    def __init__(self, run: Path, target: Target) -> None:
        self.run, self._target = run, target
        self._server: Server | None = None
        self._facts: Facts | None = None
        self._remote: ServerRun | None = None
        self._sent_bytes: int | None = None  # of metrics.jsonl; None: not compared with the server yet
        self._last_ms = self._added = 0
        self._status = "RUNNING"

    def lock(self, timeout_s: float) -> filelock.BaseFileLock:
        """Lock the publishing of this run until the lock is released or the process ends.

        Two processes that compare with the server at the same time could both send what is missing.

        Raises:
            ScanlineError: If another process holds the lock.
        """
        lock = filelock.FileLock(self.run / _LOCK)
        try:
            lock.acquire(timeout=timeout_s, poll_interval=0.1)
        except filelock.Timeout:
            raise ScanlineError(
                f"{self.run} is being published by another process, as by `scanline train --track`: "
                "wait for it"
            ) from None
        except OSError as error:
            raise ScanlineError(f"cannot write into {self.run}: {error.strerror or error}") from error
        return lock

    def update(self, ends_as: str | None = None, is_training: bool = False) -> Tracked:
        """Publish what is missing.

        Args:
            ends_as: Status of a run that has no result, "FAILED" or "KILLED"; None leaves it.
            is_training: Whether the run is being trained: then only its metrics change.

        Returns:
            What was published.

        Raises:
            TrackingError: If the server does not answer or refuses a request.
            ModelError: If the run is damaged.
        """
        sealed = read_sealed(self.run)
        if self._server is None:
            self._server = Server(self._target)
        try:
            with self._server.errors():
                remote = self._open()
                self._add_points(remote, sealed)
                if not is_training:
                    self._complete(remote, sealed, ends_as)
        except BaseException:
            self._remote = self._sent_bytes = None
            raise
        return Tracked(
            str(self.run),
            remote.id,
            self._server.experiment_id,
            remote.url,
            self._status,
            self._added,
            sealed.step,
        )

    def _open(self) -> ServerRun:
        """Return the MLflow run, with the parameters, tags and files that training does not change."""
        if self._remote is None:
            assert self._server is not None
            self._facts = read_facts(self.run)
            name = self.run.resolve().name
            remote = self._server.find(self._facts, name)
            remote.describe(self._facts.parameters, self._facts.tags)
            remote.upload(read_files(self.run, None))
            self._remote = remote
        return self._remote

    def set_running(self) -> None:
        """Mark the run as being trained, at the beginning or when it is resumed."""
        if self._remote is not None and self._server is not None:
            with self._server.errors():
                self._remote.set_status("RUNNING")

    def _add_points(self, remote: ServerRun, sealed: Sealed) -> None:
        points = sealed.points(self._sent_bytes or 0)
        missing = remote.missing(points) if self._sent_bytes is None else points
        remote.add_points(missing)
        self._sent_bytes = len(sealed.content)
        self._last_ms = max([self._last_ms, *(point.offset_ms for point in points)])
        self._added += len(missing)

    def _complete(self, remote: ServerRun, sealed: Sealed, ends_as: str | None) -> None:
        """Publish the outcome: final metrics, files, model, status."""
        result = sealed.result
        if result is not None and result.training.has_ended:
            missing = remote.missing_final(final_points(result))
            remote.add_points(missing)
            self._added += len(missing)
            digest = model_digest(self.run)
            if digest is not None:
                # Imported here, since it imports torch.
                from scanline.tracking.packaging import write_mlflow_model

                def write(folder: Path, model_id: str) -> None:
                    write_mlflow_model(self.run, folder, remote.id, model_id)

                remote.add_model(write, digest, result.training.steps)
        remote.upload(read_files(self.run, sealed.content))
        if result is not None:
            self._status = _STATUS.get(result.training.status, "FINISHED")
            remote.set_status(self._status, round(result.training.seconds * 1000))
        elif ends_as is not None:
            self._status = ends_as
            remote.set_status(ends_as, self._last_ms)
