"""The command `scanline serve`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scanline.cli.data_options import dialect_options
from scanline.cli.output import say


@click.command(name="serve")
@click.argument("run", type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free port."
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="File with the clients' token; or set SCANLINE_TOKEN. Required unless --host is local.",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another host name of this server.")
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Site whose pages may send requests, such as https://example.org.",
)
@click.option(
    "--wait-ms", type=click.FloatRange(0, 1000), help="Longest time that a request waits to be batched."
)
@click.option("--max-requests", type=click.IntRange(1), help="Concurrent requests; more get 503.")
@click.option(
    "--deadline", "deadline_s", type=click.FloatRange(0.001), help="Time limit per request, in seconds."
)
@click.option("--max-body-mb", type=click.FloatRange(0.001), help="Largest request body, uncompressed.")
@click.option("--max-steps", type=click.IntRange(1), help="Longest sequence.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads for computing."
)
@click.option(
    "--data",
    metavar="PATH|NAME",
    help="Data of the test sequences on the page, for imported models.  [default: those of the run]",
)
@dialect_options
@click.option("--gallery/--no-gallery", default=True, help="Offer test sequences on the page.")
@click.option("--calibrated", is_flag=True, help="Use calibrated probabilities (temperature scaling).")
@click.option(
    "--device", default="cpu", metavar="auto|cpu|cuda", show_default=True, help="Device to compute on."
)
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
    data: str | None,
    gallery: bool,
    calibrated: bool,
    device: str,
    reading: dict[str, str | int],
) -> None:
    """Serve RUN, a run or model directory, over HTTP, with an interactive page.

    The server listens on this machine only. Any other --host requires a token. SIGTERM or Ctrl-C
    completes pending requests and stops; a second one stops at once. docs/serving.md lists the routes.
    """
    from scanline.serving.start import start

    # None leaves the default of `Limits`.
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
        # Not an option of the command: arguments are visible to other users in the process list.
        token=os.environ.get("SCANLINE_TOKEN", ""),
        hosts=allow_host,
        origins=allow_origin,
        limits={name: value for name, value in wanted.items() if value is not None},
        threads=threads,
        with_gallery=gallery,
        data=data,
        calibrated=calibrated,
        device=device,
        reading=reading,
        say=say,
    )
