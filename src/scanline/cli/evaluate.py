"""The command `scanline evaluate`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from scanline.cli.confusion import confusion_lines
from scanline.cli.data_options import dialect_options
from scanline.cli.evaluate_steps import number_lines, step_lines
from scanline.cli.output import (
    NAME_WIDTH,
    bar_of,
    download_bar,
    print_json,
    print_text,
    say_unknown,
    shown_name,
)

if TYPE_CHECKING:
    from scanline.metrics.multilabel import MultilabelMetrics
    from scanline.metrics.regression import RegressionMetrics

SHOWN_MISTAKES = 5


@click.command(name="evaluate")
@click.argument("run", type=click.Path())
@click.option("--data", metavar="DATA", help="Name or path of a data set.  [default: the run's own]")
@dialect_options
@click.option(
    "--calibrated",
    is_flag=True,
    help="Evaluate calibrated probabilities (temperature scaling; same predictions).",
)
@click.option(
    "--list", "as_list", is_flag=True, help="First print the predicted and true class of each sequence."
)
@click.option("--steps", is_flag=True, help="Print the accuracy after each step.")
@click.option(
    "--stop-at",
    "stops",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Accuracy and steps read if reading stops once a class has probability P.",
)
@click.option(
    "--device", default="auto", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
def command(
    run: str,
    data: str | None,
    calibrated: bool,
    as_list: bool,
    steps: bool,
    stops: tuple[float, ...],
    device: str,
    as_json: bool,
    reading: dict[str, str | int],
) -> None:
    """Evaluate RUN, a run or model directory, on all test sequences.

    Prints the accuracy with its 95 % Wilson interval; the calibration error; the accuracy on the most
    confident predictions and by length; precision, recall and F1 of each class with bootstrap intervals;
    the confusion matrix; and the most confident errors. For a regression: errors, R², the coverage of the
    prediction intervals, and the largest errors. For several classes at once: F1, subset accuracy, Hamming
    loss, and average precisions.
    """
    from scanline.evaluation.early import THRESHOLDS, accuracy_by_step
    from scanline.evaluation.evaluate import evaluate_run
    from scanline.metrics.classification import ClassificationMetrics
    from scanline.metrics.multilabel import MultilabelMetrics
    from scanline.metrics.regression import RegressionMetrics, SeveralNumbersMetrics
    from scanline.metrics.step_numbers import StepNumberMetrics
    from scanline.metrics.steps import StepMetrics

    with download_bar() as on_progress:
        evaluation = evaluate_run(run, data, device, on_progress, calibrated, reading)
    # JSON and text are made from the same tree, so that they cannot differ.
    metrics, along = evaluation.metrics.to_json(), None
    if steps or stops:
        # Sorted and unique, whatever order the options have.
        thresholds = sorted(set(stops)) or THRESHOLDS
        model = evaluation.model.one_network("the accuracy after each step")
        if (windows := model.preprocessing.windows) is not None:
            windows.require_one(evaluation.source.max_length, "the accuracy after each step")
        along = accuracy_by_step(
            model.network, model.task, evaluation.source, thresholds, model.divisor
        ).to_json()
    columns = dataclasses.asdict(evaluation.predictions()) if as_list else {}
    unknown, present = evaluation.unknown
    if present:
        metrics |= {"categories": {"n": present, "unknown": unknown}}
        say_unknown(evaluation.data, unknown, present)
    if as_json:
        print_json(
            {"run": run, "data": evaluation.data, "test": metrics}
            | ({} if along is None else {"along": along})
            | columns
        )
        return
    if as_list:
        click.echo("\t".join(columns))
        for row in zip(*columns.values(), strict=True):
            print_text("\t".join("" if each is None else shown_name(each) for each in row))
    if isinstance(evaluation.metrics, StepMetrics):
        lines = step_lines(metrics, evaluation.data)
    elif isinstance(evaluation.metrics, StepNumberMetrics):
        lines = number_lines(metrics, evaluation.data)
    elif isinstance(evaluation.metrics, ClassificationMetrics):
        lines = _summary(metrics, evaluation.data, evaluation.has_pictures)
    elif isinstance(evaluation.metrics, MultilabelMetrics):
        lines = _several(evaluation.metrics, evaluation.data)
    elif isinstance(evaluation.metrics, SeveralNumbersMetrics):
        lines = []
        for each in evaluation.metrics.outputs:
            lines += [*([""] if lines else []), shown_name(each.name)]
            lines += _regression(each.metrics, evaluation.data)
    elif isinstance(evaluation.metrics, RegressionMetrics):
        lines = _regression(evaluation.metrics, evaluation.data)
    else:
        lines = [f"test split of {shown_name(evaluation.data)}: {metrics['n']:,} sequences"]
        lines += [f"{name}: {value:.6g}" for name, value in metrics.items() if isinstance(value, float)]
    if along is not None:
        lines += ["", *_along(along, steps)]
    print_text("\n".join(lines))


def _several(metrics: MultilabelMetrics, data: str) -> list[str]:
    from scanline.tasks.multilabel import class_table, metric_table

    lines = [f"test split of {shown_name(data)}: {metrics.n:,} sequences"]
    rows = metric_table(metrics).rows
    width = max(len(name) for name, *_ in rows)
    lines += [f"{name:<{width}}  {value}{'' if ends == '-' else f' ({ends})'}" for name, value, ends in rows]
    table = class_table(metrics)
    cells = [table.heads, *((shown_name(name, NAME_WIDTH), *rest) for name, *rest in table.rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(table.heads))]
    lines += ["(95 % intervals in parentheses)", ""]
    for row in cells:
        rest = "  ".join(f"{cell:>{size}}" for cell, size in zip(row[1:], widths[1:], strict=True))
        lines.append(f"{row[0]:<{widths[0]}}  {rest}")
    if metrics.errors:
        lines += ["", "most wrong classes"]
    for each in metrics.errors[:SHOWN_MISTAKES]:
        true, predicted = (shown_name("; ".join(names)) or "none" for names in (each.true, each.predicted))
        lines.append(f"sequence {shown_name(each.sequence, NAME_WIDTH)}: true {true}, predicted {predicted}")
    return lines


def _regression(metrics: RegressionMetrics, data: str) -> list[str]:
    from scanline.tasks.regression import metric_table

    lines = [f"test split of {shown_name(data)}: {metrics.n:,} sequences"]
    rows = metric_table(metrics).rows
    width = max(len(name) for name, *_ in rows)
    lines += [f"{name:<{width}}  {value}{'' if ends == '-' else f' ({ends})'}" for name, value, ends in rows]
    lines += ["(95 % intervals in parentheses)", "", "largest errors"]
    for each in metrics.errors[:SHOWN_MISTAKES]:
        name = shown_name(each.sequence, NAME_WIDTH)
        lines.append(
            f"sequence {name}: true {each.true:.6g}, predicted {each.predicted:.6g} ({each.error:+.4g})"
        )
    return lines


def _along(along: dict[str, Any], steps: bool) -> list[str]:
    enough, last = along["enough"], along["steps"][-1]["step"]
    lines = [
        f"{enough} of {last} steps suffice: from there on the accuracy is within the final one's interval"
        if enough < last
        else f"all {last} steps are needed: before, the accuracy is below the final one's interval"
    ]
    if steps:
        lines.append(f"{'step':>6}  {'accuracy (95 %)':<25}  sequences")
        for each in along["steps"]:
            low, high = each["ci95"]
            figures = f"{each['accuracy']:.4f} ({low:.3f} to {high:.3f})"
            bar = bar_of(each["accuracy"])
            lines.append(f"{each['step']:>6}  {figures}  {each['n']:>10,}  {bar}".rstrip())
    lines += ["stop at  accuracy (95 %)            mean steps  stopped early"]
    for each in along["stops"]:
        low, high = each["ci95"]
        lines.append(
            f"{each['threshold']:<7g}  {each['accuracy']:.4f} ({low:.3f} to {high:.3f})  "
            f"{each['mean_steps']:>10.2f}  {each['stopped']:>13.4f}"
        )
    return lines


def _summary(test: dict[str, Any], data: str, pictures: bool) -> list[str]:
    low, high = test["ci95"]
    by_coverage = {round(100 * each["coverage"]): each["accuracy"] for each in test["coverage"]}
    lines = [
        f"test split of {shown_name(data)}: {test['correct']:,} of {test['n']:,} correct",
        f"accuracy {test['accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f} (Wilson)",
        f"mean cross-entropy {test['loss']:.4f}, calibration error {test['calibration']['error']:.4f}",
        f"accuracy on the most confident 50 %: {by_coverage[50]:.4f}, on 90 %: {by_coverage[90]:.4f}",
    ]
    if pictures:
        first = min(128, test["n"])
        lines.append(f"accuracy on the first {first} (as in the tutorials): {test['first128_accuracy']:.6f}")
    if len(test["by_length"]) > 1:
        lines += ["", "steps        n  correct  accuracy (95 %)"]
        lines += [_length_line(group) for group in test["by_length"]]
    return [*lines, "", *_classes(test), "", *confusion_lines(test), *_mistakes(test)]


def _length_line(group: dict[str, Any]) -> str:
    span = f"{group['from']} to {group['to']}" if group["from"] < group["to"] else f"{group['from']}"
    low, high = group["ci95"]
    figures = f"{group['accuracy']:.4f} ({low:.3f} to {high:.3f})"
    return f"{span:<9}{group['n']:>5}  {group['correct']:>7}  {figures}"


def _classes(test: dict[str, Any]) -> list[str]:
    names = [shown_name(entry["class"], NAME_WIDTH) for entry in test["classes"]]
    width = max(len("class"), *(len(name) for name in names))
    kinds = ("recall", "precision", "f1")
    lines = [f"{'class':<{width}}      n  correct" + "".join(f"  {kind:<20}" for kind in kinds).rstrip()]
    for name, entry in zip(names, test["classes"], strict=True):
        cells = "".join(f"  {_estimate(entry, kind):<20}" for kind in kinds).rstrip()
        lines.append(f"{name:<{width}}  {entry['n']:>5}  {entry['correct']:>7}{cells}")
    return [*lines, "(95 % bootstrap intervals in parentheses)"]


def _estimate(entry: dict[str, Any], kind: str) -> str:
    if entry[kind] is None:
        return "-"
    low, high = entry[f"{kind}_ci95"]
    return f"{entry[kind]:.3f} ({low:.3f}-{high:.3f})"


def _mistakes(test: dict[str, Any]) -> list[str]:
    shown = test["mistakes"][:SHOWN_MISTAKES]
    if not shown:
        return []
    return [
        "",
        "most confident errors",
        *map(_mistake, shown),
    ]


def _mistake(each: dict[str, Any]) -> str:
    name, true, predicted = (shown_name(each[key], NAME_WIDTH) for key in ("sequence", "true", "predicted"))
    return (
        f"sequence {name}: {true} classified as {predicted} "
        f"({each['probability']:.4f}; {true} {each['probability_of_true']:.4f})"
    )
