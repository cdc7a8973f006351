"""`make fuzz`: run every reader on mutated files for some seconds, and print a table of inputs and faults."""

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

from fuzz import execution
from fuzz.targets import BY_NAME, TARGETS, Target
from fuzz.worker import State

_STUCK_S = 15.0  # for one input: native code that does not return
_STARTING_S = 120.0


@dataclass
class Row:
    """Counts of one target.

    Attributes:
        tried: Number of inputs.
        faults: Number of inputs that crashed, hung or raised.
        slowest: Processor time of the slowest input, in seconds.
        seconds: Duration.
        note: Why it did not run or ended early, or "".
    """

    tried: int = 0
    faults: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    note: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("targets", nargs="*", help="of " + ", ".join(BY_NAME))
    parser.add_argument("--seconds", type=float, default=60.0, help="duration for each reader")
    parser.add_argument("--seed", type=int, help="repeats a run; random by default, and printed")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.targets if name not in BY_NAME]:
        parser.error(f"no such reader: {', '.join(unknown)}; expected some of {', '.join(BY_NAME)}")
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"FUZZ_SEED={seed}", flush=True)
    rows = {}
    for target in TARGETS:
        if not arguments.targets or target.name in arguments.targets:
            missing = target.missing()
            rows[target.name] = (
                Row(note=f"needs {missing}") if missing else run(target, arguments.seconds, seed)
            )
            print(_line(target.name, rows[target.name]), flush=True)
    print("\n" + _line())
    for name, row in rows.items():
        print(_line(name, row))
    return 1 if any(row.faults for row in rows.values()) else 0


def run(target: Target, seconds: float, seed: int) -> Row:
    """Run `target` for `seconds`. A worker that dies or hangs is a fault, and is replaced by another one."""
    row, end = Row(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as place:
        while (left := end - time.monotonic()) > 0.5 or row.tried == 0:
            state = State.make(Path(place) / "state")
            begin = time.monotonic()
            fault = _work(target.name, max(left, 1.0), seed, state, Path(place) / "state")
            content = state.look()
            row.tried, row.faults = row.tried + state.tried, row.faults + state.faults
            row.slowest = max(row.slowest, state.slowest)
            row.seconds += time.monotonic() - begin
            if not fault:
                return row
            row.faults += 1
            seed += 1
            files = execution.unpack(content)
            if not files:  # it died before the first input
                row.note = fault
                return row
            folder = execution.save_input(files, execution.FAULTS / target.name)
            (folder / "fault.txt").write_text(fault + "\n")
            print(f"{target.name}: {fault} ({folder})", flush=True)
    return row


def _work(name: str, seconds: float, seed: int, state: State, path: Path) -> str:
    """Run a worker to its end; return what went wrong, or ""."""
    command = [sys.executable, "-m", "fuzz.worker", name, "--seconds", str(seconds), "--seed", str(seed)]
    own = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    log, end = path.with_name("log"), time.monotonic() + seconds + _STARTING_S
    with open(log, "wb") as errors:
        worker = subprocess.Popen(
            [*command, "--state", str(path)], env=os.environ | own, stderr=errors, cwd=execution.HERE.parent
        )
    try:
        while worker.poll() is None:
            time.sleep(0.2)
            state.look()
            stuck = state.begun and time.time() - state.begun > _STUCK_S
            if stuck or time.monotonic() > end:
                worker.send_signal(signal.SIGABRT)  # faulthandler prints the place
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
    seeds = len(execution.load_inputs(execution.SEEDS / name))
    figures = f"{row.tried:>10,}{row.faults:>8,}{1000 * row.slowest:>12.1f}{row.seconds:>9.0f}{seeds:>6}"
    return f"{name:<12}{figures}  {row.note}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
