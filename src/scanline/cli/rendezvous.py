"""The command `scanline rendezvous`."""

from __future__ import annotations

import click

from scanline.cli.output import say


@click.command(name="rendezvous")
@click.option(
    "--port",
    default=29400,
    type=click.IntRange(0, 65535),
    metavar="N",
    show_default=True,
    help="Port to open; 0 takes a free one.",
)
def command(port: int) -> None:
    """Host the place where the machines of a training meet, until Ctrl-C.

    Start it on a machine that stays, and train with --rendezvous HOST:PORT. Without it, the machine HOST of
    the training hosts the place itself, and the others cannot go on without that machine.
    """
    from scanline.training.distributed.rendezvous import Rendezvous

    rendezvous = Rendezvous(port)
    say(f"machines meet at port {rendezvous.port}; Ctrl-C ends this")
    rendezvous.serve()
