"""scanline evaluate"""

from __future__ import annotations

from typing import Any

import click

from scanline.cli.output import download_bar, print_json

WIDEST_CONFUSION = 30


@click.command(name="evaluate")
@click.argument("run", type=click.Path())
@click.option(
    "--data", metavar="DATA", help="A data set's name or path.  [default: what the run was trained on]"
)
@click.option(
    "--list", "as_list", is_flag=True, help="Print predicted and true label of each test sequence first."
)
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(run: str, data: str | None, as_list: bool, device: str, as_json: bool) -> None:
    """Judge RUN, a run folder or a bundle, on all test sequences.

    Prints how many are right, the accuracy with its 95 % Wilson interval and of each class, the confusion
    matrix, and the tutorials' measure: the accuracy on the first 128.
    """
    from scanline.evaluation.judgement import judge_run

    with download_bar() as on_progress:
        judgement = judge_run(run, data, device, on_progress)
    if as_json:
        print_json(
            {"run": run, "data": judgement.data, "test": judgement.test}
            | (judgement.answers() if as_list else {})
        )
        return
    if as_list:
        click.echo("sequence\tpredicted\ttrue")
        for name, predicted, true in zip(*judgement.answers().values(), strict=True):
            click.echo(f"{name}\t{predicted}\t{true}")
    click.echo("\n".join(_summary(judgement.test, judgement.data)))


def _summary(test: dict[str, Any], data: str) -> list[str]:
    low, high = test["ci95"]
    first = min(128, test["n"])
    lines = [
        f"test part of {data}: {test['correct']:,} of {test['n']:,} right",
        f"accuracy {test['accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f} (Wilson)",
        f"mean cross-entropy {test['loss']:.4f}",
        f"the tutorials' measure, the first {first} only: {test['first128_accuracy']:.6f}",
        "",
    ]
    names = [str(entry["class"]) for entry in test["classes"]]
    width = max(len("class"), *(len(name) for name in names))
    lines.append(f"{'class':<{width}}      n  right  accuracy")
    for name, entry in zip(names, test["classes"], strict=True):
        accuracy = "-" if entry["accuracy"] is None else f"{entry['accuracy']:.4f}"
        lines.append(f"{name:<{width}}  {entry['n']:>5}  {entry['correct']:>5}  {accuracy:>8}")
    if len(names) > WIDEST_CONFUSION:
        return [*lines, "", f"confusion matrix: {len(names)} classes are too many for a table; --json has it"]
    cell = max(3, *(len(str(count)) for row in test["confusion"] for count in row))
    cell = max(cell, *(len(name) for name in names)) if all(len(name) <= 4 for name in names) else cell
    short = (
        names if all(len(name) <= cell for name in names) else [str(number) for number in range(len(names))]
    )
    lines += ["", "confusion matrix (a row for each true class, a column for each answer)"]
    if short is not names:
        lines.append("columns are numbered in the order of the rows")
        names = [f"{number} {name}" for number, name in enumerate(names)]
        width = max(len(name) for name in names)
    lines.append(" " * width + "".join(f"  {name:>{cell}}" for name in short))
    for name, row in zip(names, test["confusion"], strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"  {count if count else '.':>{cell}}" for count in row))
    return lines
