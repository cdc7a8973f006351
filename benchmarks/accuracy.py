"""What the recipes reach on all of MNIST's test images: every seed, not the best one.

python benchmarks/accuracy.py            # rewrites benchmarks/ACCURACY.md; about ten minutes on two cores
python benchmarks/accuracy.py rows:5     # only these recipes, with so many seeds; prints, writes nothing
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

import scanline
from scanline.files import read_json

RUNS = {"rows": 5, "tutorial-basic": 5, "tutorial-dynamic": 5, "tutorial-stacked": 1}
TENSORFLOW = {
    "tutorial-basic": "0.9663 (five runs, 0.9624 to 0.9698)",
    "tutorial-dynamic": "0.9678 (three runs, 0.9672 to 0.9689)",
    "tutorial-stacked": "0.9615, 0.9668, 0.9792, 0.9796 at steps 500 to 2,000 (one run)",
}


def measure(recipe: str, seeds: int, folder: Path) -> list[dict]:
    """One run a seed: test, validation and training figures, and the test looks on the way."""
    found = []
    for seed in range(seeds):
        path = folder / f"{recipe}-{seed}"
        run = scanline.train("mnist", recipe=recipe, seed=seed, run=path, device="cpu", log=None)
        course = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
        found.append(run.result | {"seed": seed, "looks": [r for r in course if r.get("part") == "test"]})
        print(recipe, seed, run.result["test"]["accuracy"], file=sys.stderr)
    return found


def table(results: dict[str, list[dict]], environment: dict) -> str:
    """The Markdown page."""
    lines = [
        "# Accuracy on MNIST's 10,000 test images",
        "",
        "Made by `python benchmarks/accuracy.py`. The recipe was chosen on the 5,000 validation images; the",
        "test images were read once a run, after training; `tutorial-stacked` also prints them on the way,",
        "as its tutorial does. Seconds are wall-clock of the training loop, its validations and checkpoints:",
        f"{environment['processor']}, {environment['threads']} threads,",
        f"torch {environment['packages']['torch']}, Python {environment['python']}.",
        "",
        "| recipe | test accuracy of each seed | mean | first 128 only | mean s | TensorFlow 1.15.5's own |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, runs in results.items():
        accuracies = [run["test"]["accuracy"] for run in runs]
        first = [run["test"]["first128_accuracy"] for run in runs]
        seconds = statistics.mean(run["training"]["seconds"] for run in runs)
        lines.append(
            f"| `{recipe}` | {', '.join(f'{a:.4f}' for a in accuracies)} "
            f"| {statistics.mean(accuracies):.4f} | {min(first):.3f} to {max(first):.3f} | {seconds:.0f} "
            f"| {TENSORFLOW.get(recipe, '')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    chosen = {name: int(count) for name, _, count in (text.partition(":") for text in sys.argv[1:])}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results = {name: measure(name, seeds, folder) for name, seeds in (chosen or RUNS).items()}
        environment = read_json(next(folder.iterdir()) / "environment.json")
    page = table(results, environment)
    for recipe, runs in results.items():
        for run in runs:
            looks = [f"{look['accuracy']:.4f} at step {look['step']:,}" for look in run["looks"]]
            if looks:
                page += f"\n`{recipe}`, seed {run['seed']}, on the way: {', '.join(looks)}.\n"
    print(page, end="")
    if not chosen:
        Path(__file__).with_name("ACCURACY.md").write_text(page)


if __name__ == "__main__":
    main()
