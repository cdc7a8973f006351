"""The programs of a search: a worker, and the training of a model that is kept.

    python -m scanline.search.program worker FOLDER
    python -m scanline.search.program final FOLDER NUMBER NAME RANK

Standard input is a pipe: at its end, as when the process that started this one is gone, training is paused.
The address of the storage is in the environment, since it may contain a password.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from scanline.data.dataset import Dataset
from scanline.errors import Interrupted, ScanlineError
from scanline.kernels.waiting import limit_spinning
from scanline.search.definition import Definition
from scanline.search.final import train_final
from scanline.search.storage import StudyStorage
from scanline.search.study_files import StudyFiles
from scanline.search.worker import Worker

STORAGE, DEVICE = "SCANLINE_STUDY_STORAGE", "SCANLINE_STUDY_DEVICE"


@dataclass
class Stop:
    """Whether standard input has ended."""

    ended: bool = False

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.ended

    def watch(self) -> None:
        """Wait for the end of standard input on a thread of its own."""

        def read() -> None:
            # Not sys.stdin: its lock, held by this thread, would abort the interpreter at exit.
            while os.read(0, 4096):
                pass
            self.ended = True

        threading.Thread(target=read, name="standard input", daemon=True).start()


def open_all(folder: Path, with_test: bool) -> tuple[StudyStorage, Definition, Dataset]:
    """Open the study of a folder, and read its data, without the test split unless it is asked for."""
    files = StudyFiles(folder)
    storage = StudyStorage(os.environ.get(STORAGE) or files.storage(), files.name())
    definition = storage.find()
    if definition is None:
        raise ScanlineError(f"{storage.url} has no study {storage.name} any more")
    return storage, definition, files.read_data(definition, with_test)


def main(arguments: list[str]) -> int:
    """Run a program, and return its exit code."""
    import torch

    kind, folder = arguments[0], Path(arguments[1])
    limit_spinning()
    stop = Stop()
    stop.watch()
    try:
        rank = int(arguments[4]) if kind == "final" else None
        storage, definition, data = open_all(folder, with_test=rank == 0)
        torch.set_num_threads(definition.threads)
        device = os.environ.get(DEVICE, "cpu")
        if rank is None:
            Worker(storage, definition, data, folder, stop, device).work()
        else:
            trial = storage.trials()[int(arguments[2])].record
            path = folder / arguments[3]
            train_final(definition, trial, path, data, rank, stop, device)
    except Interrupted as error:
        return error.exit_code
    except ScanlineError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
