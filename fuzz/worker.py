"""Run one reader on mutated inputs in a process that may crash: `python -m fuzz.worker TARGET ...`.

If Atheris is installed, it guides the mutations by coverage of Scanline's lines; otherwise the same mutations
are applied at random. Worker and parent share the state through a file that both map.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import mmap
import os
import resource
import struct
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

_HEAD = struct.Struct("<QQddQ")
STATE_BYTES = 2**23
_MORE_MEMORY = 1_500_000_000


class State:
    """State of a worker, shared with its parent.

    Attributes:
        tried: Number of inputs.
        faults: Number of faults.
        slowest: Processor time of the slowest input, in seconds.
        begun: Time at which the current input began; 0 between inputs.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), STATE_BYTES)
        self.tried, self.faults, self.slowest, self.begun = 0, 0, 0.0, 0.0

    @staticmethod
    def make(path: Path) -> State:
        """Return a new state in the file `path`."""
        path.write_bytes(bytes(STATE_BYTES))
        return State(path)

    def begin(self, content: bytes) -> None:
        """Record that an input is about to be read."""
        self.begun = time.time()
        self._map[_HEAD.size : _HEAD.size + len(content)] = content
        self._write(len(content))

    def end(self, seconds: float, fault: bool) -> None:
        """Record that the input was read."""
        self.tried, self.faults, self.begun = self.tried + 1, self.faults + fault, 0.0
        self.slowest = max(self.slowest, seconds)
        self._write(0)

    def _write(self, size: int) -> None:
        self._map[: _HEAD.size] = _HEAD.pack(self.tried, self.faults, self.slowest, self.begun, size)

    def look(self) -> bytes:
        """Update the attributes to what the other process wrote; return the current input."""
        self.tried, self.faults, self.slowest, self.begun, size = _HEAD.unpack(self._map[: _HEAD.size])
        return self._map[_HEAD.size : _HEAD.size + size]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    faulthandler.enable()
    atheris: Any = None
    with contextlib.suppress(ImportError):
        import atheris
    if atheris is not None:
        _import_from_source()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        os.environ |= {"SCANLINE_OFFLINE": "1", "SCANLINE_CACHE": f"{place}/cache", "KERAS_BACKEND": "torch"}
        os.environ.pop("SCANLINE_DATA", None)
        Trial(arguments.target, arguments.seed, State(arguments.state), Path(place), atheris).run(
            arguments.seconds
        )


def _import_from_source() -> None:
    """Import Scanline from its source folder: Atheris cannot instrument the loader of an editable install."""
    sys.meta_path[:] = [each for each in sys.meta_path if "_editable_" not in type(each).__module__]
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    for library in Path(sysconfig.get_path("purelib"), "scanline/kernels").glob("libscanline.*"):
        os.environ.setdefault("SCANLINE_LIBRARY", str(library))


class Trial:
    """A reader with its seed inputs and the folder that they are written to."""

    def __init__(self, name: str, seed: int, state: State, place: Path, atheris: Any) -> None:
        self.seed, self.state, self.place, self.atheris = seed, state, place, atheris
        self.known: set[str] = set()
        with self._instrumented():
            from fuzz import execution, targets

            self.target, self.execution = targets.BY_NAME[name], execution
            self.seeds = self.target.seeds()
            self.seeds += execution.load_inputs(execution.SEEDS / name).values()
            for files in self.seeds:  # imports modules, which are instrumented, too
                execution.write_files(files, place / "input")
                with contextlib.suppress(Exception):
                    self.target.read(place / "input")
        for files in self.seeds:
            self.attempt(execution.pack(files))

    @contextlib.contextmanager
    def _instrumented(self) -> Iterator[None]:
        if self.atheris is None:
            yield
            return
        with self.atheris.instrument_imports(include=["scanline"]):
            yield

    def attempt(self, content: bytes) -> None:
        """Read an input; save and print a fault at a new place."""
        files = self.execution.unpack(content)
        if files is None or len(content) > STATE_BYTES // 2:
            return
        self.state.begin(content)
        outcome = self.execution.attempt(self.target, files, self.place / "input")
        self.state.end(outcome.seconds, outcome.fault is not None)
        if outcome.fault is None or (where := outcome.fault.split(": ")[0]) in self.known:
            return
        self.known.add(where)
        folder = self.execution.save_input(files, self.execution.FAULTS / self.target.name)
        (folder / "fault.txt").write_text(outcome.trace)
        print(f"{self.target.name}: {outcome.fault} ({folder})", flush=True)

    def mutate(self, files: Any, rng: Random, raw: Callable[[bytes, Random], bytes] | None = None) -> bytes:
        """Return a mutated input."""
        return self.execution.pack(self.execution.mutate(self.target, files, self.seeds, rng, raw))

    def run(self, seconds: float) -> None:
        """Read inputs for `seconds`."""
        limit = _address_space() + _MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if self.atheris is not None:
            self._under_atheris(seconds)
            return
        rng, end, files = Random(self.seed), time.monotonic() + seconds, self.seeds[0]
        content = b""
        while time.monotonic() < end:
            if rng.random() < 0.7 or len(content) > 2**20:
                files = rng.choice(self.seeds)
            content = self.mutate(files, rng)
            files = self.execution.unpack(content) or files
            self.attempt(content)

    def _under_atheris(self, seconds: float) -> None:
        corpus = self.place / "corpus"
        corpus.mkdir()
        for number, files in enumerate(self.seeds):
            (corpus / str(number)).write_bytes(self.execution.pack(files))

        def raw(content: bytes, rng: Random) -> bytes:
            return bytes(self.atheris.Mutate(content, len(content) + 64)) if content else rng.randbytes(8)

        def mutate(content: bytes, most: int, seed: int) -> bytes:
            rng = Random(seed)
            made = self.mutate(self.execution.unpack(content) or rng.choice(self.seeds), rng, raw)
            return made if len(made) <= most else content

        flags = (
            f"-max_total_time={max(1, round(seconds))}",
            f"-seed={self.seed % 2**31 or 1}",
            "-max_len=1000000",
        )
        quiet = (
            "-rss_limit_mb=0",
            "-timeout=600",
            "-print_final_stats=0",
            "-verbosity=0",
            "-close_fd_mask=0",
        )
        self.atheris.Setup([sys.argv[0], *flags, *quiet, str(corpus)], self.attempt, custom_mutator=mutate)
        self.atheris.Fuzz()


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
