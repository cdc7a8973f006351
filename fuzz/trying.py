"""One input given to a reader, and what became of it."""

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
SEEDS, FOUND = HERE / "seeds", HERE / "found"
LONGEST_S = 2.0  # of processor time: a busy machine is no hang


class Hang(BaseException):
    """An input took too long. No reader may take it for something that it can deal with."""


@dataclass(frozen=True)
class Outcome:
    """fault: what was raised and where, in a line; None if it was read or refused. trace: all of that.
    seconds: of processor time."""

    fault: str | None
    trace: str
    seconds: float


def attempt(target: Target, files: Files, folder: Path, longest_s: float = LONGEST_S) -> Outcome:
    """Has `target` read `files`, laid into `folder`, which is emptied before."""
    lay(files, folder)
    begin = time.process_time()
    fault, trace = None, ""
    try:
        with warnings.catch_warnings(), _bounded(longest_s):
            warnings.simplefilter("ignore")
            target.read(folder)
    except ScanlineError:
        pass
    except (Exception, Hang) as error:  # noqa: BLE001  that is what is looked for
        trace = traceback.format_exc()
        fault = f"{type(error).__name__} at {_place(error)}: {' '.join(str(error).split())[:160]}"
    return Outcome(fault, trace, time.process_time() - begin)


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Raises Hang after so much processor time, unless foreign code does not come back; see worker.py."""

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
    """The innermost line of Scanline's own that is to blame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if f"{os.sep}scanline{os.sep}" in each.filename] or frames
    file = own[-1].filename
    return f"{file[file.rfind('scanline') :]}:{own[-1].lineno}"


def lay(files: Files, folder: Path) -> None:
    """The files in `folder`, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def changed(
    target: Target, files: Files, others: list[Files], rng: Random, raw: Callable | None = None
) -> Files:
    """`files` with one of them changed, or two, and, mostly, checksums put right."""
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


# --- many files as one piece of bytes, and as a folder


def pack(files: Files) -> bytes:
    """Each file's name and content, with their lengths before them."""
    pieces = [part for name in sorted(files) for part in (name.encode(), files[name])]
    return b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)


def unpack(content: bytes) -> Files | None:
    """The inverse of `pack`; None for anything else."""
    pieces, at = [], 0
    while at + 4 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        pieces.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(content) or not pieces or len(pieces) % 2:
        return None
    return {name.decode(): held for name, held in zip(pieces[::2], pieces[1::2], strict=True)}


def keep(files: Files, parent: Path) -> Path:
    """The files in a folder of their own in `parent`, called by their digest."""
    folder = parent / hashlib.sha256(pack(files)).hexdigest()[:12]
    lay(files, folder)
    return folder


def kept(parent: Path) -> dict[str, Files]:
    """What `keep` left in `parent`, by the names of the folders."""
    folders = sorted(path for path in parent.glob("*") if path.is_dir())
    return {
        folder.name: {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "fault.txt"
        }
        for folder in folders
    }
