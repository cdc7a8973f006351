"""`make fuzz`: every reader in turn, for so many seconds each; a table of what was tried and found."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz import trying
from fuzz.targets import BY_NAME, TARGETS, Target
from fuzz.worker import State

_STUCK_S = 15.0  # without an answer: foreign code that does not come back
_STARTING_S = 120.0


@dataclass
class Row:
    """What became of a target. slowest: of its inputs, in seconds of processor time."""

    tried: int = 0
    faults: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    note: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("targets", nargs="*", help="of " + ", ".join(BY_NAME))
    parser.add_argument("--seconds", type=float, default=60.0, help="a reader")
    parser.add_argument("--seed", type=int, help="repeats a run; drawn and printed where it is left out")
    asked = parser.parse_args()
    if unknown := [name for name in asked.targets if name not in BY_NAME]:
        parser.error(f"no such reader: {', '.join(unknown)}; expected some of {', '.join(BY_NAME)}")
    seed = asked.seed if asked.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"FUZZ_SEED={seed}", flush=True)
    rows = {}
    for target in TARGETS:
        if not asked.targets or target.name in asked.targets:
            lacking = target.missing()
            rows[target.name] = Row(note=f"needs {lacking}") if lacking else run(target, asked.seconds, seed)
            print(_line(target.name, rows[target.name]), flush=True)
    print("\n" + _line())
    for name, row in rows.items():
        print(_line(name, row))
    return 1 if any(row.faults for row in rows.values()) else 0


def run(target: Target, seconds: float, seed: int) -> Row:
    """Tries `target` for so long; a worker that dies or gets stuck is a fault, and another one goes on."""
    row, end = Row(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        while (left := end - time.monotonic()) > 0.5 or row.tried == 0:
            state = State.make(Path(place) / "state")
            begin = time.monotonic()
            said = _work(target.name, max(left, 1.0), seed, state, Path(place) / "state")
            content = state.look()
            row.tried, row.faults = row.tried + state.tried, row.faults + state.faults
            row.slowest = max(row.slowest, state.slowest)
            row.seconds += time.monotonic() - begin
            if not said:
                return row
            row.faults += 1
            seed += 1
            files = trying.unpack(content)
            if not files:  # it died before it began: of no input
                row.note = said
                return row
            folder = trying.keep(files, trying.FOUND / target.name)
            (folder / "fault.txt").write_text(said + "\n")
            print(f"{target.name}: {said} ({folder})", flush=True)
    return row


def _work(name: str, seconds: float, seed: int, state: State, path: Path) -> str:
    """Runs a worker to its end; what went wrong with it, or nothing."""
    command = [sys.executable, "-m", "fuzz.worker", name, "--seconds", str(seconds), "--seed", str(seed)]
    own = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    log, end = path.with_name("log"), time.monotonic() + seconds + _STARTING_S
    with open(log, "wb") as errors:
        worker = subprocess.Popen(
            [*command, "--state", str(path)], env=os.environ | own, stderr=errors, cwd=trying.HERE.parent
        )
    try:
        while worker.poll() is None:
            time.sleep(0.2)
            state.look()
            stuck = state.begun and time.time() - state.begun > _STUCK_S
            if stuck or time.monotonic() > end:
                worker.send_signal(signal.SIGABRT)  # faulthandler then says where
                time.sleep(1)
                worker.kill()
                worker.wait()
                state.look()
                return f"hung for more than {_STUCK_S if stuck else _STARTING_S:g} s\n{_end_of(log)}"
    finally:
        if worker.poll() is None:
            worker.kill()
    code = worker.returncode
    return "" if code == 0 else f"died with {code}\n{_end_of(log)}"


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _line(name: str = "", row: Row | None = None) -> str:
    if row is None:
        return f"{'reader':<12}{'inputs':>10}{'faults':>8}{'slowest ms':>12}{'seconds':>9}{'kept':>6}"
    seeds = len(trying.kept(trying.SEEDS / name))
    figures = f"{row.tried:>10,}{row.faults:>8,}{1000 * row.slowest:>12.1f}{row.seconds:>9.0f}{seeds:>6}"
    return f"{name:<12}{figures}  {row.note}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
