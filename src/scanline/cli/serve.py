"""scanline serve"""

from __future__ import annotations

import os
from pathlib import Path

import click

from scanline.cli.output import say


@click.command(name="serve")
@click.argument("run", type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free."
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Holds the token that clients must show; or set SCANLINE_TOKEN. Needed beyond this machine.",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name that this server goes by.")
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="A site whose pages may ask, as https://example.org.",
)
@click.option("--wait-ms", type=click.FloatRange(0, 1000), help="How long a request waits for others.")
@click.option("--max-requests", type=click.IntRange(1), help="Under way at once; more get 503.")
@click.option("--deadline", "deadline_s", type=click.FloatRange(0.001), help="Seconds for each request.")
@click.option("--max-body-mb", type=click.FloatRange(0.001), help="The largest request, unpacked.")
@click.option("--max-steps", type=click.IntRange(1), help="The longest sequence.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="To compute with.")
@click.option("--gallery/--no-gallery", default=True, help="Show test sequences on the page.")
@click.option("--calibrated", is_flag=True, help="Probabilities after temperature scaling.")
@click.option("--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Where to compute.")
def command(
    run: str,
    host: str,
    port: int,
    token_file: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    wait_ms: float | None,
    max_requests: int | None,
    deadline_s: float | None,
    max_body_mb: float | None,
    max_steps: int | None,
    threads: int,
    gallery: bool,
    calibrated: bool,
    device: str,
) -> None:
    """Serve RUN, a run folder or a bundle, over HTTP, with a page to draw and watch it read.

    Listens at this machine alone unless --host says otherwise, and then wants a token. SIGTERM and Ctrl-C
    finish what is under way; a second one ends at once. docs/serving.md has the routes.
    """
    from scanline.serving.start import start

    wanted = {
        "wait_ms": wait_ms,
        "requests": max_requests,
        "deadline_s": deadline_s,
        "body_bytes": None if max_body_mb is None else int(max_body_mb * 2**20),
        "steps": max_steps,
    }
    start(
        run,
        host,
        port,
        token_file=None if token_file is None else Path(token_file),
        token=os.environ.get("SCANLINE_TOKEN", ""),
        hosts=allow_host,
        origins=allow_origin,
        limits={name: value for name, value in wanted.items() if value is not None},
        threads=threads,
        with_gallery=gallery,
        calibrated=calibrated,
        device=device,
        say=say,
    )
