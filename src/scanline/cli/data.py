"""scanline data"""

from __future__ import annotations

import dataclasses

import click

from scanline.cli.output import download_bar, print_json, say
from scanline.errors import DataError


@click.group(name="data")
def command() -> None:
    """List, fetch and verify data sets."""


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_sets(as_json: bool) -> None:
    """The named data sets, and where they lie if they are at hand."""
    from scanline.data import catalog

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
        click.echo(f"  {each.found or f'not at hand: `scanline data fetch {each.name}`'}")


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Download again what is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def fetch(names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Download the data sets NAMES into the cache, if they are not at hand."""
    from scanline.data import catalog

    folders = {}
    for name in names:
        with download_bar() as on_progress:
            folders[name] = str(catalog.fetch(name, on_progress, force=force))
        if not as_json:
            click.echo(f"{name}: {folders[name]}")
    if as_json:
        print_json({"data": folders})


@command.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Read every file of the data sets NAMES and compare its checksum."""
    from scanline.data import catalog

    checks = [check for name in names for check in catalog.verify(name)]
    if as_json:
        print_json({"files": [{"path": str(c.path), "ok": c.ok, "note": c.note} for c in checks]})
    for check in checks:
        if not check.ok:
            say(f"scanline: {check.note}")
        elif not as_json:
            click.echo(f"{check.path}: {check.note}")
    bad = sum(not check.ok for check in checks)
    if bad:
        raise DataError(f"{bad} of {len(checks)} files are damaged")
