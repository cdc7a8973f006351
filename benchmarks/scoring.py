"""Throughput and memory of scoring: one process against several, of this machine and of Ray.

    python benchmarks/scoring.py RUN SOURCE [--processes 2] [--engine ray] [--rounds 3]

Each process is pinned to one core and computes on one thread. Its rate is that after the first row groups,
without the time in which processes start. SOURCE is a packed data set.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scanline.data.packed.location import Location
from scanline.scoring import Scorer
from scanline.scoring.cluster import score_on_ray
from scanline.scoring.job import Job, Part
from scanline.scoring.local import score_in_processes
from scanline.scoring.parts import PartScorer
from scanline.scoring.work import PackedWork, Unit

WARM = 2  # row groups of each process before the clock starts


@dataclass
class Watch:
    """Rate and memory of the processes whose command line contains `name`; pins them.

    Attributes:
        name: What their command line contains.
        count: Number of processes.
        counts: (time, processor time of all processes, number of scored sequences) at each row group.
        peak_mb: Largest resident memory of a process.
        anonymous_mb: Largest anonymous memory of a process.
    """

    name: str
    count: int
    counts: list[tuple[float, float, int]] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)  # processor time by process
    peak_mb: float = 0.0
    anonymous_mb: float = 0.0

    def add(self, done: int) -> None:
        """Note that `done` sequences are scored."""
        now, cores = time.monotonic(), sorted(os.sched_getaffinity(0))
        for number, process in enumerate(sorted(self._processes())):
            with contextlib.suppress(OSError):  # it has ended
                self.used[process.name] = self._look_at(process, cores[number % len(cores)])
        self.counts.append((now, sum(self.used.values()), done))

    def _look_at(self, process: Path, core: int) -> float:
        """Pin a process, note its memory, and return its processor time in seconds."""
        for task in (process / "task").iterdir():
            os.sched_setaffinity(int(task.name), {core})
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        self.peak_mb = max(self.peak_mb, int(status["VmHWM"].split()[0]) / 1024)
        self.anonymous_mb = max(self.anonymous_mb, int(status["RssAnon"].split()[0]) / 1024)
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> list[Path]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                if entry.name.isdecimal() and self.name in (entry / "cmdline").read_text():
                    found.append(entry)
        return found

    def rates(self) -> tuple[float, float]:
        """Return the number of sequences per second, and per second of processor time."""
        (start, used, before), (end, used_then, after) = self.counts[WARM * self.count], self.counts[-1]
        return (after - before) / (end - start), (after - before) / (used_then - used)


Engine = Callable[[PartScorer, Sequence[Unit], int], Iterator[Part]]
ENGINES: dict[str, tuple[str, Engine]] = {
    "local": ("scanline.scoring.worker", score_in_processes),
    "ray": ("ray::MapWorker", lambda scorer, units, count: score_on_ray(scorer, units, count, "local")),
}


def measure(run: str, source: str, engine: str, count: int) -> Watch:
    """Score once, to a folder that is removed."""
    name, score = ENGINES[engine]
    watch, done = Watch(name, count), 0
    scorer, work = Scorer.open(run), PackedWork.open(Location.parse(source))
    with tempfile.TemporaryDirectory() as folder:
        part_scorer = PartScorer(scorer, work, Location.parse(folder), Job.of(scorer, work).digest)
        for part in score(part_scorer, work.units, count):
            done += part.n
            watch.add(done)
    return watch


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("source")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--engine", choices=ENGINES, default="local")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rates: dict[int, list[float]] = {1: [], options.processes: []}
    for _ in range(options.rounds):
        for count, measured in rates.items():
            watch = measure(options.run, options.source, options.engine, count)
            rate, by_processor = watch.rates()
            measured.append(rate)
            speed = f"{rate:,.0f} sequences/s, {by_processor:,.0f} per second of processor time"
            memory = f"peak {watch.peak_mb:,.0f} MB, anonymous {watch.anonymous_mb:,.0f} MB a process"
            print(f"{options.engine}, {count} processes: {speed}; {memory}", flush=True)
    one, several = map(statistics.median, rates.values())
    print(f"{options.engine}: {options.processes} processes score {several / one:.2f} times as many as one")


if __name__ == "__main__":
    main()
