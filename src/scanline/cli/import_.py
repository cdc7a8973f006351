"""scanline import"""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import UsageError


@click.command(name="import")
@click.argument("source", type=click.Path())
@click.option("--output", required=True, metavar="DIR", help="The bundle to make.")
@click.option("--classes", metavar="A,B,...", help="Names of the outputs.  [default: numbers from 0]")
@click.option("--picture", metavar="HxW", help="It reads grey pictures of this size, as 28x28.")
@click.option("--view", default="rows", show_default=True, help="How a picture is cut into steps.")
@click.option(
    "--divide-by",
    default=1.0,
    show_default=True,
    metavar="NUMBER",
    help="What values are divided by before the network reads them: 255 for bytes that it saw as 0 to 1.",
)
@click.option(
    "--forget-bias",
    type=float,
    metavar="NUMBER",
    help="What a TensorFlow 1 cell adds to its forget gate.  [default: 1]",
)
@click.option("--licence", default="", metavar="TEXT", help="Of the model, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print what was imported as JSON.")
def command(
    source: str,
    output: str,
    classes: str | None,
    picture: str | None,
    view: str,
    divide_by: float,
    forget_bias: float | None,
    licence: str,
    as_json: bool,
) -> None:
    """Make a bundle of the network in SOURCE, which Scanline did not train.

    SOURCE is a TensorFlow 1 checkpoint (its prefix, .index file or folder), a Keras model (.keras, .h5) or a
    PyTorch state_dict in .safetensors. Nothing of it is run. What cannot be mapped is named; what had to be
    taken for granted is said. The bundle goes wherever a run goes: predict, evaluate, explain, export.
    """
    from scanline.interchange.reading import read_network
    from scanline.version import __version__

    size = _size(picture)
    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    target = Path(output)
    if target.exists():
        raise UsageError(f"{target} exists already: choose another --output")
    network = read_network(source, forget_bias)
    made = network.to_model(
        Path(source), classes=names, picture=size, view=view, divide_by=divide_by, licence=licence
    )
    made.save(target, __version__)
    a = network.architecture
    if as_json:
        print_json(
            {"source": source, "bundle": str(target), "made": network.made, "notes": network.notes}
            | {"network": vars(a)}
        )
        return
    for note in network.notes:
        say(note)
    both = ", in both directions" if a.bidirectional else ""
    print_text(
        f"{a.layers} x {a.cell} {a.hidden_size}{both}, readout {a.readout}: {a.input_size} values a step, "
        f"{a.classes} classes; {network.made}"
    )
    print_text(f"bundle: {shown_name(target)}")


def _size(picture: str | None) -> tuple[int, int] | None:
    if picture is None:
        return None
    height, _, width = picture.partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 4096 and 0 < int(width) <= 4096):
        raise UsageError(f"--picture must be height x width, as 28x28, got {picture!r}")
    return int(height), int(width)
