"""Kill processes and machines of a training at random, and compare its result with an undisturbed one's.

    python tests/crash/machines.py --kills 50 --seed 1

Every "machine" is a launcher on this computer with an agent and one or two processes. Machines are killed and
added, and processes are killed, while the training runs. Each run must end with the undisturbed weights.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLICES = 8
SETTINGS = {
    "train.slices": SLICES,
    "train.samples": 0,
    "train.checkpoint_every": 20,
    "train.validate_every": 200,
    "train.batch_size": 64,
}
MOST = 4
LIMIT_S = 900.0


def arguments(run: Path, steps: int) -> list[str]:
    """Return the arguments of `python` that train into `run`."""
    settings = [f"--set={key}={value}" for key, value in (SETTINGS | {"train.steps": steps}).items()]
    return [
        "-m",
        "scanline",
        "train",
        "digits",
        "--recipe",
        "digits",
        "--run",
        str(run),
        "--seed",
        "2",
        *settings,
    ]


def digest(run: Path) -> str:
    """Return the SHA-256 of the model's weights."""
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def processes_of(job: str) -> list[int]:
    """Return the training processes of a job, wherever they run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"TORCHELASTIC_RUN_ID={job}".encode() in environment and any(
            each.startswith(b"RANK=") for each in environment
        ):
            found.append(int(entry.name))
    return found


class Machine:
    """A launcher with its agent and processes."""

    def __init__(self, run: Path, steps: int, port: int, job: str, processes: int, log: Path) -> None:
        command = [sys.executable, *arguments(run, steps), "--nodes", f"1:{MOST}", "--job", job]
        command += ["--rendezvous", f"127.0.0.1:{port}", "--processes", str(processes)]
        command += ["--max-restarts", "1000", "--peer-timeout", "15"]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        with open(log, "a") as file:
            self.launcher = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment, start_new_session=True
            )

    @property
    def ended(self) -> bool:
        """Whether the launcher has ended."""
        return self.launcher.poll() is not None

    def kill(self, what: str) -> bool:
        """Kill the "launcher" or the "agent"; its processes must end by themselves."""
        number = self.launcher.pid
        if what == "agent":
            children = Path(f"/proc/{number}/task/{number}/children")
            try:
                number = int(children.read_text().split()[0])
            except (OSError, IndexError):
                return False
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.launcher.wait()
        return True


def disturb(
    folder: Path, steps: int, kills: int, draw: random.Random, number: int
) -> tuple[str, int, list[str]]:
    """Train while killing, and return the digest, the number of kills and what happened."""
    run, job, log = folder / f"run-{number}", f"campaign-{os.getpid()}-{number}", folder / f"log-{number}.txt"
    store = subprocess.Popen(
        [sys.executable, "-m", "scanline", "rendezvous", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert store.stderr is not None
    (port,) = map(int, re.findall(r"port (\d+)", store.stderr.readline()))
    machines: list[Machine] = []
    happened: list[str] = []
    done = 0

    def add() -> None:
        machines.append(Machine(run, steps, port, job, draw.choice((1, 1, 2)), log))
        happened.append("machine")

    try:
        for _ in range(draw.choice((1, 2, 3))):
            add()
        began = time.monotonic()
        while True:
            # Often enough that some kills come while the processes start.
            time.sleep(draw.uniform(1.0, 9.0))
            ended = [machine for machine in machines if machine.ended]
            if any(machine.launcher.returncode == 0 for machine in ended):
                break
            if time.monotonic() - began > LIMIT_S:
                raise SystemExit(f"run {number} has not ended; see {log}")
            machines = [machine for machine in machines if machine not in ended]
            workers = processes_of(job)
            if not machines or (len(machines) < MOST and draw.random() < 0.3):
                add()
            elif done < kills and workers and draw.random() < 0.6:
                victim = draw.choice(workers)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                done += 1
                happened.append(f"killed process, {len(workers)} before")
            elif done < kills:
                what = draw.choice(("agent", "launcher"))
                if draw.choice(machines).kill(what):
                    done += 1
                    happened.append(f"killed {what}, {len(machines)} machines before")
        for machine in machines:
            machine.launcher.wait(120)
    finally:
        for machine in machines:
            if not machine.ended:
                os.killpg(machine.launcher.pid, signal.SIGKILL)
        store.kill()
        store.wait()
    return digest(run), done, happened


def main() -> int:
    """Run the campaign, and return 1 if a run ended with other weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="number of kills of all runs together")
    parser.add_argument("--each", type=int, default=8, help="largest number of kills of a run")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="machines-") as path:
        folder = Path(path)
        undisturbed = folder / "undisturbed"
        subprocess.run(
            [sys.executable, *arguments(undisturbed, options.steps)], check=True, capture_output=True
        )
        expected = digest(undisturbed)
        total, number, different = 0, 0, 0
        while total < options.kills:
            number += 1
            kills = min(options.each, options.kills - total)
            found, done, happened = disturb(folder, options.steps, kills, draw, number)
            total += done
            different += found != expected
            verdict = "equal" if found == expected else "DIFFERENT"
            print(f"run {number}: {verdict}, {done} kills: {'; '.join(happened)}")
            sys.stdout.flush()
    print(f"{number} runs, {total} kills, {different} with other weights")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
