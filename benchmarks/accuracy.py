"""Measure the accuracy of the recipes on whole test splits, with every seed.

    python benchmarks/accuracy.py            # all; writes benchmarks/ACCURACY.md; half an hour
    python benchmarks/accuracy.py rows:5     # five seeds of one recipe; prints only

MNIST is downloaded if necessary. JapaneseVowels and BasicMotions of the UEA archive must lie in
$SCANLINE_DATA or its folder ts/ as NAME_TRAIN.ts and NAME_TEST.ts.

Finished runs are kept in runs/accuracy and reused: delete that folder to measure again.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import scanline
from scanline.storage.json_files import read_json

RUNS = {
    "rows": 5,
    "rows-bfloat16": 5,
    "tutorial-basic": 5,
    "tutorial-dynamic": 5,
    "tutorial-stacked": 3,
    "JapaneseVowels": 5,
    "BasicMotions": 5,
}
# Entries that are not a recipe on MNIST: data, recipe, changed settings.
SPECIAL: dict[str, tuple[str, str, dict[str, str]]] = {
    "rows-bfloat16": ("mnist", "rows", {"train.precision": "bfloat16"}),
    "JapaneseVowels": ("JapaneseVowels", "sequences", {}),
    "BasicMotions": ("BasicMotions", "sequences", {}),
}
FOLDER = Path("runs/accuracy")
TENSORFLOW = {
    "tutorial-basic": "0.9663 (five runs, 0.9624 to 0.9698)",
    "tutorial-dynamic": "0.9678 (three runs, 0.9672 to 0.9689)",
    "tutorial-stacked": "0.9615, 0.9668, 0.9792, 0.9796 at steps 500, 1,000, 1,500, 2,000 (one run)",
}


def measure(recipe: str, seed: int) -> dict[str, Any]:
    """Return the result of one run, with its evaluations of the test split during training."""
    path = FOLDER / f"{recipe}-{seed}"
    if not (path / "result.json").exists():
        data, name, settings = SPECIAL.get(recipe, ("mnist", recipe, {}))
        scanline.train(data, recipe=name, settings=settings, seed=seed, run=path, device="cpu", log=None)
    course = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    result = read_json(path / "result.json") | {"looks": [r for r in course if r.get("part") == "test"]}
    print(recipe, seed, result["test"]["accuracy"], file=sys.stderr)
    return result | {"seed": seed, "environment": read_json(path / "environment.json")}


def page(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the figures as Markdown."""
    environment = next(iter(results.values()))[0]["environment"]
    kernels = ", ".join(filter(None, environment["native"].get("kernels", {}).values())) or "none"
    lines = [
        "# Accuracy on whole test splits",
        "",
        "Made by `python benchmarks/accuracy.py`. The recipes were chosen on training data only",
        "(docs/decisions/0006 and 0009). A run reads the test split once, after training;",
        "`tutorial-stacked` also evaluates it during training, as its tutorial does.",
        f"{environment['processor']}, {environment['threads']} threads,",
        f"torch {environment['packages']['torch']}, Python {environment['python']}, kernels {kernels}.",
        "",
        "## MNIST's 10,000 test images",
        "",
        "`rows-bfloat16` is `rows` with `train.precision=bfloat16`; all models are evaluated in float32.",
        "",
        "| recipe | accuracy of seeds 0, 1, ... | mean | validation | first 128 | TensorFlow 1.15.5 |",
        "|---|---|---|---|---|---|",
    ]
    own = {name: runs for name, runs in results.items() if SPECIAL.get(name, ("mnist",))[0] == "mnist"}
    for recipe, runs in own.items():
        first = [run["test"]["first128_accuracy"] for run in runs]
        lines.append(
            f"| `{recipe}` | {_accuracies(runs)} | {_mean(runs, 'test'):.4f} "
            f"| {_mean(runs, 'validation'):.4f} | {min(first):.3f} to {max(first):.3f} "
            f"| {TENSORFLOW.get(recipe, '')} |"
        )
    for recipe, runs in own.items():
        for run in runs:
            looks = [f"{look['accuracy']:.4f} at step {look['step']:,}" for look in run["looks"]]
            if looks:
                lines += ["", f"`{recipe}`, seed {run['seed']}, during training: {', '.join(looks)}."]
    lines += [
        "",
        "## Time series, recipe `sequences`, split of the archive",
        "",
        "| data | test | accuracy of seeds 0, 1, ... | mean | training, seconds |",
        "|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        if name not in own:
            seconds = [run["training"]["seconds"] for run in runs]
            lines.append(
                f"| {name} | {runs[0]['test']['n']} | {_accuracies(runs)} | {_mean(runs, 'test'):.4f} "
                f"| {min(seconds):.1f} to {max(seconds):.1f} |"
            )
    return "\n".join(lines) + "\n"


def _accuracies(runs: list[dict[str, Any]]) -> str:
    return ", ".join(f"{run['test']['accuracy']:.4f}" for run in runs)


def _mean(runs: list[dict[str, Any]], part: str) -> float:
    return statistics.mean(run[part]["accuracy"] for run in runs if run[part])


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
