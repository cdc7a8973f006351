"""scanline data"""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from scanline.cli.data_options import chosen_settings, data_options
from scanline.cli.output import download_bar, print_json, print_text, say, shown_name
from scanline.errors import DataError


@click.group(name="data")
def command() -> None:
    """List, show, fetch and verify data sets."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_sets(as_json: bool) -> None:
    """The named data sets, and where they lie if they are at hand."""
    from scanline.data import catalogue as catalog

    found = [catalog.describe(name) for name in catalog.names()]
    if as_json:
        print_json(
            {"data": [dataclasses.asdict(each) | {"found": each.found and str(each.found)} for each in found]}
        )
        return
    for each in found:
        click.echo(f"{each.name}: {each.about}")
        click.echo(
            f"  {each.classes} classes, {each.train:,} + {each.validation:,} + {each.test:,}; {each.licence}"
        )
        place = shown_name(each.found) if each.found else f"not at hand: `scanline data fetch {each.name}`"
        click.echo(f"  {place}")


@command.command()
@click.argument("data")
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(data: str, as_json: bool, **options: str | None) -> None:
    """Read DATA, a name or a path, and say what is in it: counts, lengths, classes, what was guessed."""
    from scanline import recipe
    from scanline.data import catalogue as catalog
    from scanline.data.summary import summarise

    settings = recipe.load(recipe.DEFAULT, chosen_settings(options)).data
    samples = catalog.read(data, settings)
    for note in {note for found in samples.found.values() for note in found.notes}:
        say(note)
    told = summarise(samples)
    if as_json:
        print_json(told)
        return
    picture = told["pictures"]
    if picture:
        kind = "colour " if picture["channels"] == 3 else ""
        print_text(f"{shown_name(told['name'])}: {kind}pictures of {picture['height']} x {picture['width']}")
    else:
        names = ": " + ", ".join(map(shown_name, told["feature_names"][:12])) if told["feature_names"] else ""
        print_text(f"{shown_name(told['name'])}: sequences{names}")
    for name, part in told["parts"].items():
        print_text(_part_line("" if name == "all" else f"{name}: ", part))


def _part_line(title: str, part: dict[str, Any]) -> str:
    steps, classes = part["steps"], part["classes"]
    length = f"{steps['min']}" if steps["min"] == steps["max"] else f"{steps['min']} to {steps['max']}"
    line = f"  {title}{part['sequences']:,} of {length} steps of {part['features']}"
    if part["groups"] is not None:
        line += f", {part['groups']:,} groups"
    if part["missing"]:
        line += f", {part['missing']:,} missing values"
    shown = list(classes.items())[:20]
    counts = ", ".join(f"{shown_name(name)} {count:,}" for name, count in shown)
    more = f" and {len(classes) - len(shown)} more" if len(classes) > len(shown) else ""
    return f"{line}\n    {len(classes)} classes: {counts}{more}" if classes else line


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Download again what is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def fetch(names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Download the data sets NAMES into the cache, if they are not at hand."""
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
    """Read every file of the data sets NAMES and compare its checksum."""
    from scanline.data import catalogue as catalog

    checks = [check for name in names for check in catalog.verify(name)]
    if as_json:
        print_json({"files": [{"path": str(c.path), "ok": c.ok, "note": c.note} for c in checks]})
    for check in checks:
        if not check.ok:
            say(f"scanline: {check.note}")
        elif not as_json:
            print_text(f"{shown_name(check.path)}: {shown_name(check.note)}")
    bad = sum(not check.ok for check in checks)
    if bad:
        raise DataError(f"{bad} of {len(checks)} files are damaged")
