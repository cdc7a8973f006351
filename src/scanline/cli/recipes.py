"""The command `scanline recipes`."""

from __future__ import annotations

import click

from scanline.cli.output import print_json, print_text


@click.command(name="recipes")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the built-in recipes, or print the recipe NAME as complete TOML.

    Use `scanline recipes rows > mine.toml` to start your own recipe.
    """
    from scanline import recipe

    chosen = [recipe.load(each) for each in ([name] if name else recipe.names())]
    if as_json:
        print_json({"recipes": [each.model_dump() for each in chosen]})
    elif name:
        click.echo(chosen[0].to_toml(), nl=False)  # TOML escapes control characters itself
    else:
        width = max(len(each.name) for each in chosen)
        for each in chosen:
            print_text(f"{each.name:<{width}}  {each.about}")
