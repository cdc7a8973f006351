"""A program that loads files, each in a child of one warmed-up process, and reports what the load did.

Its arguments are the files to warm up with, KIND=PATH. Each line of standard input is {"kind", "path"}; the
response is a line of JSON: the error, the processor time, the growth of memory at its peak, and every event
that a load must not cause.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scanline import recipe
from scanline.data.partition import partition
from scanline.data.reading import read_dataset
from scanline.errors import DataError, ScanlineError
from scanline.evaluation.predict_lines import predict_lines
from scanline.formats.images import read_pixels
from scanline.interchange.keras import read as keras
from scanline.interchange.reading import read_network
from scanline.interchange.tf1 import read as tf1
from scanline.interchange.torch import read as torch_state
from scanline.model.artifact import Model
from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT
from scanline.storage.json_files import read_json
from scanline.training.provenance import trained_on
from scanline.training.run_files import read_metrics
from tests.hostile import small

SECONDS = 10
# Audit events that a load must not cause.
FORBIDDEN = (
    *("pickle.find_class", "exec", "compile", "import", "marshal.load", "marshal.loads", "code.__new__"),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "ctypes.dlopen"),
    *("socket.connect", "socket.getaddrinfo", "urllib.Request", "os.symlink", "os.link", "os.remove"),
    *("os.rename", "os.mkdir", "shutil.rmtree", "shutil.unpack_archive", "os.truncate", "os.chmod"),
)
_SMALL = small.bundled()
_WHOLE = DEFAULT_SPLIT.model_copy(update={"validation": 0.0, "test": 0.0})

LOADERS: dict[str, Callable[[Path], Any]] = {
    "data": lambda path: partition(read_dataset(path, DEFAULT_DATA), _WHOLE, "zero"),
    "picture": read_pixels,
    "bundle": Model.load,
    "checkpoint": small.load_checkpoint,
    "network": read_network,
    "recipe": lambda path: recipe.load(str(path)),
    "run": trained_on,
    "course": read_metrics,
    "record": read_json,
    "session": lambda path: _SMALL.resume(path.read_bytes()),
    "lines": lambda path: list(predict_lines(_SMALL, path.read_text().splitlines(keepends=True))),
}


class Watch:
    """Records forbidden audit events while `on`. An audit hook cannot be removed."""

    def __init__(self) -> None:
        self.on, self.seen = False, []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {str(arguments[:1])[:200]}")
        elif event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
                self.seen.append(f"open {path!r} {mode!r} for writing")


def load_and_report(kind: str, path: Path, watch: Watch) -> dict[str, Any]:
    """Load the file and report what happened."""
    with open("/proc/self/statm") as file:
        before = int(file.read().split()[1]) * resource.getpagesize()
    report: dict[str, Any] = {"error": "", "text": ""}
    watch.seen.clear()
    watch.on = True
    begin = time.process_time()
    try:
        LOADERS[kind](path)
    except ScanlineError as error:
        # A FormatError of a data file is a DataError: the exit code is what matters to a caller.
        kind_of_error = "DataError" if isinstance(error, DataError) else type(error).__name__
        report |= {"error": kind_of_error, "text": str(error)}
    except BaseException as error:  # noqa: BLE001 - reported
        report |= {"error": f"crash: {type(error).__name__}", "text": str(error)[:2000]}
    report["seconds"] = time.process_time() - begin
    watch.on = False
    report["bytes"] = max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
    return report | {"events": watch.seen}


def in_a_child(kind: str, path: Path, watch: Watch) -> dict[str, Any]:
    """Run `load_and_report` in a child, whose memory starts as it is now."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        signal.alarm(SECONDS)
        with os.fdopen(there, "w") as pipe:
            json.dump(load_and_report(kind, path, watch), pipe)
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        report = {"error": f"crash: signal {os.WTERMSIG(status)}", "text": "", "seconds": SECONDS, "bytes": 0}
        return report | {"events": []}
    return json.loads(text)


def main() -> None:
    """Warm up, then serve requests."""
    for each in sys.argv[1:]:
        kind, _, path = each.partition("=")
        LOADERS[kind](Path(path))
    assert keras, "imported lazily by the readers"
    assert tf1
    assert torch_state
    watch = Watch()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(in_a_child(request["kind"], Path(request["path"]), watch)), flush=True)


if __name__ == "__main__":
    main()
