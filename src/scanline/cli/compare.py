"""The command `scanline compare`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click

from scanline.cli.output import NAME_WIDTH, download_bar, print_json, print_text, shown_name

if TYPE_CHECKING:
    from scanline.evaluation.comparison import ComparedPair, ComparedRun, Comparison
    from scanline.evaluation.number_comparison import NumberComparison, NumbersPair
    from scanline.evaluation.step_comparison import StepComparison, StepScore

_SHOWN_DISAGREEMENTS = 10
_MIN_NAME = 10  # characters of a run's name in the table


@click.command(name="compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--data",
    metavar="DATA",
    help="Name or path of a data set.  [default: the runs' own, if it is the same]",
)
@click.option(
    "--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with every disagreement.")
def command(runs: tuple[str, ...], data: str | None, device: str, as_json: bool) -> None:
    """Compare RUNS, run or model directories, on the same test sequences.

    Prints a table ranked by accuracy, the details of each run, and for each pair the difference in accuracy
    with its 95 % interval, the exact McNemar test, and the sequences with different predictions.
    Regressions are ranked by RMSE; differences of RMSE and mean absolute error have paired bootstrap
    intervals. So have those of models with a prediction at each step, over sequences.
    """
    from scanline.device import choose_device
    from scanline.evaluation.comparison import compare_runs
    from scanline.evaluation.number_comparison import NumberComparison
    from scanline.evaluation.step_comparison import StepComparison

    with download_bar() as on_progress:
        comparison = compare_runs(runs, data, choose_device(device), on_progress)
    if as_json:
        print_json(comparison.to_json())
        return
    print_text(f"{comparison.n:,} test sequences of {shown_name(comparison.data)}")
    if isinstance(comparison, StepComparison):
        print_text("\n".join(_steps(comparison)))
        return
    if isinstance(comparison, NumberComparison):
        print_text("\n".join(_numbers(comparison)))
        return
    print_text("\n".join(_ranking(comparison)))
    for run in comparison.runs:
        print_text("\n".join(_details(run)))
    for pair in comparison.pairs:
        print_text("\n".join(_pair(pair)))


_SCORES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "segments": "segment F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "last_rmse": "RMSE at the last step",
}


def _steps(comparison: StepComparison) -> list[str]:
    """Return a table of models with a prediction at each step, the best first, and lines for each pair."""

    def rank(scores: list[StepScore]) -> float:
        value = scores[0].value or 0.0
        return value if comparison.numbers else -value

    ranked = sorted(comparison.runs, key=lambda run: rank(run.scores))
    names = _short_names([run.run for run in ranked], 40)
    rows = [("#", "run", "network", *(f"{_SCORES[each.name]} (95 %)" for each in ranked[0].scores), "params")]
    for number, (name, run) in enumerate(zip(names, ranked, strict=True), 1):
        cells = (_score(each, "") for each in run.scores)
        rows.append((str(number), name, run.network, *cells, _compact(run.parameters)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{comparison.steps:,} labelled steps", ""]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for pair in comparison.pairs:
        lines += ["", f"{shown_name(pair.first)} minus {shown_name(pair.second)}"]
        for each in pair.differences:
            verdict = ""
            if each.ci95 is not None:
                within = each.ci95[0] <= 0 <= each.ci95[1]
                verdict = f": {'not ' if within else ''}significant at 5 %"
            lines.append(f"  {_SCORES[each.name]} {_score(each, '+')}{verdict}")
    return lines


def _score(score: StepScore, sign: str) -> str:
    if score.value is None:
        return "-"
    ends = "" if score.ci95 is None else f" ({score.ci95[0]:{sign}.4g} to {score.ci95[1]:{sign}.4g})"
    return f"{score.value:{sign}.5g}{ends}"


def _numbers(comparison: NumberComparison) -> list[str]:
    """Return a table of regressions, the lowest RMSE first, and a block of lines for each pair."""
    ranked = sorted(comparison.runs, key=lambda run: run.rmse)
    rows = [("#", "run", "network", "RMSE (95 %)", "MAE (95 %)", "R²", "coverage", "params")]
    for rank, (name, run) in enumerate(
        zip(_short_names([r.run for r in ranked], 40), ranked, strict=True), 1
    ):
        coverage = "-"
        if run.coverage is not None and run.half_width is not None:
            coverage = f"{100 * run.coverage:.1f} % (± {run.half_width:.4g})"
        rmse = f"{run.rmse:.5g} ({run.rmse_ci95[0]:.4g} to {run.rmse_ci95[1]:.4g})"
        mae = f"{run.mae:.5g} ({run.mae_ci95[0]:.4g} to {run.mae_ci95[1]:.4g})"
        r2 = "-" if run.r2 is None else f"{run.r2:.4f}"
        rows.append((str(rank), name, run.network, rmse, mae, r2, coverage, _compact(run.parameters)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)]
    return lines + [line for pair in comparison.pairs for line in _numbers_pair(pair)]


def _numbers_pair(pair: NumbersPair) -> list[str]:
    lines = ["", f"{shown_name(pair.first)} minus {shown_name(pair.second)}"]
    for name, value, (low, high) in (("RMSE", pair.rmse, pair.rmse_ci95), ("MAE", pair.mae, pair.mae_ci95)):
        verdict = "not significant at 5 %" if low <= 0 <= high else "significant at 5 %"
        lines.append(f"  {name} {value:+.5g}, 95 % interval {low:+.4g} to {high:+.4g}: {verdict}")
    return [*lines, f"  closer: first {pair.first_closer:,}, second {pair.second_closer:,}"]


def _ranking(comparison: Comparison, columns: int | None = None) -> list[str]:
    """Return a table of the runs, the most accurate first.

    Args:
        comparison: As `compare_runs` gives it.
        columns: Width to which names of runs are cut; None takes the terminal's. No other column is cut, and
            80 are enough for all of them.
    """
    # A stable sort: runs of equal accuracy keep the order in which they were given.
    ranked = sorted(comparison.runs, key=lambda run: -run.accuracy)
    heads = ("network", "accuracy % (95 %)", "vs best", "p", "params", "seq/s")
    rows = [_row(run, ranked[0].run, comparison.pairs) for run in ranked]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    columns = columns or shutil.get_terminal_size().columns
    # Width that remains for names after the rank and the other columns, each with two spaces.
    room = max(_MIN_NAME, columns - 3 - sum(width + 2 for width in widths))
    names = ["run", *_short_names([run.run for run in ranked], room)]
    width = max(map(len, names))
    lines = [""]
    for rank, (name, row) in enumerate(zip(names, (heads, *rows), strict=True)):
        cells = [f"{cell:<{size}}" for cell, size in zip(row[:2], widths[:2], strict=True)]
        cells += [f"{cell:>{size}}" for cell, size in zip(row[2:], widths[2:], strict=True)]
        lines.append(f"{rank or '#'}  {name:<{width}}  {'  '.join(cells)}")
    return lines


def _row(run: ComparedRun, best: str, pairs: list[ComparedPair]) -> tuple[str, ...]:
    """Return the cells of a run, without its rank and name."""
    low, high = run.ci95
    difference, p = "-", "-"
    # `pair.difference` is first minus second; the sign turns it into this run minus the best. Adding 0
    # turns -0.0 into 0.0.
    for pair in pairs:
        if run.run != best and {pair.first, pair.second} == {run.run, best}:
            sign = 1 if pair.first == run.run else -1
            difference, p = f"{100 * sign * pair.difference + 0:+.2f}", _p_value(pair.mcnemar_p)
    return (
        run.network.removeprefix("1 x ").replace(" x ", "x").replace(", bidirectional", " bi"),
        f"{100 * run.accuracy:.2f} ({100 * low:.1f}-{100 * high:.1f})",
        difference,
        p,
        _compact(run.parameters),
        "-" if run.sequences_per_s is None else _compact(run.sequences_per_s),
    )


def _p_value(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else f"{p:.0e}"


def _compact(number: float) -> str:
    """Return a number in at most five characters: 850, 83.8k, 1.25M."""
    for unit in ("", "k", "M"):
        # 999.5 would be rounded to 1e+03.
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}G"


def _short_names(runs: list[str], room: int) -> list[str]:
    """Return names of runs without folders if these differ, each with at most `room` characters."""
    names = [run.rstrip("/") for run in runs]
    ends = [name.rpartition("/")[2] for name in names]
    # Last folders only if they are unique: runs of different folders may share a name.
    if len(set(ends)) == len(ends):
        names = ends
    names = [shown_name(name) for name in names]
    # The end of a name is kept, as runs differ in their last digits.
    return [name if len(name) <= room else f"...{name[3 - room :]}" for name in names]


def _details(run: ComparedRun) -> list[str]:
    low, high = run.ci95
    view = f", {run.view}" if run.view else ""
    lines = [
        "",
        f"{shown_name(run.run)}: {run.network}{view}",
        f"  {run.correct:,} correct, accuracy {run.accuracy:.4f} ({low:.4f} to {high:.4f})",
        f"  cross-entropy {run.loss:.4f}, calibration error {run.calibration_error:.4f}",
        f"  {run.parameters:,} weights, {run.weights_bytes / 1e6:.2f} MB; "
        f"{run.sequences_per_s or 0:,.0f} predictions per second",
    ]
    seconds, samples = run.training_seconds, run.training_samples
    cost = ([] if seconds is None else [f"for {seconds:,.1f} s"]) + (
        [] if samples is None else [f"on {samples:,} sequences"]
    )
    return [*lines, f"  trained {' '.join(cost)}"] if cost else lines


def _pair(pair: ComparedPair) -> list[str]:
    low, high = pair.ci95
    verdict = "not significant at 5 %" if pair.mcnemar_p > 0.05 else "significant at 5 %"
    lines = [
        "",
        f"{shown_name(pair.first)} minus {shown_name(pair.second)}",
        f"  accuracy {pair.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}",
        f"  McNemar p = {pair.mcnemar_p:.3g}: {verdict}",
        f"  correct: both {pair.both_right:,}, first only {pair.first_alone_right:,}, "
        f"second only {pair.second_alone_right:,}, neither {pair.neither_right:,}",
        f"  different predictions: {pair.disagreements:,}",
    ]
    for each in pair.disagree_on[:_SHOWN_DISAGREEMENTS]:
        name = shown_name(each.sequence, NAME_WIDTH)
        true, first, second = (
            shown_name(label, NAME_WIDTH) for label in (each.true, each.first, each.second)
        )
        lines.append(f"    sequence {name}: true {true}, first {first}, second {second}")
    if pair.disagreements > _SHOWN_DISAGREEMENTS:
        lines.append(f"    and {pair.disagreements - _SHOWN_DISAGREEMENTS:,} more (--json lists them)")
    return lines
