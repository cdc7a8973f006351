"""The command `scanline import`."""

from __future__ import annotations

from pathlib import Path

import click

from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import UsageError


@click.command(name="import")
@click.argument("source", type=click.Path())
@click.option("--output", required=True, metavar="DIR", help="Model directory to create.")
@click.option("--classes", metavar="A,B,...", help="Class names.  [default: numbers from 0]")
@click.option("--picture", metavar="HxW", help="The network reads grey pictures of this size, such as 28x28.")
@click.option("--view", default="rows", show_default=True, help="How a picture is divided into steps.")
@click.option(
    "--divide-by",
    default=1.0,
    show_default=True,
    metavar="NUMBER",
    help="Divisor of the input values: 255 if the network was trained on bytes scaled to 0..1.",
)
@click.option(
    "--forget-bias",
    type=float,
    metavar="NUMBER",
    help="Constant that a TensorFlow 1 cell adds to its forget gate.  [default: 1]",
)
@click.option("--licence", default="", metavar="TEXT", help="Licence of the model, for its model card.")
@click.option("--json", "as_json", is_flag=True, help="Print the imported network as JSON.")
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
    """Import the network in SOURCE as a model directory.

    SOURCE is a TensorFlow 1 checkpoint (prefix, .index file or folder), a Keras model (.keras, .h5) or a
    PyTorch state_dict in .safetensors. No code of it is executed. Parts that cannot be mapped are named in
    the error, and assumptions are printed. All commands that take a run also take the model directory.
    """
    from scanline.interchange.reading import read_network
    from scanline.version import __version__

    size = _size(picture)
    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    target = Path(output)
    # Checked before the source is read and converted, which may take long.
    if target.exists():
        raise UsageError(f"{target} exists: choose another --output")
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
    both = ", bidirectional" if a.bidirectional else ""
    print_text(
        f"{a.layers} x {a.cell} {a.hidden_size}{both}, readout {a.readout}: {a.input_size} features, "
        f"{a.classes} classes; {network.made}"
    )
    print_text(f"model: {shown_name(target)}")


def _size(picture: str | None) -> tuple[int, int] | None:
    if picture is None:
        return None
    height, _, width = picture.partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 4096 and 0 < int(width) <= 4096):
        raise UsageError(f"--picture must be HEIGHTxWIDTH, such as 28x28, got {picture!r}")
    return int(height), int(width)
