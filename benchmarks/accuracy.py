"""What the recipes reach on all of MNIST's test images: every seed, not the best one.

    python benchmarks/accuracy.py            # all below, and writes benchmarks/ACCURACY.md; half an hour
    python benchmarks/accuracy.py rows:5     # only this, so many seeds; prints, writes nothing

Finished runs are kept in runs/accuracy and not made again: delete that folder to measure anew.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import scanline
from scanline.files import read_json

RUNS = {"rows": 5, "rows-bfloat16": 5, "tutorial-basic": 5, "tutorial-dynamic": 5, "tutorial-stacked": 3}
CHANGED = {"rows-bfloat16": ("rows", {"train.precision": "bfloat16"})}
FOLDER = Path("runs/accuracy")
TENSORFLOW = {
    "tutorial-basic": "0.9663 (five runs, 0.9624 to 0.9698)",
    "tutorial-dynamic": "0.9678 (three runs, 0.9672 to 0.9689)",
    "tutorial-stacked": "0.9615, 0.9668, 0.9792, 0.9796 at steps 500, 1,000, 1,500, 2,000 (one run)",
}


def measure(recipe: str, seed: int) -> dict[str, Any]:
    """The result of one run, with its looks at the test part on the way."""
    path = FOLDER / f"{recipe}-{seed}"
    if not (path / "result.json").exists():
        name, settings = CHANGED.get(recipe, (recipe, {}))
        scanline.train("mnist", recipe=name, settings=settings, seed=seed, run=path, device="cpu", log=None)
    course = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    result = read_json(path / "result.json") | {"looks": [r for r in course if r.get("part") == "test"]}
    print(recipe, seed, result["test"]["accuracy"], file=sys.stderr)
    return result | {"seed": seed, "environment": read_json(path / "environment.json")}


def page(results: dict[str, list[dict[str, Any]]]) -> str:
    """The figures as Markdown."""
    environment = next(iter(results.values()))[0]["environment"]
    lines = [
        "# Accuracy on MNIST's 10,000 test images",
        "",
        "Made by `python benchmarks/accuracy.py`. The `rows` recipe was chosen on images of the training",
        "file alone (docs/decisions/0006); a run reads the test images once, after training, but",
        "`tutorial-stacked` also prints them on the way, as its tutorial does. "
        f"{environment['processor']}, {environment['threads']} threads, "
        f"torch {environment['packages']['torch']}, Python {environment['python']}, kernels "
        f"{', '.join(environment['native']['kernels'].values())}. `rows-bfloat16` is `rows` with",
        "`train.precision=bfloat16`; it is judged in float32, as all are.",
        "",
        "| recipe | accuracy of seeds 0, 1, ... | mean | validation | first 128 | TensorFlow 1.15.5's own |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, runs in results.items():
        accuracies = [run["test"]["accuracy"] for run in runs]
        first = [run["test"]["first128_accuracy"] for run in runs]
        validation = statistics.mean(run["validation"]["accuracy"] for run in runs)
        lines.append(
            f"| `{recipe}` | {', '.join(f'{a:.4f}' for a in accuracies)} | {statistics.mean(accuracies):.4f} "
            f"| {validation:.4f} | {min(first):.3f} to {max(first):.3f} | {TENSORFLOW.get(recipe, '')} |"
        )
    for recipe, runs in results.items():
        for run in runs:
            looks = [f"{look['accuracy']:.4f} at step {look['step']:,}" for look in run["looks"]]
            if looks:
                lines += ["", f"`{recipe}`, seed {run['seed']}, on the way: {', '.join(looks)}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    chosen = {name: int(count) for name, _, count in (text.partition(":") for text in sys.argv[1:])}
    results = {
        recipe: [measure(recipe, seed) for seed in range(seeds)] for recipe, seeds in (chosen or RUNS).items()
    }
    text = page(results)
    print(text, end="")
    if not chosen:
        Path(__file__).with_name("ACCURACY.md").write_text(text)


if __name__ == "__main__":
    main()
