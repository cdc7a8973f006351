"""Measure time and memory of reading a large CSV file in long shape, beside pandas.

    python benchmarks/reading.py             # 1 GB, writes benchmarks/READING.md; five minutes
    python benchmarks/reading.py 0.1         # smaller; prints, writes nothing

Each reading is a separate process; the readers alternate, and medians are reported. pandas reads the file
with default settings and with given types. Its result is a table of rows; Scanline's is validated, labelled
sequences.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROUNDS = 5
FEATURES = [f"f{index}" for index in range(8)]

MEASURE = """
import json, resource, time
{imports}
begin = time.perf_counter()
{body}
seconds = time.perf_counter() - begin
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, int(rows)]))
"""
READERS = {
    "Scanline, to sequences": (
        "from pathlib import Path\n"
        "from scanline.data.reading import read_sources\n"
        "from scanline.recipe import DEFAULT_DATA, DEFAULT_SPLIT\nimport pyarrow.csv",
        "found = read_sources(Path({path!r}), DEFAULT_DATA)['all']\nrows = found.total_steps",
    ),
    "pandas.read_csv": ("import pandas", "frame = pandas.read_csv({path!r})\nrows = len(frame)"),
    "pandas.read_csv, types given": (
        "import pandas",
        "types = dict.fromkeys({features!r}, 'float32') | {{'label': 'category'}}\n"
        "frame = pandas.read_csv({path!r}, dtype=types)\nrows = len(frame)",
    ),
    "pandas.read_csv, engine pyarrow": (
        "import pandas, pyarrow.csv",
        "frame = pandas.read_csv({path!r}, engine='pyarrow')\nrows = len(frame)",
    ),
}


def write_csv(path: Path, size: float) -> int:
    """Write about `size` bytes: id, time, eight features, label; 50 to 150 steps each.

    Returns:
        The number of sequences.
    """
    import pyarrow
    from pyarrow import csv

    draw, count = np.random.default_rng(0), 0
    with open(path, "wb") as file:
        while file.tell() < size:
            lengths = draw.integers(50, 151, 2000)
            labels = np.repeat(draw.integers(0, 4, 2000), lengths)
            time = np.concatenate([np.arange(length) for length in lengths])
            columns = {"id": np.repeat(np.arange(count, count + 2000), lengths), "time": time}
            for index, name in enumerate(FEATURES):
                wave = 0.3 * labels * np.sin(time / (index + 2))
                columns[name] = np.round(draw.normal(size=len(time)) + wave, 5)
            columns["label"] = np.array(["walk", "run", "sit", "stand"])[labels]
            options = csv.WriteOptions(include_header=count == 0)
            csv.write_csv(pyarrow.table(columns), file, options)
            count += 2000
    return count


def measure(name: str, path: Path) -> tuple[float, float, int]:
    """Return seconds, peak resident memory in MB and the number of rows of one reading."""
    imports, body = READERS[name]
    program = MEASURE.format(imports=imports, body=body.format(path=str(path), features=FEATURES))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, peak, rows = json.loads(done.stdout)
    return seconds, peak, rows


def train(path: Path, folder: Path) -> dict[str, float]:
    """Return the seconds of reading and of training with the recipe `sequences`."""
    program = (
        "import json, time, scanline.training.run as e\nbegin = time.perf_counter()\n"
        f"run = e.TrainingRun.begin({str(path)!r}, run={str(folder / 'run')!r})\n"
        "ready = time.perf_counter() - begin\nfor record in run.events():\n    pass\n"
        "print(json.dumps({'ready': ready, **run.result['training']}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.csv"
        sequences = write_csv(path, gigabytes * 1e9)
        size = path.stat().st_size
        print(f"{size:,} bytes, {sequences:,} sequences", file=sys.stderr)
        times: dict[str, list[tuple[float, float, int]]] = {name: [] for name in READERS}
        for _ in range(ROUNDS):
            for name, found in times.items():
                found.append(measure(name, path))
                print(name, found[-1], file=sys.stderr)
        trained = train(path, Path(folder))
    rows = next(iter(times.values()))[0][2]
    lines = [
        "# Reading a large CSV in long shape",
        "",
        f"Made by `python benchmarks/reading.py`: {size / 1e9:.2f} GB, {rows:,} rows of id, time, eight",
        f"features and label, {sequences:,} sequences of 50 to 150 steps. Median of {ROUNDS} processes each,",
        f"in turns; {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}.",
        "",
        "| reader | seconds | MB a second | peak memory, MB |",
        "|---|---|---|---|",
    ]
    for name, found in times.items():
        seconds = statistics.median(entry[0] for entry in found)
        peak = statistics.median(entry[1] for entry in found)
        lines.append(f"| {name} | {seconds:.2f} | {size / 1e6 / seconds:.0f} | {peak:,.0f} |")
    lines += [
        "",
        f"A whole run with the recipe `sequences` on this file: {trained['ready']:.1f} s until training "
        f"begins (reading, splitting, standardising, digests), {trained['seconds']:.1f} s of training on "
        f"{trained['samples_seen']:,} sequences.",
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if gigabytes == 1.0:
        Path(__file__).with_name("READING.md").write_text(text)


if __name__ == "__main__":
    main()
