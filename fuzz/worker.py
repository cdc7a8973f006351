"""One reader tried in a process of its own, which may crash: `python -m fuzz.worker TARGET ...`.

Atheris drives it, if it is there: what reaches new lines of Scanline is changed further. Without it the same
changes are made without knowing what they reach. What the parent has to know lies in a file that both map.
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
    """What a worker tells its parent: inputs tried, faults found, the slowest in seconds of processor time,
    when the present one began (0: none is read), and that input itself."""

    def __init__(self, path: Path) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), STATE_BYTES)
        self.tried, self.faults, self.slowest, self.begun = 0, 0, 0.0, 0.0

    @staticmethod
    def make(path: Path) -> State:
        """A new one in the file `path`."""
        path.write_bytes(bytes(STATE_BYTES))
        return State(path)

    def begin(self, content: bytes) -> None:
        """An input is about to be read."""
        self.begun = time.time()
        self._map[_HEAD.size : _HEAD.size + len(content)] = content
        self._write(len(content))

    def end(self, seconds: float, fault: bool) -> None:
        """It was read."""
        self.tried, self.faults, self.begun = self.tried + 1, self.faults + fault, 0.0
        self.slowest = max(self.slowest, seconds)
        self._write(0)

    def _write(self, size: int) -> None:
        self._map[: _HEAD.size] = _HEAD.pack(self.tried, self.faults, self.slowest, self.begun, size)

    def look(self) -> bytes:
        """Takes over what the other process wrote; the present input."""
        self.tried, self.faults, self.slowest, self.begun, size = _HEAD.unpack(self._map[: _HEAD.size])
        return self._map[_HEAD.size : _HEAD.size + size]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    asked = parser.parse_args()
    faulthandler.enable()
    atheris: Any = None
    with contextlib.suppress(ImportError):
        import atheris
    if atheris is not None:
        _import_from_source()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as place:
        os.environ |= {"SCANLINE_OFFLINE": "1", "SCANLINE_CACHE": f"{place}/cache", "KERAS_BACKEND": "torch"}
        os.environ.pop("SCANLINE_DATA", None)
        Trial(asked.target, asked.seed, State(asked.state), Path(place), atheris).run(asked.seconds)


def _import_from_source() -> None:
    """Atheris sees into modules that the ordinary loader brings, but not that of an editable install."""
    sys.meta_path[:] = [each for each in sys.meta_path if "_editable_" not in type(each).__module__]
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    for library in Path(sysconfig.get_path("purelib"), "scanline/kernels").glob("libscanline.*"):
        os.environ.setdefault("SCANLINE_LIBRARY", str(library))


class Trial:
    """A reader, what it is given at first, and where that is laid."""

    def __init__(self, name: str, seed: int, state: State, place: Path, atheris: Any) -> None:
        self.seed, self.state, self.place, self.atheris = seed, state, place, atheris
        self.known: set[str] = set()
        with self._instrumented():
            from fuzz import targets, trying

            self.target, self.trying = targets.BY_NAME[name], trying
            self.seeds = self.target.seeds()
            self.seeds += trying.kept(trying.SEEDS / name).values()
            for files in self.seeds:  # what is imported on the way is looked into as well, and takes its time
                trying.lay(files, place / "input")
                with contextlib.suppress(Exception):
                    self.target.read(place / "input")
        for files in self.seeds:
            self.attempt(trying.pack(files))

    @contextlib.contextmanager
    def _instrumented(self) -> Iterator[None]:
        if self.atheris is None:
            yield
            return
        with self.atheris.instrument_imports(include=["scanline"]):
            yield

    def attempt(self, content: bytes) -> None:
        """Reads an input; a fault that is new is kept and told."""
        files = self.trying.unpack(content)
        if files is None or len(content) > STATE_BYTES // 2:
            return
        self.state.begin(content)
        outcome = self.trying.attempt(self.target, files, self.place / "input")
        self.state.end(outcome.seconds, outcome.fault is not None)
        if outcome.fault is None or (where := outcome.fault.split(": ")[0]) in self.known:
            return
        self.known.add(where)
        folder = self.trying.keep(files, self.trying.FOUND / self.target.name)
        (folder / "fault.txt").write_text(outcome.trace)
        print(f"{self.target.name}: {outcome.fault} ({folder})", flush=True)

    def changed(self, files: Any, rng: Random, raw: Callable[[bytes, Random], bytes] | None = None) -> bytes:
        """An input made of another."""
        return self.trying.pack(self.trying.changed(self.target, files, self.seeds, rng, raw))

    def run(self, seconds: float) -> None:
        """Tries inputs for so long."""
        limit = _address_space() + _MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if self.atheris is not None:
            self._under_atheris(seconds)
            return
        rng, end, files = Random(self.seed), time.monotonic() + seconds, self.seeds[0]
        while time.monotonic() < end:
            if rng.random() < 0.7 or len(content) > 2**20:  # noqa: F821  set from the second turn on
                files = rng.choice(self.seeds)
            content = self.changed(files, rng)
            files = self.trying.unpack(content) or files
            self.attempt(content)

    def _under_atheris(self, seconds: float) -> None:
        corpus = self.place / "corpus"
        corpus.mkdir()
        for number, files in enumerate(self.seeds):
            (corpus / str(number)).write_bytes(self.trying.pack(files))

        def raw(content: bytes, rng: Random) -> bytes:
            return bytes(self.atheris.Mutate(content, len(content) + 64)) if content else rng.randbytes(8)

        def mutate(content: bytes, most: int, seed: int) -> bytes:
            rng = Random(seed)
            made = self.changed(self.trying.unpack(content) or rng.choice(self.seeds), rng, raw)
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
