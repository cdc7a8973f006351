"""The command `scanline import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scanline.cli.output import print_json, print_text, say, shown_name
from scanline.errors import UsageError

if TYPE_CHECKING:
    from scanline.interchange.imported import ImportedNetwork

_STATE_THE_READOUT = (".keras", ".h5", ".hdf5")
_READOUT = "if the network reads outputs[:, -1], import it with --readout last-step; or with mean or max"
_UNSCALED = (
    "warning: the network reads grey levels from 0 to 255 as they are; most networks are trained on pictures "
    "scaled to 0..1, and such a one predicts wrongly: import it with --divide-by 255"
)


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
    "--readout",
    metavar="final-states|last-step|mean|max",
    help="What the output layer reads; last-step is outputs[:, -1].  [default: final-states]",
)
@click.option(
    "--cell-scope",
    metavar="NAME[=KIND]",
    help="Scope of a TensorFlow 1 cell with a custom name; KIND is lstm, rnn or gru.",
)
@click.option(
    "--input-projection",
    metavar="linear",
    help="A TensorFlow 1 network multiplies its input by a matrix, without an activation, before the cells.",
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
    readout: str | None,
    cell_scope: str | None,
    input_projection: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Import the network in SOURCE as a model directory.

    SOURCE is a TensorFlow 1 checkpoint (prefix, .index file or folder), a Keras model (.keras, .h5) or a
    PyTorch state_dict in .safetensors. No code of it is executed. Parts that cannot be mapped are named in
    the error, and assumptions are printed. All commands that take a run also take the model directory.
    """
    from scanline.interchange.options import ImportOptions
    from scanline.interchange.reading import read_network
    from scanline.version import __version__

    size = _size(picture)
    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    target = Path(output)
    # Checked before the source is read and converted, which may take long.
    if target.exists():
        raise UsageError(f"{target} exists: choose another --output")
    network = read_network(source, forget_bias, ImportOptions(readout, cell_scope, input_projection))
    made = network.to_model(
        Path(source), classes=names, picture=size, view=view, divide_by=divide_by, licence=licence
    )
    made.save(target, __version__)
    a = made.network.architecture  # of one output it has two classes
    notes = list(network.notes)
    if a.bidirectional and readout is None and Path(source).suffix not in _STATE_THE_READOUT:
        notes.append(_READOUT)
    if size and divide_by == 1 and _is_unscaled(network):
        notes.append(_UNSCALED)
    if as_json:
        print_json(
            {"source": source, "bundle": str(target), "made": network.made, "notes": notes}
            | {"network": asdict(a)}
        )
        return
    for note in notes:
        say(note)
    both = ", bidirectional" if a.bidirectional else ""
    print_text(
        f"{a.layers} x {a.cell} {a.hidden_size}{both}, readout {a.readout}: {a.dense_text}"
        f"{a.input_size} features, {a.classes} classes; {network.made}"
    )
    print_text(f"model: {shown_name(target)}")


def _is_unscaled(network: ImportedNetwork) -> bool:
    """Whether the file has no scaling of its own."""
    return "scale" not in network.weights or bool((abs(network.weights["scale"]) < 2).all())


def _size(picture: str | None) -> tuple[int, int] | None:
    if picture is None:
        return None
    height, _, width = picture.partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 4096 and 0 < int(width) <= 4096):
        raise UsageError(f"--picture must be HEIGHTxWIDTH, such as 28x28, got {picture!r}")
    return int(height), int(width)
