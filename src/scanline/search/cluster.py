"""Workers of a search as tasks on a Ray cluster.

Ray only starts the workers and starts those again that are lost with their machine. Trials are shared by the
storage of the study, as between processes of one machine: the trial of a lost worker is resumed by another.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scanline.clusters import connected
from scanline.errors import Interrupted, ScanlineError, one_line
from scanline.search.processes import KINDS
from scanline.search.storage import StudyStorage
from scanline.search.study_files import StudyFiles, check_machine
from scanline.search.worker import OPEN, Worker

_LOOK_S = 0.2  # between two looks at the tasks
_OPEN_S = 1.0  # between two questions of a worker whether to continue
_PAUSE_S = 120.0  # for the workers to pause their trials and end
_RETRIES = 100  # of a worker, each after it was killed or its machine was lost


@dataclass(frozen=True)
class RemoteStudy:
    """A study as the machines of a cluster see it.

    Attributes:
        folder: Its folder.
        name: Its name.
        storage: Address of the storage, with its password.
        device: Device to compute on.
        host: Name of the machine on which the search was begun.
    """

    folder: str
    name: str
    storage: str = field(repr=False)
    device: str
    host: str


def work_on_ray(
    study: RemoteStudy,
    workers: int,
    address: str,
    deadline: float | None,
    progress: Callable[[], object],
    close: Callable[[], object],
) -> bool:
    """Train trials on a cluster until the study has as many as it may have.

    Args:
        study: The study.
        workers: Number of workers, each of which uses one core; 0: all cores of the cluster.
        address: "local" starts Ray on this machine, "auto" joins the cluster of this machine, "HOST:PORT"
            that of another one.
        deadline: Time of `time.monotonic` at which trials are paused; None: no limit.
        progress: Called often.
        close: Called to let the workers, by the storage, pause their trials and end.

    Returns:
        Whether the workers have come to their end; otherwise the deadline has.

    Raises:
        ScanlineError: If Ray cannot be reached, or a worker fails.
    """
    with connected(address):
        import ray

        count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        # Not in the environment of the tasks, which Ray's dashboard shows: the address has a password.
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_work)
        waiting = [task.remote(study) for _ in range(count)]
        try:
            while waiting:
                done, waiting = ray.wait(waiting, timeout=_LOOK_S)
                progress()
                for reply in ray.get(done):
                    if reply is not None:
                        code, message = reply
                        raise KINDS.get(code, ScanlineError)(message)
                if deadline is not None and time.monotonic() >= deadline and waiting:
                    return False
            return True
        except ray.exceptions.RayError as error:
            fault = one_line(error, 300)
            raise ScanlineError(
                f"--engine ray: {fault}; repeat the command with this --study to continue"
            ) from error
        finally:
            if waiting:
                close()
                ray.wait(waiting, num_returns=len(waiting), timeout=_PAUSE_S)


def _work(study: RemoteStudy) -> tuple[int, str] | None:
    """Be a worker, in a task on any machine; return exit code and message of an error."""
    import torch

    from scanline.kernels.waiting import limit_spinning

    limit_spinning()
    files = StudyFiles(Path(study.folder))
    try:
        check_machine(study.storage, study.host, "--engine ray")
        with contextlib.closing(StudyStorage(study.storage, study.name)) as storage:
            definition = storage.find()
            if definition is None:
                raise ScanlineError(f"{storage.url} has no study {study.name} any more")
            if not files.exists():
                files.create(study.name, storage.url)
            torch.set_num_threads(definition.threads)
            data = files.read_data(definition)
            Worker(storage, definition, data, files.folder, _Closed(storage), study.device).work()
    except Interrupted:
        return None
    except ScanlineError as error:
        return error.exit_code, str(error)
    return None


@dataclass
class _Closed:
    """Whether the search has been closed; asked at most once a second."""

    storage: StudyStorage
    closed: bool = False
    asked: float = float("-inf")

    def __call__(self) -> bool:
        if not self.closed and time.monotonic() - self.asked > _OPEN_S:
            self.closed = not self.storage.attributes().get(OPEN, True)
            self.asked = time.monotonic()
        return self.closed
