"""scanline evaluate"""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from scanline.cli.output import NAME_WIDTH, bar_of, download_bar, print_json, print_text, shown_name

WIDEST_CONFUSION = 30
SHOWN_MISTAKES = 5


@click.command(name="evaluate")
@click.argument("run", type=click.Path())
@click.option(
    "--data", metavar="DATA", help="A data set's name or path.  [default: what the run was trained on]"
)
@click.option(
    "--calibrated",
    is_flag=True,
    help="Judge the probabilities after temperature scaling (answers are the same).",
)
@click.option(
    "--list", "as_list", is_flag=True, help="Print predicted and true label of each test sequence first."
)
@click.option("--steps", is_flag=True, help="Tell the accuracy after each step too: how many are enough.")
@click.option(
    "--stop-at",
    "stops",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Stop reading as soon as a class has this probability; what that costs and saves.",
)
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Where to compute."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(
    run: str,
    data: str | None,
    calibrated: bool,
    as_list: bool,
    steps: bool,
    stops: tuple[float, ...],
    device: str,
    as_json: bool,
) -> None:
    """Judge RUN, a run folder or a bundle, on all test sequences.

    Prints how many are right and the accuracy, with its 95 % Wilson interval; of each class precision, recall
    and F1 with bootstrap intervals; how far its probabilities can be believed; how accurate it is where it is
    surest, and by length; the confusion matrix, and the mistakes it was surest of.
    """
    from scanline.evaluation.early import THRESHOLDS, accuracy_by_step
    from scanline.evaluation.evaluate import evaluate_run
    from scanline.metrics.classification import ClassificationMetrics

    with download_bar() as on_progress:
        evaluation = evaluate_run(run, data, device, on_progress, calibrated)
    metrics, along = evaluation.metrics.to_json(), None
    if steps or stops:
        thresholds = sorted(set(stops)) or THRESHOLDS
        model = evaluation.model
        along = accuracy_by_step(
            model.network, model.task, evaluation.source, thresholds, model.divisor
        ).to_json()
    columns = dataclasses.asdict(evaluation.predictions()) if as_list else {}
    if as_json:
        print_json(
            {"run": run, "data": evaluation.data, "test": metrics}
            | ({} if along is None else {"along": along})
            | columns
        )
        return
    if as_list:
        click.echo("sequence\tpredicted\ttrue")
        for row in zip(*columns.values(), strict=True):
            print_text("\t".join(map(shown_name, row)))
    if isinstance(evaluation.metrics, ClassificationMetrics):
        lines = _summary(metrics, evaluation.data, evaluation.has_pictures)
    else:
        lines = [f"test split of {shown_name(evaluation.data)}: {metrics['n']:,} sequences"]
        lines += [f"{name}: {value:.6g}" for name, value in metrics.items() if isinstance(value, float)]
    if along is not None:
        lines += ["", *_along(along, steps)]
    print_text("\n".join(lines))


def _along(along: dict[str, Any], steps: bool) -> list[str]:
    last = along["steps"][-1]["step"]
    told = (
        f"{along['enough']} of {last} steps are enough: from there on it is about as accurate as at the end"
    )
    lines = [told]
    if steps:
        lines.append(f"{'step':>6}  {'accuracy':<25}  still read")
        for each in along["steps"]:
            low, high = each["ci95"]
            figures = f"{each['accuracy']:.4f} ({low:.3f} to {high:.3f})"
            bar = bar_of(each["accuracy"])
            lines.append(f"{each['step']:>6}  {figures}  {each['n']:>10,}  {bar}".rstrip())
    lines += ["stop at  accuracy                   mean steps  stopped early"]
    for each in along["stops"]:
        low, high = each["ci95"]
        lines.append(
            f"{each['threshold']:<7g}  {each['accuracy']:.4f} ({low:.3f} to {high:.3f})  "
            f"{each['mean_steps']:>10.2f}  {each['stopped']:>13.4f}"
        )
    return lines


def _summary(test: dict[str, Any], data: str, pictures: bool) -> list[str]:
    low, high = test["ci95"]
    surest = {round(100 * each["coverage"]): each["accuracy"] for each in test["coverage"]}
    lines = [
        f"test part of {shown_name(data)}: {test['correct']:,} of {test['n']:,} right",
        f"accuracy {test['accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f} (Wilson)",
        f"mean cross-entropy {test['loss']:.4f}, calibration error {test['calibration']['error']:.4f}",
        f"where it is surest: {surest[50]:.4f} of the first half right, {surest[90]:.4f} of nine tenths",
    ]
    if pictures:
        first = min(128, test["n"])
        lines.append(f"the tutorials' measure, the first {first} only: {test['first128_accuracy']:.6f}")
    if len(test["by_length"]) > 1:
        lines += ["", "steps        n  right  accuracy (95 %)"]
        lines += [_length_line(group) for group in test["by_length"]]
    return [*lines, "", *_classes(test), "", *_confusion(test), *_mistakes(test)]


def _length_line(group: dict[str, Any]) -> str:
    span = f"{group['from']} to {group['to']}" if group["from"] < group["to"] else f"{group['from']}"
    low, high = group["ci95"]
    figures = f"{group['accuracy']:.4f} ({low:.3f} to {high:.3f})"
    return f"{span:<9}{group['n']:>5}  {group['correct']:>5}  {figures}"


def _classes(test: dict[str, Any]) -> list[str]:
    names = [shown_name(entry["class"], NAME_WIDTH) for entry in test["classes"]]
    width = max(len("class"), *(len(name) for name in names))
    kinds = ("recall", "precision", "f1")
    lines = [f"{'class':<{width}}      n  right" + "".join(f"  {kind:<20}" for kind in kinds).rstrip()]
    for name, entry in zip(names, test["classes"], strict=True):
        cells = "".join(f"  {_share(entry, kind):<20}" for kind in kinds).rstrip()
        lines.append(f"{name:<{width}}  {entry['n']:>5}  {entry['correct']:>5}{cells}")
    return [*lines, "(in brackets 95 % intervals by bootstrap)"]


def _share(entry: dict[str, Any], kind: str) -> str:
    if entry[kind] is None:
        return "-"
    low, high = entry[f"{kind}_ci95"]
    return f"{entry[kind]:.3f} ({low:.3f}-{high:.3f})"


def _confusion(test: dict[str, Any]) -> list[str]:
    names = [shown_name(entry["class"], NAME_WIDTH) for entry in test["classes"]]
    if len(names) > WIDEST_CONFUSION:
        return [f"confusion matrix: {len(names)} classes are too many for a table; --json has it"]
    cell = max(3, *(len(str(count)) for row in test["confusion"] for count in row))
    cell = max(cell, *(len(name) for name in names)) if all(len(name) <= 4 for name in names) else cell
    short = (
        names if all(len(name) <= cell for name in names) else [str(number) for number in range(len(names))]
    )
    lines = ["confusion matrix (a row for each true class, a column for each answer)"]
    if short is not names:
        lines.append("columns are numbered in the order of the rows")
        names = [f"{number} {name}" for number, name in enumerate(names)]
    width = max(len(name) for name in names)
    lines.append(" " * width + "".join(f"  {name:>{cell}}" for name in short))
    for name, row in zip(names, test["confusion"], strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"  {count if count else '.':>{cell}}" for count in row))
    return lines


def _mistakes(test: dict[str, Any]) -> list[str]:
    shown = test["mistakes"][:SHOWN_MISTAKES]
    if not shown:
        return []
    return [
        "",
        "the mistakes it was surest of",
        *map(_mistake, shown),
    ]


def _mistake(each: dict[str, Any]) -> str:
    name, true, predicted = (shown_name(each[key], NAME_WIDTH) for key in ("sequence", "true", "predicted"))
    return (
        f"sequence {name}: {true} taken for {predicted} "
        f"({each['probability']:.4f}; {true} {each['probability_of_true']:.4f})"
    )
