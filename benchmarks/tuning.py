"""What a search gains on problems of the time-series archive, and what it costs.

    SCANLINE_DATA=DATA python benchmarks/tuning.py archive --folder RESULTS  # DATA/archive/NAME_TRAIN.ts.gz
    SCANLINE_DATA=DATA python benchmarks/tuning.py archive --folder RESULTS --only default
    python benchmarks/tuning.py overhead --trials 1000
    python benchmarks/tuning.py workers --minutes 2 --rounds 3

`archive` can be interrupted: what is in RESULTS is not computed again. Its parts are the searches, which need
a quiet machine, and the default recipe with and without validation sequences, which do not; each call writes
the table of the problems that have all three.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

SEED, PROBLEMS = 21, 20
SEEDS = (0, 1, 2)  # of the default recipe, whose accuracies are averaged
DEFAULTS = {
    "default": (),
    "default_on_all": ("--set", "split.validation=0"),
}  # without and with validation sequences
SPACE = """
base = "sequences"
[model]
hidden_size = 8
bidirectional = false
[train]
samples = 640
log_every = 0
[search]
"model.cell" = ["lstm", "gru"]
"model.hidden_size" = { low = 4, high = 16 }
"model.readout" = ["last", "mean", "max"]
"model.dropout" = { low = 0.0, high = 0.5 }
"train.learning_rate" = { low = 0.001, high = 0.1, log = true }
"train.batch_size" = [16, 32]
"train.noise" = { low = 0.0, high = 0.5 }
"input.scaling" = ["standard", "none"]
"""


def drawn(folder: Path) -> list[str]:
    """Return the names of the problems, drawn with a fixed seed from all that are there."""
    names = sorted({path.name.rsplit("_", 1)[0] for path in folder.glob("*_TRAIN.ts.gz")})
    return sorted(random.Random(SEED).sample(names, min(PROBLEMS, len(names))))


def scanline(folder: Path, *arguments: str) -> dict:
    """Run a command with --json in a folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "scanline", *arguments, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def processor_seconds() -> float:
    """Return the processor time that ended programs have used, which shows how quiet the machine was."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def default_recipe(path: Path, folder: Path, seed: int, extra: Sequence[str]) -> dict:
    """Return the test accuracy of the default recipe."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        result = scanline(folder, "train", str(path), "--run", f"{run}/run", "--seed", str(seed), *extra)
    return {"accuracy": result["test"]["accuracy"], "seconds": round(time.perf_counter() - started, 1)}


def search(path: Path, folder: Path, minutes: float, workers: int) -> dict:
    """Return the test accuracies of the winner of a search and of its ensemble, and what the search took."""
    started = time.perf_counter()
    used = processor_seconds()
    study = folder / path.name
    options = ("--minutes", f"{minutes:g}", "--workers", str(workers), "--ensemble", "5")
    result = scanline(folder, "tune", str(path), "--study", str(study), *options)
    return {
        "trials": result["trials"],
        "validation": result["winner"]["score"],
        "settings": result["winner"]["settings"],
        "winner": result["test"]["accuracy"],
        "ensemble": result["ensemble"]["accuracy"],
        "n_test": result["test"]["n"],
        "tune_seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor_seconds() - used, 1),
        "baselines": json.loads((study / "baselines.json").read_text()),
    }


def archive(arguments: argparse.Namespace) -> None:
    """Measure the problems one after another, and write the table of those whose two parts are there."""
    data = Path(os.environ["SCANLINE_DATA"]).resolve() / "archive"
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[Path], dict]] = {
        "search": lambda path: search(path, folder, arguments.minutes, arguments.workers)
    }
    for name, extra in DEFAULTS.items():
        for seed in SEEDS:
            parts[f"{name}.{seed}"] = partial(default_recipe, folder=folder, seed=seed, extra=extra)
    for part, measure in parts.items():
        if arguments.only and not part.startswith(arguments.only):
            continue
        for name in drawn(data):
            kept = folder / f"{name}.{part}.json"
            if not kept.exists():
                kept.write_text(json.dumps(measure(data / name)))
                print(name, part, flush=True)
    results = measured(folder, drawn(data))
    if results:
        (folder / "table.md").write_text(markdown(results))
        print(markdown(results).rsplit("\n\n", 1)[-1])


def measured(folder: Path, names: list[str]) -> list[dict]:
    """Return the problems with a search, and their accuracies under the default recipe by seed."""
    results = []
    for name in names:
        searches = folder / f"{name}.search.json"
        runs = {
            variant: [
                json.loads(file.read_text())["accuracy"] for file in folder.glob(f"{name}.{variant}.*.json")
            ]
            for variant in DEFAULTS
        }
        if searches.exists() and all(runs.values()):
            results.append({"problem": name} | json.loads(searches.read_text()) | runs)
    return results


def row(found: dict) -> str:
    """Return a problem as a row of the table."""
    cells = [found["problem"], f"{found['trials']}", f"{found['n_test']:,}"]
    cells += [f"{statistics.mean(found[name]):.4f}" for name in ("default", "default_on_all")]
    cells += [f"{found[name]:.4f}" for name in ("winner", "ensemble")]
    nearest = [each for each in found["baselines"]["measured"] if "nearest" in each["name"]]
    cells.append(f"{nearest[0]['test']['value']:.4f}" if nearest else "")
    return f"| {' | '.join(cells)} |"


def markdown(results: list[dict]) -> str:
    """Return all problems as a table, and the mean gains."""
    heads = ("problem", "trials", "test sequences", "default", "default, all training data", "winner")
    lines = [f"| {' | '.join((*heads, 'ensemble of 5', '1-nearest neighbour'))} |", "|---" * 8 + "|"]
    lines += [row(each) for each in results]
    gains = []
    for name in ("winner", "ensemble"):
        for base in ("default", "default_on_all"):
            gain = [100 * (each[name] - statistics.mean(each[base])) for each in results]
            error = np.std(gain, ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("nan")
            gains.append(f"{name} - {base}: {np.mean(gain):+.2f} points (standard error {error:.2f})")
    return "\n".join(lines) + "\n\n" + "\n".join(gains) + "\n"


def inputs(folder: Path) -> None:
    """Write a small data set and a recipe with a space."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(120, 8, 2)).astype(np.float32)
    np.savez(folder / "data.npz", X=values, y=(values[:, :, 0].sum(1) > 0).astype(int))
    (folder / "space.toml").write_text(SPACE)


def overhead(arguments: argparse.Namespace) -> None:
    """Print the time of a search that is not spent on training, for each trial."""
    import torch

    from scanline.search.request import Request
    from scanline.search.study import Search
    from scanline.search.trial import TrialRunner

    torch.set_num_threads(1)
    spent: list[float] = []
    used: list[float] = []  # processor time
    train = TrialRunner.train

    def timed(self, trial, rung):
        started, processor = time.perf_counter(), time.process_time()
        try:
            return train(self, trial, rung)
        finally:
            spent.append(time.perf_counter() - started)
            used.append(time.process_time() - processor)

    TrialRunner.train = timed
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        inputs(folder)
        request = Request(
            data=str(folder / "data.npz"),
            recipe=str(folder / "space.toml"),
            trials=arguments.trials,
            workers=0,
            study=str(folder / "study"),
            folds=0,
        )
        search = Search.begin(request)
        started, processor = time.perf_counter(), time.process_time()
        search.run()
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        search.close()
    each = 1000 * (seconds - sum(spent)) / arguments.trials
    computed = 1000 * (processor - sum(used)) / arguments.trials
    print(
        f"{arguments.trials:,} trials in {seconds:.1f} s, of which {sum(spent):.1f} s training: "
        f"{each:.1f} ms for each trial, of which {computed:.1f} ms processor time"
    )


def workers(arguments: argparse.Namespace) -> None:
    """Print how many trials one and two pinned workers compute in the same time, in turns."""
    counts: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        inputs(folder)
        (folder / "space.toml").write_text(SPACE.replace("samples = 640", "samples = 40_000"))
        for turn in range(arguments.rounds):
            for k in (1, 2) if turn % 2 == 0 else (2, 1):
                given = ["data.npz", "--recipe", "space.toml", "--study", f"{k}-{turn}", "--workers", str(k)]
                given += ["--minutes", f"{arguments.minutes:g}", "--folds", "0", "--no-baselines"]
                subprocess.run(
                    [
                        "taskset",
                        "-c",
                        "0" if k == 1 else "0,1",
                        sys.executable,
                        "-m",
                        "scanline",
                        "tune",
                        *given,
                    ],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                )
                table = (folder / "studies" / f"{k}-{turn}" / "trials.csv").read_text().splitlines()
                rungs = (0.25, 0.25, 0.5)  # part of a training before each comparison
                heads = table[0].split(",")
                done = sum(
                    sum(part for rung, part in enumerate(rungs) if _has(line, heads, f"score_{rung}"))
                    for line in table[1:]
                )
                counts[k].append(done)
                print(f"{k} workers: {done:g} trainings", flush=True)
    one, two = (statistics.median(counts[k]) for k in (1, 2))
    print(f"median of {arguments.rounds}: {one:g} and {two:g}, ratio {two / one:.2f}")


def _has(line: str, heads: list[str], name: str) -> bool:
    return name in heads and line.split(",")[heads.index(name)] != ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("archive")
    one.add_argument("--folder", type=Path, required=True)
    one.add_argument("--minutes", type=float, default=5)
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--only", metavar="PART", help="such as search, default., default.0")
    one.set_defaults(run=archive)
    two = commands.add_parser("overhead")
    two.add_argument("--trials", type=int, default=1000)
    two.set_defaults(run=overhead)
    three = commands.add_parser("workers")
    three.add_argument("--minutes", type=float, default=2)
    three.add_argument("--rounds", type=int, default=3)
    three.set_defaults(run=workers)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
