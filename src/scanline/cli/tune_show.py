"""The command `scanline tune show`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from scanline.cli.output import bar_of, print_json, print_text, shown_name

if TYPE_CHECKING:
    from scanline.evaluation.baseline_records import Baseline, Baselines
    from scanline.reporting.study.facts import StudyFacts
    from scanline.search.records import TrialRecord

_ROOM_BESIDE = 40  # characters that settings need beside the other columns; with fewer they go below
_WIDEST = 140


@click.command(name="show")
@click.argument("study", type=click.Path())
@click.option(
    "--storage", metavar="URL", help="Database of the study.  [default: as the study's folder says]"
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    default=20,
    show_default=True,
    help="Number of trials to list.",
)
@click.option(
    "--report",
    "page",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Write an HTML page, too.  [default file: STUDY/report.html]",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with all trials.")
def command(study: str, storage: str | None, top: int, page: str | None, as_json: bool) -> None:
    """Show what the search STUDY found: its folder, or its name in `studies` or in the database.

    Prints the trials, the best first, with 95 % intervals and the settings that differ from the recipe; the
    importance of each setting; the winner's test result, and plain baselines beside it. An HTML page has
    plots, too. A search that is still running can be shown.

    \b
    scanline tune show studies/sensors.csv-sequences-001
    scanline tune show sensors.csv-sequences-001 --report
    """
    # Imported when called, so that `--help` needs neither torch nor Optuna.
    from scanline.search import check_installed

    check_installed()
    from scanline.reporting.study.page import study_json
    from scanline.reporting.study.report import gather_study, write_report

    written = None
    if page is not None:
        written, facts = write_report(study, page or None, storage)
    else:
        facts = gather_study(study, storage)
    if as_json:
        paths = (
            {} if written is None else {"page": str(written), "numbers": str(written.with_suffix(".json"))}
        )
        print_json(study_json(facts) | paths)
        return
    # Very long lines are hard to read on a wide terminal.
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    print_text("\n".join(_lines(facts, top, width)))
    if written is not None:
        print_text(f"report: {shown_name(written)}")


def _lines(facts: StudyFacts, top: int, width: int) -> list[str]:
    """Return all that is printed, in lines of at most `width` characters except for paths."""
    from scanline.reporting.study.findings import findings, notes, result_sentence

    study = facts.study
    count = len(study.trials)
    trials = "1 trial" if count == 1 else f"{count:,} trials"
    heading = f"{study.name}: {trials} on {study.data}, validated on {study.validation}"
    lines = _wrapped(shown_name(heading), width)
    for note in notes(facts):
        lines += _wrapped(f"note: {note}", width, "      ")
    lines += ["", *_trials(facts, top, width), "", *_importance(facts, width)]
    if facts.baselines is not None:
        lines += ["", *_baselines(facts, facts.baselines, width)]
    lines += ["", *_wrapped(shown_name(result_sentence(facts)), width)]
    for each in findings(facts):
        lines += _wrapped(f"- {shown_name(each)}", width, "  ")
    if facts.winner is not None:
        lines += [
            "",
            f"winner: {shown_name(facts.winner.run)}",
            f"recipe: {shown_name(facts.winner.recipe_file)}",
        ]
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return a sentence as lines; paths are not broken."""
    return textwrap.wrap(
        text, max(width, 30), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _trials(facts: StudyFacts, top: int, width: int) -> list[str]:
    """Return the table of trials, with the settings beside the other columns or, if narrow, below."""
    from scanline.reporting.study.facts import short_names

    names = short_names(facts.keys)
    chosen = facts.listed[:top]
    heads = (
        "#",
        "trial",
        facts.study.metric + (" (95 %)" if facts.study.metric == "accuracy" else ""),
        "trained",
        "state",
    )
    cells = [_cells(rank, each, facts.study.metric) for rank, each in chosen]
    rows = _columns([heads, *cells], "><<><")
    # The settings get what the other columns leave, or lines of their own.
    room = width - len(rows[0]) - 2
    beside = room >= _ROOM_BESIDE
    indent = len(rows[0]) + 2 if beside else 4
    lines = [rows[0] + ("  settings that differ from the recipe" if beside else "")]
    for row, (_, trial) in zip(rows[1:], chosen, strict=True):
        wrapped = textwrap.wrap(_settings(facts, trial, names), max(width - indent, 20))
        if beside:
            lines.append(f"{row}  {wrapped[0] if wrapped else ''}".rstrip())
            wrapped = wrapped[1:]
        else:
            lines.append(row.rstrip())
        lines += [" " * indent + line for line in wrapped]
    if len(facts.listed) > top:
        lines.append(f"and {len(facts.listed) - top:,} more (--top N lists more, --json all)")
    return lines


def _cells(rank: int | None, trial: TrialRecord, metric: str) -> tuple[str, ...]:
    last = trial.last
    shown = "-" if rank is None else str(rank)
    # It has not come to its first rung.
    if last is None:
        return shown, str(trial.number), "-", "-", trial.state
    text = f"{last.score:.4f}"
    if last.interval is not None:
        low, high = last.interval
        text = f"{100 * last.score:.2f} % ({100 * low:.1f}-{100 * high:.1f})"
    return shown, str(trial.number), text, f"{100 * last.fraction:.0f} %", trial.state


def _settings(facts: StudyFacts, trial: TrialRecord, names: dict[str, str]) -> str:
    from scanline.reporting.study.facts import shown

    # Names and values may come from a recipe of another person.
    changes = facts.changes(trial).items()
    text = " ".join(f"{names[key]}={shown_name(shown(value))}" for key, value in changes)
    if trial.message:
        return f"{text}: {shown_name(trial.message)}" if text else shown_name(trial.message)
    return text or "those of the recipe"


def _columns(rows: Sequence[Sequence[str]], align: str) -> list[str]:
    """Return rows as lines of equal width; `align` has "<" or ">" for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{side}{size}}" for cell, side, size in zip(row, align, widths, strict=True))
        for row in rows
    ]


def _importance(facts: StudyFacts, width: int) -> list[str]:
    found = facts.importances
    if not found.settings:
        return _wrapped(found.note, width)
    # Bars are relative to the longest, numbers are not.
    largest = found.settings[0].fraction or 1.0
    rows = [
        (each.key, f"{100 * each.fraction:.1f} %", bar_of(each.fraction / largest, 16))
        for each in found.settings
    ]
    head = f"importance: part of the differences between {found.trials:,} trials that a setting explains"
    lines = [*_wrapped(head, width), *(f"  {line}".rstrip() for line in _columns(rows, "<><"))]
    return lines + (_wrapped(found.note, width) if found.note else [])


def _baselines(facts: StudyFacts, baselines: Baselines, width: int) -> list[str]:
    """Return the table of baselines with the winner as its first row, and why others are missing."""
    from scanline.reporting.study.findings import test_metrics

    rows = [("baselines", f"test {baselines.metric}", "p (McNemar)")]
    test = test_metrics(facts)
    if baselines.metric == "accuracy" and test is not None and test.accuracy is not None and test.ci95:
        rows.append(("winner of the search", _percent(test.accuracy, test.ci95), ""))
    if facts.ensemble is not None and facts.ensemble.test is not None:
        own = facts.ensemble.test
        rows.append((facts.ensemble.name, _percent(own.accuracy, own.ci95), ""))
    rows += [_baseline(each) for each in baselines.measured]
    # Without comparisons, for example of numbers, the last column would be empty.
    if not any(row[2] for row in rows[1:]):
        rows = [(*row[:2], "") for row in rows]
    lines = [line.rstrip() for line in _columns(rows, "<<<")]
    for each in baselines.skipped:
        lines += _wrapped(f"{each.name}: {shown_name(each.reason)}", width, "  ")
    return lines


def _baseline(baseline: Baseline) -> tuple[str, str, str]:
    from scanline.reporting.study.findings import p_text

    test, pair = baseline.test, baseline.winner
    p = "" if pair is None else p_text(pair.mcnemar_p).removeprefix("= ")
    if test is None:
        return baseline.name, "-", p
    interval = test.interval
    return baseline.name, f"{test.value:.4g}" if interval is None else _percent(test.value, interval), p


def _percent(value: float, interval: Sequence[float]) -> str:
    return f"{100 * value:.2f} % ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"
