"""Run a reader on one input and report the outcome. Inputs are sets of files, which can be stored."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import struct
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutators import Files, change
from fuzz.targets import Target
from scanline.errors import ScanlineError

HERE = Path(__file__).parent
SEEDS, FAULTS = HERE / "seeds", HERE / "found"
LONGEST_S = 2.0  # processor time, so that a busy machine does not count as a hang


class Hang(BaseException):
    """An input took too long. A BaseException, so that no reader catches it as an error of its input."""


@dataclass(frozen=True)
class Outcome:
    """Result of one input.

    Attributes:
        fault: The exception and its place in one line; None if the input was read or refused.
        trace: The traceback of the exception, or "".
        seconds: Processor time.
    """

    fault: str | None
    trace: str
    seconds: float


def attempt(target: Target, files: Files, folder: Path, longest_s: float = LONGEST_S) -> Outcome:
    """Write `files` into `folder`, which is emptied first, let `target` read it, and return the outcome."""
    write_files(files, folder)
    begin = time.process_time()
    fault, trace = None, ""
    try:
        with warnings.catch_warnings(), _bounded(longest_s):
            warnings.simplefilter("ignore")
            target.read(folder)
    except ScanlineError:
        pass
    except (Exception, Hang) as error:  # noqa: BLE001  any exception is a fault
        trace = traceback.format_exc()
        fault = f"{type(error).__name__} at {_place(error)}: {' '.join(str(error).split())[:160]}"
    return Outcome(fault, trace, time.process_time() - begin)


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Raise Hang after `seconds` of processor time, unless native code does not return; see `__main__.py`."""

    def late(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame in Scanline, or of the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if f"{os.sep}scanline{os.sep}" in each.filename] or frames
    file = own[-1].filename
    return f"{file[file.rfind('scanline') :]}:{own[-1].lineno}"


def write_files(files: Files, folder: Path) -> None:
    """Replace the content of `folder` by the files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def mutate(
    target: Target, files: Files, others: list[Files], rng: Random, raw: Callable | None = None
) -> Files:
    """Return `files` with one or two of them mutated; in nine of ten cases checksums are corrected."""
    files = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2))):
        name = rng.choice(sorted(files))
        other = rng.choice(others).get(name, b"")
        if len(files) > 1 and rng.random() < 0.02:
            del files[name]
            break
        files[name] = change(name, files[name], rng, other, raw)
    if target.repair is not None and rng.random() < 0.9:
        files = target.repair(files, rng)
    return files


# --- sets of files as bytes and as folders


def pack(files: Files) -> bytes:
    """Return names and contents of the files, each preceded by its length."""
    pieces = [part for name in sorted(files) for part in (name.encode(), files[name])]
    return b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)


def unpack(content: bytes) -> Files | None:
    """Return the files that `pack` packed; None for other bytes."""
    pieces, at = [], 0
    while at + 4 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        pieces.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(content) or not pieces or len(pieces) % 2:
        return None
    return {name.decode(): data for name, data in zip(pieces[::2], pieces[1::2], strict=True)}


def save_input(files: Files, parent: Path) -> Path:
    """Write the files into a new folder in `parent`, named by their digest, and return it."""
    folder = parent / hashlib.sha256(pack(files)).hexdigest()[:12]
    write_files(files, folder)
    return folder


def load_inputs(parent: Path) -> dict[str, Files]:
    """Return the inputs that `save_input` wrote to `parent`, by the names of their folders."""
    folders = sorted(path for path in parent.glob("*") if path.is_dir())
    return {
        folder.name: {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "fault.txt"
        }
        for folder in folders
    }
