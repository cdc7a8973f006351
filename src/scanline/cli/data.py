"""The command `scanline data`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from scanline.recipe import DataSettings

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.data_pack import command as pack
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.errors import DataError, UsageError


@click.group(name="data")
def command() -> None:
    """List, inspect, download, verify and pack data sets."""


command.add_command(pack)


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_sets(as_json: bool) -> None:
    """List the named data sets and their locations."""
    from scanline.data import catalogue as catalog

    data_sets = [catalog.describe(name) for name in catalog.names()]
    if as_json:
        entries = [dataclasses.asdict(each) for each in data_sets]
        for entry in entries:
            path = entry.pop("path")
            entry["found"] = None if path is None else str(path)
        print_json({"data": entries})
        return
    for each in data_sets:
        click.echo(f"{each.name}: {each.about}")
        click.echo(
            f"  {each.classes} classes; {each.train:,} training, {each.validation:,} validation and "
            f"{each.test:,} test sequences; {each.licence}"
        )
        hint = f"not downloaded: run `scanline data fetch {each.name}`"
        place = shown_name(each.path) if each.path else hint
        click.echo(f"  {place}")


@command.command()
@click.argument("data")
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(data: str, as_json: bool, **options: str | None) -> None:
    """Read DATA, a name or a path, and print counts, lengths, classes and assumptions."""
    from scanline import recipe
    from scanline.data import catalogue as catalog
    from scanline.data.readers.column_roles import AMBIGUOUS
    from scanline.data.summary import summarise

    chosen = recipe.load(recipe.DEFAULT, chosen_settings(options))
    settings = chosen.data
    if not settings.targets and chosen.task != "classification":
        from scanline import tasks

        settings = settings.model_copy(update={"targets": tasks.get(chosen.task).targets})
    try:
        dataset = catalog.read(data, settings)
    except UsageError as error:
        path = catalog.locate(data)
        if error.code != AMBIGUOUS or path is None or not path.is_file() or path.suffix == ".xlsx":
            raise
        _show_question(path, settings, str(error), as_json)
        return
    # Splits of one source usually have the same notes: each is printed once.
    for note in {note for source in dataset.splits.values() for note in source.info.notes}:
        say(note)
    summary = summarise(dataset)
    if as_json:
        print_json(summary)
        return
    picture = summary["pictures"]
    if picture:
        colour = "colour" if picture["channels"] == 3 else "grey"
        content = f"{colour} pictures, {picture['height']} x {picture['width']} pixels"
    elif recordings := summary["recordings"]:
        seconds = recordings["seconds"]
        content = (
            f"recordings, {recordings['sample_rate']:,} samples a second, {seconds['min']:.3g} to "
            f"{seconds['max']:.3g} s, {seconds['sum']:,.0f} s in all"
        )
    else:
        names = ", ".join(map(shown_name, summary["feature_names"][:12]))
        content = f"sequences, features {names}" if names else "sequences"
    print_text(f"{shown_name(summary['name'])}: {content}")
    for name, part in summary["parts"].items():
        print_text(_split_line("" if name == "all" else f"{name}: ", part))
    for each in summary["intervals"]:
        place = f" of {shown_name(each['source'])}" if len(summary["intervals"]) > 1 else ""
        print_text(_intervals_line(place, each))


def _show_question(path: Path, settings: DataSettings, question: str, as_json: bool) -> None:
    """Print the first rows of a table whose meaning is not clear, and what has to be decided."""
    from scanline.data.readers.table_preview import preview_table

    table = preview_table(path, settings)
    if as_json:
        print_json({"name": path.name, "columns": table.types, "rows": table.rows, "question": question})
        return
    print_text(f"{shown_name(path.name)}: a table; what its columns mean is not clear")
    for place, (name, kind) in enumerate(table.types.items()):
        cells = ", ".join(shown_name(row[place]) or "(empty)" for row in table.rows if place < len(row))
        role = f", {table.roles[name]}" if name in table.roles else ""
        print_text(f"  {shown_name(name)}: {kind}{role}: {cells}, ...")
    print_text(f"question: {shown_name(question, 2000)}")


def _intervals_line(place: str, found: dict[str, Any]) -> str:
    """Return the line about the intervals between steps."""
    unit = " s" if found["in_seconds"] else ""
    line = f"  intervals{place}: median {found['median']:.6g}{unit}"
    if found["shortest"] == found["longest"]:
        return f"{line}, all equal"
    line += f", {found['shortest']:.6g} to {found['longest']:.6g}{unit}"
    line += f", {100 * found['irregular']:.1f} % irregular"
    if gap := found["largest"]:
        gaps = f"{found['gaps']:,} gap" + ("s" if found["gaps"] > 1 else "")
        line += (
            f"; {gaps} of more than 1.5 times the median, the largest {gap['interval']:.6g}{unit} in "
            f"sequence {shown_name(gap['sequence'])} after {gap['after']}"
        )
    return line


def _split_line(title: str, part: dict[str, Any]) -> str:
    steps, classes = part["steps"], part["classes"]
    length = f"{steps['min']}" if steps["min"] == steps["max"] else f"{steps['min']} to {steps['max']}"
    line = f"  {title}{part['sequences']:,} sequences, {length} steps, {part['features']} "
    line += "feature" if part["features"] == 1 else "features"
    if part["groups"] is not None:
        line += f", {part['groups']:,} groups"
    if part["missing"]:
        line += f", {part['missing']:,} missing values"
    for name, each in part.get("columns", {}).items():
        line += f"\n    {shown_name(name)} {each['min']:g} to {each['max']:g}, mean {each['mean']:g}"
    if targets := part.get("targets"):
        range_ = f"targets {targets['min']:g} to {targets['max']:g}, mean {targets['mean']:g}"
        if "unlabelled" in part:
            range_ = f"{range_} (of steps); {part['unlabelled']:,} steps without a label"
        return f"{line}\n    {range_}"
    shown = list(classes.items())[:20]
    counts = ", ".join(f"{shown_name(name)} {count:,}" for name, count in shown)
    more = f" and {len(classes) - len(shown)} more" if len(classes) > len(shown) else ""
    if "unlabelled" in part:
        more += f"; {part['unlabelled']:,} steps without a label"
        return f"{line}\n    {len(classes)} classes of steps: {counts}{more}"
    return f"{line}\n    {len(classes)} classes: {counts}{more}" if classes else line


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Download again even if present.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def fetch(names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Download the data sets NAMES into the cache unless they are present."""
    from scanline.data import catalogue as catalog

    folders = {}
    for name in names:
        with download_bar() as on_progress:
            folders[name] = str(catalog.fetch(name, on_progress, force=force))
        if not as_json:
            print_text(f"{name}: {shown_name(folders[name])}")
    if as_json:
        print_json({"data": folders})


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Verify the checksums of all files of the data sets NAMES, or of packed data sets by their addresses."""
    from scanline.data import catalogue as catalog

    checks = [check for name in names for check in catalog.verify(name)]
    if as_json:
        print_json({"files": [{"path": str(c.path), "ok": c.ok, "note": c.note} for c in checks]})
    for check in checks:
        if not check.ok:
            say(f"scanline: {check.note}")
        elif not as_json:
            print_text(f"{shown_name(check.path)}: {shown_name(check.note)}")
    # All files are checked and listed before the command fails.
    bad = sum(not check.ok for check in checks)
    if bad:
        raise DataError(f"{bad} of {len(checks)} files are missing or damaged")
