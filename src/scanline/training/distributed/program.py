"""`scanline.train(..., processes=K)`: the request of a Python program, carried out by several processes.

The request lies in a folder: a JSON file, and the arrays of the program as `.npy` files.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from scanline.data.readers.arrays import Arrays
from scanline.data.readers.stored_arrays import read_arrays, write_arrays
from scanline.errors import DataError, Interrupted, ModelError, ScanlineError, UsageError
from scanline.training.distributed.join import Request
from scanline.training.distributed.launch import launch
from scanline.training.distributed.worker import reported, take_part
from scanline.training.events import Stepped

_REQUEST, _RUN, _FAILURE = "request.json", "run.txt", "failure.json"


def train_in_processes(request: Request, processes: int, log: Callable[[str], None]) -> Path:
    """Train in several processes on this machine.

    Args:
        request: What to train. Data are a name, a path, or `Arrays` of numbers and text.
        processes: Number of processes.
        log: Called with each log line.

    Returns:
        The run directory.

    Raises:
        ScanlineError: The error of the training.
    """
    with tempfile.TemporaryDirectory(prefix="scanline-request-") as path:
        folder = Path(path)
        data = request.data
        tree = asdict(replace(request, data=None))
        if isinstance(data, Arrays):
            tree["arrays"] = write_arrays(folder, data)
        else:
            tree["data"] = data
        (folder / _REQUEST).write_text(json.dumps(tree), encoding="utf-8")
        code = launch(["-m", "scanline.training.distributed.program", path], processes, output=log)
        if code:
            raise _failure(folder, code)
        return Path((folder / _RUN).read_text(encoding="utf-8"))


# Errors that are made of their message.
_KINDS: dict[str, type[ScanlineError]] = {kind.__name__: kind for kind in (UsageError, DataError, ModelError)}


def _failure(folder: Path, code: int) -> ScanlineError:
    """Return the error that ended the training."""
    try:
        found = json.loads((folder / _FAILURE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if code > 128:
            return Interrupted("the training was stopped", code - 128)
        return ScanlineError(f"the training has ended with exit code {code}")
    if code > 128:
        return Interrupted(found["message"], code - 128)
    return _KINDS.get(found["class"], ScanlineError)(found["message"])


def main(path: str) -> None:
    """Carry out the request in one of the processes."""
    folder = Path(path)
    tree = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    arrays = tree.pop("arrays", None)
    request = Request(**tree)
    if arrays is not None:
        request = replace(request, data=read_arrays(folder, arrays))
    try:
        training = take_part(request)
        for line in training.notes:
            print(line, flush=True)
        with reported():
            for event in training.events():
                if not isinstance(event, Stepped):
                    print(event.line(), flush=True)
        (folder / _RUN).write_text(str(training.directory.path), encoding="utf-8")
    except ScanlineError as error:
        failure = {"class": type(error).__name__, "message": str(error)}
        (folder / _FAILURE).write_text(json.dumps(failure), encoding="utf-8")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1])
