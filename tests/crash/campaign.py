"""Runs that are killed, or whose disk fails, at every operation of their writing; and what becomes of them.

    python -m tests.crash.campaign                       # all of it, as `make crash` does
    python -m tests.crash.campaign --every 20 --random 5 # a sample; --few: not on all kernels

Short runs on real digits. A run that was not disturbed gives the digests that all others must come to: of
weights, optimiser, metrics and result, clock times aside. Then, for each operation n that a run performs on
its files (open, write, fsync, chmod, rename, unlink, mkdir, truncate), in a process of its own:

    killed before    SIGKILL before the operation: before a write, an fsync, a rename, the folder's fsync
    killed amid      SIGKILL after half of a write, or right after another operation
    EIO once         the operation fails
    ENOSPC           from there on nothing that needs room succeeds
    short write      half a write, and then no room

After a failure the program must have ended with exit code 1 and one line; after either there must be a whole
checkpoint, unless nothing had been trained yet; and going on must lead to the same digests.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

SHIM = Path(__file__).with_name("shim.c")
ASLEEP, COUNT, KILL_BEFORE, KILL_AMID, FAIL_ONCE, FAIL_ON, SHORT_WRITE = range(7)
FAULTS = {
    "killed before": (KILL_BEFORE, 0),
    "killed amid": (KILL_AMID, 0),
    "EIO once": (FAIL_ONCE, errno.EIO),
    "ENOSPC": (FAIL_ON, errno.ENOSPC),
    "short write": (SHORT_WRITE, errno.ENOSPC),
}
SETTINGS = {
    "train.samples": 0, "train.steps": 30, "train.checkpoint_every": 8, "train.validate_every": 12,
    "train.log_every": 5, "model.hidden_size": 32,
}  # fmt: skip
CLOCKS = ("seconds", "samples_per_s")


class Campaign:
    """All of one path and precision, in this process, which has the shim in it.

    A child is forked for each run: what takes longest is to import torch.
    """

    def __init__(self, folder: Path, precision: str, draw: random.Random) -> None:
        import sklearn.datasets
        import sklearn.metrics
        import sklearn.model_selection  # noqa: F401

        # The optimizer imports torch's compiler; imported here, not in every child.
        import torch._dynamo  # noqa: F401

        import scanline.cli.train
        import scanline.cli.watch
        import scanline.training.run  # noqa: F401

        self.folder, self.draw = folder, draw
        settings = SETTINGS | {"train.precision": precision}
        self.changes = [f"--set={key}={value}" for key, value in settings.items()]
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        began = time.monotonic()
        code, said, names = self.run("whole", COUNT)
        self.seconds = time.monotonic() - began
        assert code == 0, said
        self.names, self.wanted = names, digests(folder / "whole")
        again, _, _ = self.run("again", ASLEEP)
        assert again == 0
        assert digests(folder / "again") == self.wanted, "two undisturbed runs differ"

    def run(
        self,
        name: str,
        how: int = ASLEEP,
        n: int = 0,
        error: int = 0,
        resume: bool = False,
        kill_after: float = 0,
    ) -> tuple[int, str, list[str]]:
        """Train in a child. Returns its exit code (minus the signal that ended it), what it said, and the
        names of its operations if they were counted."""
        path, said = self.folder / name, self.folder / f"{name}.stderr"
        what = ["--resume"] if resume else ["digits", *self.changes]
        names = self.folder / "names"
        child = os.fork()
        if child == 0:
            _child([*what, "--run", str(path), "--device", "cpu"], path, said, names, how, n, error)
        if kill_after:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, said.read_text(), names.read_text().split() if how == COUNT else []

    def disturb(self, fault: str, n: int, kill_after: float = 0) -> None:
        """One run that is disturbed, and goes on."""
        how, error = FAULTS.get(fault, (ASLEEP, 0))
        name = "disturbed"
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        code, said, _ = self.run(name, how, n, error, kill_after=kill_after)
        where = f"{fault} {n or round(kill_after, 3)}" + (f" ({self.names[n - 1]})" if n else "")
        self.counts[fault] += 1
        killed = how in (KILL_BEFORE, KILL_AMID) or kill_after
        if killed:
            if code not in (-signal.SIGKILL, 0):
                self.faults.append(f"{where}: ended with {code}: {said[-300:]}")
        elif code == 1:
            lines = [line for line in said.splitlines() if line.startswith("scanline: ")]
            if len(lines) != 1 or "Traceback" in said:
                self.faults.append(f"{where}: expected one line, found {said[-300:]}")
        elif code != 0:
            self.faults.append(f"{where}: expected exit code 1, found {code}: {said[-300:]}")
        self.go_on(path, where)

    def go_on(self, path: Path, where: str) -> None:
        """The run must have a whole checkpoint, or not have begun; and end like the others."""
        whole = checkpoints(path)
        if not whole:
            if (path / "metrics.jsonl").exists() and (path / "metrics.jsonl").stat().st_size:
                self.faults.append(f"{where}: trained, and has no whole checkpoint")
            self.counts["had not begun"] += 1
            code, said, _ = self.run(path.name)
        else:
            code, said, _ = self.run(path.name, resume=True)
            if code == 2 and "nothing is left to do" in said:
                self.counts["had ended"] += 1
                code = 0
        if code != 0:
            self.faults.append(f"{where}: going on ended with {code}: {said[-300:]}")
            return
        found = digests(path)
        differ = [key for key in self.wanted if found.get(key) != self.wanted[key]]
        if differ:
            self.faults.append(f"{where}: {', '.join(differ)} differ")
        left = [each.name for each in path.rglob("*.tmp")]
        if left:
            self.faults.append(f"{where}: left behind {left}")

    def all(self, every: int, at_random: int) -> None:
        """Each `every`-th operation under every fault, and so many kills at random times."""
        for fault in FAULTS:
            for n in range(1 + self.draw.randrange(every), len(self.names) + 1, every):
                if fault == "short write" and self.names[n - 1] != "write":
                    continue
                self.disturb(fault, n)
        for _ in range(at_random):
            self.disturb("killed at a random time", 0, self.draw.uniform(0.01, self.seconds))


def _child(arguments: list[str], path: Path, text: Path, names: Path, how: int, n: int, error: int) -> None:
    """The program itself, in a forked child; never returns."""
    code = 70
    try:
        output = os.open(text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from scanline.cli import main

        sys.argv = ["scanline", "train", *arguments]
        shim = ctypes.CDLL(None)
        if how:
            shim.shim_arm(str(path).encode(), how, n, error)
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        if how == COUNT:
            shim.shim_names.restype = ctypes.c_char_p
            names.write_bytes(shim.shim_names())
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  # whatever it is must be told, and must not go on as the parent would
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def checkpoints(path: Path) -> list[str]:
    """The names of the whole checkpoints of a run."""
    from scanline.errors import ScanlineError
    from scanline.storage.json_files import read_sealed_json

    collected = []
    for folder in sorted((path / "checkpoints").glob("step-*")):
        try:
            files = read_sealed_json(folder / "state.json")["files"]
        except ScanlineError:
            continue
        if all(_sha256((folder / name).read_bytes()) == digest for name, digest in files.items()):
            collected.append(folder.name)
    return collected


def digests(path: Path) -> dict[str, Any]:
    """SHA-256 of all that a run comes to; clock times aside."""
    newest = sorted((path / "checkpoints").glob("step-*"))[-1]
    metrics = [
        _without_clocks(json.loads(line)) for line in (path / "metrics.jsonl").read_text().splitlines()
    ]
    state = _without_clocks(json.loads((newest / "state.json").read_text()))
    state.pop("sha256")
    state["position"].pop("metrics_bytes")  # the clock times in it have not always as many digits
    files = [path / "model" / "model.safetensors", path / "model" / "model.json"]
    files += [newest / "model.safetensors", newest / "optimizer.safetensors", path / "log.txt"]
    result: dict[str, Any] = {str(file.relative_to(path)): _sha256(file.read_bytes()) for file in files}
    result["metrics"] = _sha256(json.dumps(metrics).encode())
    result["state"] = _sha256(json.dumps(state).encode())
    result["result"] = _sha256(
        json.dumps(_without_clocks(json.loads((path / "result.json").read_text()))).encode()
    )
    return result


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clocks(each) for key, each in value.items() if key not in CLOCKS}
    return [_without_clocks(each) for each in value] if isinstance(value, list) else value


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_shim(folder: Path) -> Path:
    """The shim, compiled. Raises FileNotFoundError if there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise FileNotFoundError("the shim needs Linux and a C compiler")
    target = folder / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", target, SHIM, "-ldl"],
        check=True,
    )
    return target


def paths() -> list[tuple[str, str]]:
    """(kernels, precision) of each way to compute that this machine has; "none" is torch's own path."""
    from scanline.kernels.library import BFLOAT16, FLOAT32, load

    library = load()
    if library is None:
        return [("none", "float32")]
    plain = [*library.kernels(FLOAT32), "none"]
    best = library.kernels(FLOAT32)[0]
    narrow = [f"{best},{kernel}" for kernel in library.kernels(BFLOAT16)]
    return [(kernels, "float32") for kernels in plain] + [(kernels, "bfloat16") for kernels in narrow]


def main() -> None:
    """All campaigns, each in a process of its own, and a table of what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kernels", help="One of SCANLINE_KERNEL's values; all that the machine has if left out."
    )
    parser.add_argument("--precision", default="float32")
    parser.add_argument(
        "--few", action="store_true", help="One of the kernels of each precision, and torch's own path."
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        if given.worker:
            began = time.monotonic()
            campaign = Campaign(folder, given.precision, random.Random(given.seed))
            campaign.all(given.every, given.random)
            result = ", ".join(f"{count} {what}" for what, count in campaign.counts.items())
            minutes = (time.monotonic() - began) / 60
            what = f"{given.kernels}, {given.precision}: {len(campaign.names)} operations"
            print(f"{what}; {result}; {minutes:.1f} minutes", flush=True)
            for fault in campaign.faults:
                print(f"  FAULT: {fault}")
            sys.exit(bool(campaign.faults))
        shim = build_shim(folder)
        wanted = [(given.kernels, given.precision)] if given.kernels else paths()
        if given.few:
            kinds = {(kernels == "none", precision): (kernels, precision) for kernels, precision in wanted}
            wanted = list(kinds.values())
        failed = False
        for number, (kernels, precision) in enumerate(wanted):
            # Samples of different paths disturb different operations.
            words = ["--every", given.every, "--random", given.random, "--seed", given.seed + number]
            worker = [*words, "--kernels", kernels, "--precision", precision, "--worker"]
            done = subprocess.run(
                [sys.executable, "-m", "tests.crash.campaign", *map(str, worker)],
                env=os.environ
                | {"LD_PRELOAD": str(shim), "SCANLINE_KERNEL": kernels, "OMP_NUM_THREADS": "1"},
                check=False,
            )
            failed = failed or done.returncode != 0
        sys.exit(failed)


if __name__ == "__main__":
    main()
